"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch

from smoothseg_training.average import Average


def test_the_average_follows_its_formula_and_copies_integers():
    network = torch.nn.BatchNorm2d(2)
    average = Average(network, decay=0.5)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_var.fill_(5.0)
        network.num_batches_tracked.fill_(7)
    average.update(network, 0)  # decay is min(0.5, 1/10)
    assert average.network.weight.tolist() == pytest.approx([0.1 + 0.9 * 3.0] * 2)
    assert average.network.running_var.tolist() == pytest.approx([0.1 + 0.9 * 5.0] * 2)
    assert int(average.network.num_batches_tracked) == 7
    average.update(network, 1000)
    assert average.network.weight.tolist() == pytest.approx([0.5 * 2.8 + 0.5 * 3.0] * 2)
    assert not average.network.training
