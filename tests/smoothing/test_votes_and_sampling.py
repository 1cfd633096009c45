import numpy as np
import pytest
import torch
from scipy import stats

from smoothseg import networks
from smoothseg.errors import PluginError
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry
from smoothseg.smoothing.sampling import BatchSize, Draw
from smoothseg.smoothing.votes import Votes
from smoothseg.testing import CountingDenoiser, ThresholdSegmenter

IMAGE = np.random.Generator(np.random.Philox(2)).integers(60, 200, (7, 10, 3), dtype=np.uint8)


def draw_of(batch_size=1, scale=1.0, segmenter=None, denoiser=None, seed=0, **options):
    model = BaseModel(denoiser or CountingDenoiser(), segmenter or ThresholdSegmenter(), Geometry(scale))
    return Draw(model, IMAGE, "key", sigma=0.25, seed=seed, batch_size=batch_size, **options)


class Recorder:
    def __init__(self):
        self.maps = []

    def add(self, labels):
        self.maps += list(labels.clone())


def test_votes_equal_counting_by_hand():
    labels = torch.randint(0, 4, (9, 3, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    votes = Votes(4, (3, 5), capacity=9)
    votes.add(labels[:4])
    votes.add(labels[4:])
    expected = np.stack([(labels.numpy() == c).sum(0) for c in range(4)])
    assert (votes.counts.numpy() == expected).all()
    assert (votes.mode() == expected.argmax(0)).all()
    assert (votes.hits(votes.mode()) == expected.max(0)).all()
    assert votes.n == 9


@pytest.mark.parametrize(
    ("capacity", "classes", "size"),
    [
        (10, 19, (33, 47)),
        (3000, 19, (7, 90)),
        (40_000, 59, (5, 30)),
        (4, 300, (7, 9)),
        (7, 1, (3, 4)),
        (5, 3, (2, 70_000)),
    ],
)
def test_mode_is_the_lowest_of_the_most_frequent_classes(capacity, classes, size):
    votes = Votes(classes, size, capacity=capacity)
    generator = torch.Generator().manual_seed(0)
    votes.counts.copy_(torch.randint(0, 4, votes.counts.shape, generator=generator))
    votes.counts[:, 0, 0] = 0
    votes.counts[-1, 0, 1] = min(capacity, 30_000)
    assert (votes.mode() == votes.counts.numpy().argmax(0)).all()


def test_more_votes_than_announced_are_refused():
    votes = Votes(2, (1, 1), capacity=2)
    with pytest.raises(ValueError, match="announced"):
        votes.add(torch.zeros(3, 1, 1, dtype=torch.uint8))


def test_counts_wide_enough_for_many_samples():
    assert Votes(2, (1, 1), capacity=40_000).counts.dtype == torch.int32


@pytest.mark.parametrize("noise", ["lattice", "gaussian"])
@pytest.mark.parametrize("batch_size", [3, 7, 50])
def test_batch_size_does_not_change_votes(batch_size, noise):
    one, many = draw_of(1, noise=noise), draw_of(batch_size, noise=noise)
    for n in (5, 26):
        assert torch.equal(one(n).counts, many(n).counts)


@pytest.mark.parametrize("noise", ["lattice", "gaussian"])
def test_draws_are_disjoint_and_go_on(noise):
    draw, recorder = draw_of(4, noise=noise), Recorder()
    draw(6, recorder)
    draw(9, recorder)
    assert draw.drawn == 15
    whole = Recorder()
    draw_of(1, noise=noise)(15, whole)
    assert all(torch.equal(a, b) for a, b in zip(recorder.maps, whole.maps, strict=True))
    assert len({m.numpy().tobytes() for m in whole.maps}) == 15


def test_every_sample_has_a_seed_of_its_own_for_the_denoiser():
    denoiser = CountingDenoiser()
    draw_of(3, denoiser=denoiser)(8)
    assert denoiser.seeds == networks.seeds(0, "", range(8), purpose="denoiser")
    assert len(set(denoiser.seeds)) == 8


def test_the_denoiser_is_told_the_sigma_left():
    denoiser = CountingDenoiser()
    draw_of(denoiser=denoiser, scale=0.5)(1)
    assert denoiser.sigmas == [Geometry(0.5).sigma_told(0.25, 7, 10)]


def test_votes_follow_the_closed_form_of_the_threshold_model():
    n = 2000
    hits = draw_of(50)(n).counts[1].numpy()
    probability = stats.norm.cdf((IMAGE[..., 0] / 255 - 0.5) / 0.25)
    assert (
        stats.chi2.sf(
            ((hits - n * probability) ** 2 / (n * probability * (1 - probability))).sum(), IMAGE[..., 0].size
        )
        > 1e-3
    )


def test_progress_counts_every_sample():
    seen = []
    draw_of(4, progress=seen.append)(10)
    assert seen == [4, 4, 2]


def test_wrong_scores_are_the_plugins_fault():
    class Wrong(ThresholdSegmenter):
        def segment(self, images):
            return super().segment(images)[:, :1]

    class Infinite(ThresholdSegmenter):
        def segment(self, images):
            return super().segment(images) * float("nan")

    with pytest.raises(PluginError, match=r"expected \(1, 2, h, w\)"):
        draw_of(segmenter=Wrong())(1)
    with pytest.raises(PluginError, match="not finite"):
        draw_of(segmenter=Infinite())(1)


class Scores(Recorder):
    """A tally that asks for scores."""

    def __init__(self):
        super().__init__()
        self.scores = []

    def add_scores(self, scores):
        self.scores += list(scores.clone())


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_tally_that_asks_for_scores_gets_those_of_its_labels_at_any_batch_size(scale):
    tallies = [draw_of(batch_size=size, scale=scale)(5, into=Scores()) for size in (1, 2, 5)]
    for tally in tallies:
        assert len(tally.scores) == len(tally.maps) == 5
        for scores, labels in zip(tally.scores, tally.maps, strict=True):
            assert scores.shape == (2, 7, 10)
            clear = (scores[0] - scores[1]).abs() > 1e-5
            assert torch.equal(scores.argmax(0)[clear], labels.long()[clear])
        assert all(map(torch.equal, tally.scores, tallies[0].scores))
    plain = draw_of(scale=scale)(5, into=Recorder())
    assert all(map(torch.equal, plain.maps, tallies[0].maps))


def test_scores_come_once_where_memory_is_short():
    halved = []

    class Small(ThresholdSegmenter):
        def segment(self, images):
            if len(images) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return super().segment(images)

    tally = draw_of(batch_size=BatchSize(8, halved=halved.append), segmenter=Small())(6, into=Scores())
    whole = draw_of()(6, into=Scores())
    assert halved == [3, 1]
    assert all(map(torch.equal, tally.scores, whole.scores))
    assert len(tally.scores) == 6
