"""That `own-model` keeps the promises of a segmenter, and computes what the network alone computes."""

import pytest
import torch
from smoothseg_own_model import CLASSES, MEAN, STD, OwnModelRecipe
from smoothseg_own_model.network import Network

from smoothseg import WeightsError
from smoothseg.testing import check_segmenter, recipe


@pytest.fixture
def file(tmp_path):
    """A weight file as a training program would leave it; here the weights are drawn."""
    torch.manual_seed(0)
    torch.save(Network(len(CLASSES)).state_dict(), tmp_path / "own-model.pth")
    return tmp_path / "own-model.pth"


def test_smoothseg_finds_it():
    assert recipe("segmenter", "own-model:weights=mine.pth") == OwnModelRecipe("mine.pth")


def test_it_keeps_the_promises_of_a_segmenter(file):
    check_segmenter(OwnModelRecipe(str(file)).load("cpu"))


def test_the_scores_are_those_of_the_network_alone(file):
    images = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    network = Network(len(CLASSES)).eval()
    network.load_state_dict(torch.load(file, weights_only=True))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    expected = network((images - mean) / std)
    torch.testing.assert_close(OwnModelRecipe(str(file)).load("cpu").segment(images), expected)


def test_a_file_that_is_not_the_networks_is_refused(file):
    torch.save(Network(5).state_dict(), file)
    with pytest.raises(WeightsError, match="does not fit Network"):
        OwnModelRecipe(str(file)).load("cpu")
    with pytest.raises(WeightsError, match=r"absent\.pth does not exist"):
        OwnModelRecipe("absent.pth").load("cpu")
