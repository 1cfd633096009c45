"""When a run goes on with what the output holds, and when that belongs to another training."""

from __future__ import annotations

import dataclasses

import pytest

from smoothseg import RunMismatchError
from smoothseg.components.plugins import plugins
from smoothseg_training.checkpoint import Checkpoint
from smoothseg_training.configuration import Running, configure
from smoothseg_training.events import Stepped, Stopped, Trained
from smoothseg_training.identity import content
from smoothseg_training.loop import train


def _running(output, **changes):
    return configure(Running, {"output": output, "device": "cpu", "workers": 1, **changes})


def _interrupted(training, output, *, after, **changes):
    """Train until `after` steps of this process are done."""
    seen = []
    return train(training, _running(output, **changes), listen=seen.append,
                 stop=lambda: sum(isinstance(event, Stepped) for event in seen) >= after)  # fmt: skip


@pytest.mark.parametrize("finished", [True, False])
def test_another_configuration_in_the_output_is_refused_with_the_difference(
    segmenter_training, tmp_path, finished
):
    if finished:
        train(segmenter_training(), _running(tmp_path))
    else:
        assert isinstance(_interrupted(segmenter_training(), tmp_path, after=1), Stopped)
    with pytest.raises(RunMismatchError, match=r"lr is 0\.5, was 0\.001.*--fresh"):
        train(segmenter_training(lr=0.5), _running(tmp_path))
    with pytest.raises(RunMismatchError, match=r"dataset.count is 4, was 5"):
        train(segmenter_training(dataset="blocks:count=4"), _running(tmp_path))
    assert isinstance(train(segmenter_training(lr=0.5), _running(tmp_path, fresh=True)), Trained)


@pytest.mark.parametrize("part", ["image", "labels"])
@pytest.mark.parametrize("which", [0, 2, 4])
@pytest.mark.parametrize("finished", [True, False])
def test_other_data_of_the_same_length_is_refused(segmenter_training, tmp_path, finished, which, part):
    here = segmenter_training(dataset="blocks:root=/one/place")
    if finished:
        train(here, _running(tmp_path))
    else:
        assert isinstance(_interrupted(here, tmp_path, after=1), Stopped)
    elsewhere = segmenter_training(dataset=f"blocks:root=/another/place+{part}-{which}")
    with pytest.raises(RunMismatchError, match=r"content is \w+, was \w+.*--fresh"):
        train(elsewhere, _running(tmp_path))
    moved = train(segmenter_training(dataset="blocks:root=/another/place"), _running(tmp_path))
    assert moved.already == finished


def test_the_content_of_validation_images_is_told_apart_too(segmenter_training, tmp_path):
    _interrupted(segmenter_training(validation="blocks:root=/a"), tmp_path, after=1)
    with pytest.raises(RunMismatchError, match=r"validation_content is \w+, was \w+"):
        train(segmenter_training(validation="blocks:root=/b+image-0"), _running(tmp_path))


def test_other_keys_are_other_content():
    dataset = plugins()["dataset"].recipe("blocks").load()
    before = content(dataset)
    assert before == content(plugins()["dataset"].recipe("blocks").load())
    dataset.keys = (*dataset.keys[:1], "renamed", *dataset.keys[2:])
    assert content(dataset) != before


def test_data_may_move_but_not_change(segmenter_training, tmp_path):
    _interrupted(segmenter_training(dataset="blocks:root=/one/place"), tmp_path, after=1)
    moved = segmenter_training(dataset="blocks:root=elsewhere")
    assert isinstance(_interrupted(moved, tmp_path, after=1), Stopped)
    found = Checkpoint.load(tmp_path / "checkpoint")
    dataclasses.replace(found, configuration=found.configuration | {"images": 4}).save(
        tmp_path / "checkpoint"
    )
    with pytest.raises(RunMismatchError, match="images is 5, was 4"):
        train(moved, _running(tmp_path))
