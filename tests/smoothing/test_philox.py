"""The words of noise, against numpy's generator."""

import numpy as np
import pytest
import torch

from smoothseg.smoothing import philox

SEEDS = [0, 2**128 - 1, 0x0123456789ABCDEFFEDCBA9876543210]


def words(blocks):
    return torch.stack(torch.broadcast_tensors(*blocks), dim=-1).numpy().view(np.uint64)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lane", [0, 1, 2**63])
def test_blocks_are_numpy_s(seed, lane):
    signed = lane - 2**64 if lane >= 2**63 else lane
    made = philox.blocks(philox.keys([seed]), (torch.arange(1, 101), 0, 0, signed))

    expected = np.random.Philox(key=seed, counter=lane << 192).random_raw(400).reshape(100, 4)
    np.testing.assert_array_equal(words(made), expected)


def test_every_word_of_a_counter_counts_as_in_numpy():
    counter = (2**64 - 2, 2**63, 2**64 - 1, 0x0F0F0F0F0F0F0F0F)
    signed = [
        torch.tensor(np.array([word + (i == 0)], dtype=np.uint64).view(np.int64))
        for i, word in enumerate(counter)
    ]

    made = words(philox.blocks(philox.keys([SEEDS[2]]), signed))[0]

    whole = sum(word << (64 * i) for i, word in enumerate(counter))
    np.testing.assert_array_equal(made, np.random.Philox(key=SEEDS[2], counter=whole).random_raw(4))


def test_blocks_of_many_keys_are_those_of_each():
    counters = torch.arange(5)
    together = philox.blocks(philox.keys(SEEDS)[..., None], (counters, 7, 0, 1))
    for row, seed in enumerate(SEEDS):
        alone = philox.blocks(philox.keys([seed]), (counters, 7, 0, 1))
        assert all(torch.equal(a[row], b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("count", [1, 15, 16, 33, 1001])
def test_computed_pieces_are_those_of_the_stream(bits, count):
    computed = philox.pieces(philox.keys(SEEDS), count, 1, bits=bits)

    assert computed.shape == (len(SEEDS), count)
    for row, seed in zip(computed, SEEDS, strict=True):
        assert torch.equal(row, philox.Stream(seed, 1).pieces(count, bits=bits).to(torch.int32))


def test_pieces_of_a_word_go_from_the_lowest_up():
    word = int(np.random.Philox(key=SEEDS[2]).random_raw())

    assert philox.Stream(SEEDS[2], 0).pieces(4, bits=16).tolist() == [
        word >> s & 0xFFFF for s in (0, 16, 32, 48)
    ]
    assert philox.Stream(SEEDS[2], 0).pieces(8, bits=8).tolist() == [
        word >> s & 0xFF for s in range(0, 64, 8)
    ]


def test_a_stream_goes_on_where_it_was():
    whole = philox.Stream(3, 0).pieces(64, bits=16)
    stream = philox.Stream(3, 0)
    parts = [stream.pieces(count, bits=16) for count in (4, 40, 20)]

    assert torch.equal(torch.cat([part.to(torch.int32) for part in parts]), whole.to(torch.int32))


def test_lanes_and_seeds_have_streams_of_their_own():
    drawn = [philox.Stream(seed, lane).pieces(64, bits=16).tolist() for seed in SEEDS for lane in range(3)]
    assert len({tuple(each) for each in drawn}) == len(drawn)
