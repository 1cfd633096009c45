"""How a network is put to use: in one arithmetic, without gradients, an image at a time."""

import pytest
import torch
from torch import nn

from smoothseg import networks
from smoothseg.testing import check_segmenter


def convolutions():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(), nn.Conv2d(4, 2, 1))


class Recorded(networks.ImageSegmenter):
    """Scores with `convolutions`; remembers how many images each pass had, and whether gradients were recorded."""

    def __init__(self):
        super().__init__(classes=("sky", "road"), digests={"weights.pth": "0" * 64})
        self.network = networks.frozen(convolutions(), precision="float32", device="cpu")
        self.passes = []

    def scores(self, image):
        self.passes.append((len(image), torch.is_grad_enabled()))
        return self.network(image)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_frozen_network_is_in_eval_mode_in_its_precision_and_learns_nothing(precision, channels_last):
    network = convolutions()
    frozen = networks.frozen(network, precision=precision, device="cpu", channels_last=channels_last)
    assert frozen is network
    assert not frozen.training
    assert {parameter.dtype for parameter in frozen.parameters()} == {networks.DTYPES[precision]}
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert frozen[0].weight.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_an_image_segmenter_keeps_its_protocols_promises():
    check_segmenter(Recorded())


def test_an_image_segmenter_sees_one_image_a_pass_and_records_no_gradients():
    segmenter = Recorded()
    images = torch.rand(3, 3, 5, 7)
    result = segmenter.segment(images)
    assert segmenter.passes == [(1, False)] * 3
    for row, image in zip(result, images, strict=True):
        assert torch.equal(row[None], segmenter.scores(image[None]))


def test_an_image_segmenter_tells_its_classes_and_digests():
    segmenter = Recorded()
    assert segmenter.classes == ("sky", "road")
    assert segmenter.digests == {"weights.pth": "0" * 64}


def test_a_segmenter_must_say_how_it_scores():
    with pytest.raises(TypeError, match="abstract"):
        networks.ImageSegmenter(classes=("sky",), digests={})
