from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hemgs.coding.masks import decode_masks, encode_masks
from hemgs.coding.names import ADAPTIVE, STATIC
from hemgs.coding.signs import decode_signs, encode_signs
from hemgs.core.errors import BitstreamError


def entropy_bytes(bits, axis=0) -> float:
    """Bytes of independent bits with the best common probability along an axis."""
    share = bits.mean(axis=axis)
    return float(-bits.shape[axis] * np.sum(share * np.log2(share) + (1 - share) * np.log2(1 - share)) / 8)


@pytest.mark.parametrize("codec", [STATIC, ADAPTIVE])
@settings(deadline=None)
@given(masks=arrays(np.bool_, st.tuples(st.integers(0, 50), st.integers(0, 12))))
def test_masks_round_trip(codec, masks):
    decoded = decode_masks(encode_masks(masks, codec), *masks.shape)
    assert decoded.dtype == np.bool_
    assert np.array_equal(decoded, masks)


def test_masks_take_the_entropy_of_each_offset():
    random = np.random.default_rng(0)
    masks = random.random((20_000, 10)) < np.linspace(0.02, 0.98, 10)
    assert len(encode_masks(masks)) == pytest.approx(entropy_bytes(masks), rel=1e-4, abs=28)
    assert len(encode_masks(np.ones((20_000, 10), bool))) <= 32


@pytest.mark.parametrize("codec", [STATIC, ADAPTIVE])
def test_masks_longer_than_a_chunk(codec):
    masks = np.random.default_rng(1).random((15_000, 100)) < 0.3
    assert np.array_equal(decode_masks(encode_masks(masks, codec), 15_000, 100), masks)


def test_masks_of_the_most_offsets():
    masks = np.random.default_rng(4).random((20, 255)) < 0.9
    assert np.array_equal(decode_masks(encode_masks(masks, ADAPTIVE), 20, 255), masks)


def test_adaptive_masks_cost_little_more_than_the_entropy_of_independent_bits():
    random = np.random.default_rng(0)
    masks = random.random((20_000, 10)) < np.linspace(0.02, 0.98, 10)
    assert len(encode_masks(masks, ADAPTIVE)) < 1.02 * entropy_bytes(masks)


def test_adaptive_masks_use_their_anchor_and_the_one_before():
    random = np.random.default_rng(5)
    crowded = np.repeat(random.random(20_000) < 0.5, 10).reshape(-1, 10)
    together = random.random((20_000, 10)) < np.where(crowded, 0.9, 0.1)
    assert len(encode_masks(together, ADAPTIVE)) < 0.65 * len(encode_masks(together))
    # Each bit is that of the anchor before in nine of ten cases: 0.469 bits of entropy against one.
    changes = random.random((20_000, 10)) < 0.1
    slow = np.cumsum(changes, axis=0) % 2 == 1
    assert len(encode_masks(slow, ADAPTIVE)) < 0.48 * len(encode_masks(slow))


def test_masks_know_their_codec():
    masks = np.ones((4, 3), bool)
    assert encode_masks(masks, ADAPTIVE).startswith(b"\0\0\2")
    assert encode_masks(masks) == encode_masks(masks, STATIC)
    with pytest.raises(ValueError, match=r"no mask codec 'zip'; there are \['static', 'adaptive'\]"):
        encode_masks(masks, "zip")


def test_damaged_adaptive_masks():
    data = encode_masks(np.random.default_rng(2).random((100, 10)) < 0.5, ADAPTIVE)
    for changed in (data + b"\0", data + b"\1", data[:60], data[:3]):
        with pytest.raises(BitstreamError, match=r"section masks: (ends before|does not end)"):
            decode_masks(changed, 100, 10)
    for num in (90, 110):
        with pytest.raises(BitstreamError, match=r"section masks: (ends before|does not end)"):
            decode_masks(data, num, 10)
    with pytest.raises(BitstreamError, match="256 offsets an anchor, at most 255"):
        decode_masks(data, 1, 256)


@pytest.mark.parametrize("masks", [np.zeros((2, 2), np.uint8), np.zeros(3, bool), np.zeros((1, 256), bool)])
def test_masks_refuse(masks):
    with pytest.raises(ValueError, match="masks must be"):
        encode_masks(masks)


def test_damaged_masks():
    data = encode_masks(np.random.default_rng(2).random((100, 10)) < 0.5)
    with pytest.raises(BitstreamError, match="section masks: 19 bytes cannot hold 10 probabilities"):
        decode_masks(data[:19], 100, 10)
    with pytest.raises(BitstreamError, match="a probability is zero"):
        decode_masks(bytes(2) + data[2:], 100, 10)
    with pytest.raises(BitstreamError, match=r"section masks: (ends before|does not end)"):
        decode_masks(data, 101, 10)
    with pytest.raises(BitstreamError, match=r"section masks: (ends before|does not end)"):
        decode_masks(data, 99, 10)
    with pytest.raises(BitstreamError, match="256 offsets an anchor, at most 255"):
        decode_masks(data, 1, 256)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([-1, 1]), max_size=60), max_size=5))
def test_signs_round_trip(levels):
    decoded = decode_signs(encode_signs(levels), [len(level) for level in levels])
    assert [level.tolist() for level in decoded] == levels
    assert all(level.dtype == np.int8 for level in decoded)


def test_signs_take_the_entropy_of_each_level():
    random = np.random.default_rng(3)
    levels = [random.random(50_000) < share for share in (0.1, 0.5, 0.9)]
    data = encode_signs([np.where(level, 1, -1).astype(np.int8).reshape(-1, 4) for level in levels])
    assert len(data) == pytest.approx(sum(entropy_bytes(level) for level in levels), rel=1e-3)


@pytest.mark.parametrize("level", [[0], [1, 2], [0.5]])
def test_signs_refuse(level):
    with pytest.raises(ValueError, match=r"only -1 and \+1"):
        encode_signs([level])


def test_damaged_signs():
    data = encode_signs([[1, -1] * 500, [1] * 100])
    with pytest.raises(BitstreamError, match="section hash_grid: 3 bytes cannot hold 2 probabilities"):
        decode_signs(data[:3], [1000, 100])
    with pytest.raises(BitstreamError, match="a probability is zero"):
        decode_signs(bytes(2) + data[2:], [1000, 100])
    with pytest.raises(BitstreamError, match="section hash_grid: "):
        decode_signs(data, [1000, 1_000_000])
    with pytest.raises(BitstreamError, match="section hash_grid: "):
        decode_signs(data, [990, 100])
