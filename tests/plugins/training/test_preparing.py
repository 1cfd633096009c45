"""What a training refuses before its first step."""

from __future__ import annotations

import pytest

from smoothseg import ConfigError, DataError, UnknownNameError
from smoothseg_training.configuration import Running, configure
from smoothseg_training.events import Trained
from smoothseg_training.loop import train


def _running(output, **changes):
    return configure(Running, {"output": output, "device": "cpu", "workers": 1, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"segmenter": "untrainable"}, ConfigError, "segmenter 'untrainable' has nothing to train"),
        ({"segmenter": "tyo"}, UnknownNameError, "Did you mean 'toy'"),
        ({"dataset": "blocks:labels=false"}, DataError, "--dataset has no labels"),
        ({"validation": "blocks:labels=false"}, DataError, "--validation has no labels"),
        (
            {"validation": "blocks:last=cyan"},
            ConfigError,
            "class 2 is 'blue' in --dataset and 'cyan' in --validation",
        ),
        ({"crop": "26x16"}, ConfigError, "crop 26x16 is larger than image 'blocks-0' at its largest: 20x28"),
        ({"crop": "14x16", "image_scale": 0.5}, ConfigError, "image_scale 0.5"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    segmenter_training, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message) as caught:
        train(segmenter_training(**changes), _running(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_denoiser_needs_no_labels(denoiser_training, tmp_path):
    assert isinstance(train(denoiser_training(dataset="blocks:labels=false"), _running(tmp_path)), Trained)
