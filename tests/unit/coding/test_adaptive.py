"""The coder under octrees and masks: its tables, its carries, its end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hemgs.coding import _adaptive_kernels as kernels
from hemgs.coding.adaptive import AdaptiveStream
from hemgs.core.errors import BitstreamError

SIZES = (kernels.MASK_ENTRIES, kernels.MASK_COLUMNS * kernels.MASK_INPUTS)


def written(bits, least_bytes: int = 0) -> bytes:
    stream = AdaptiveStream(*SIZES)
    rows = np.array(bits, np.uint8)
    kernels.code_masks(rows, 0, len(rows), stream.room(rows.size * kernels.MASK_BIT_BYTES), stream.model)
    return stream.finish(least_bytes)


def read(data: bytes, shape, least_bytes: int = 0) -> np.ndarray:
    stream = AdaptiveStream(*SIZES, data, "section x")
    rows = np.zeros(shape, np.uint8)
    stream.check(kernels.code_masks(rows, 0, len(rows), stream.room(0), stream.model))
    stream.close(least_bytes)
    return rows


def test_tables_are_those_of_the_logistic_function():
    _, _, stretch, squash, rates = AdaptiveStream(1, 1).model
    limit = kernels.LOGIT_LIMIT
    exact = [65536 / (1 + math.exp(-i / kernels.LOGIT_UNITS)) for i in range(-limit, limit + 1)]
    assert np.abs(squash - exact).max() <= 1
    assert squash[limit] == 32768
    assert np.all(np.diff(squash) >= 0)
    # To within the width of one index, the inverse.
    assert np.abs(squash[stretch + limit] - (np.arange(4096) * 16 + 8)).max() <= 72
    assert np.all(np.diff(stretch) >= 0)
    assert rates[0] == 43690
    assert rates[98] == 658


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(0, 40), st.integers(0, 9)), elements=st.integers(0, 1)))
def test_bits_round_trip(bits):
    assert np.array_equal(read(written(bits), bits.shape), bits)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999, 1.0])
def test_extreme_shares(share):
    # Ones alone leave the interval's low end at zero; zeros alone carry through runs of 255.
    bits = (np.random.default_rng(0).random((4000, 3)) < share).astype(np.uint8)
    data = written(bits)
    assert np.array_equal(read(data, bits.shape), bits)
    ideal = 0.0 if share in (0, 1) else -sum(p * math.log2(p) for p in (share, 1 - share)) * bits.size / 8
    assert len(data) < 1.02 * ideal + 60


def test_surprises_stay_within_the_room():
    # The most expensive input: every bit contradicts the bits before it.
    bits = np.zeros((3000, 1), np.uint8)
    bits[500::37] = 1
    assert np.array_equal(read(written(bits), bits.shape), bits)
    assert math.log2(65536 / 4) + 1 <= 8 * kernels.MASK_BIT_BYTES
    assert 9 * (math.log2(65536 / 4) + 1) <= 8 * kernels.NODE_BYTES


def test_the_end_is_exact():
    bits = np.random.default_rng(1).integers(0, 2, (300, 4), np.uint8)
    data = written(bits)
    for changed in (data + b"\0", data + b"\1", data + bytes(5), data[:-1] + bytes([data[-1] ^ 255])):
        with pytest.raises(BitstreamError, match="section x: does not end with its last symbol"):
            read(changed, bits.shape)
    with pytest.raises(BitstreamError, match="section x: "):
        read(data[:-8], bits.shape)
    with pytest.raises(BitstreamError, match="section x: ends before its last symbol"):
        read(data[:20], bits.shape)


def test_zeros_appended_on_purpose():
    bits = np.ones((5, 2), np.uint8)
    data = written(bits, 40)
    assert len(data) == 40
    assert np.array_equal(read(data, bits.shape, 40), bits)
    for changed, least in ((data, 39), (data, 0), (data[:-1], 40), (data + b"\0", 40), (data[:-1] + b"\1", 40)):
        with pytest.raises(BitstreamError, match="does not end"):
            read(changed, bits.shape, least)
