from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hemgs.coding import rans
from hemgs.coding.weights import decode_half, decode_integers, encode_half, encode_integers
from hemgs.core.errors import BitstreamError, TrainingError
from tests.oracles.gaussian_bits import gaussian_bits

SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)


@given(st.lists(arrays(np.float16, SHAPES, elements=st.floats(-65504, 65504, width=16)), max_size=4))
def test_half_round_trip(parts):
    decoded = decode_half(encode_half(parts), [part.shape for part in parts])
    assert len(encode_half(parts)) == 2 * sum(part.size for part in parts)
    for part, again in zip(parts, decoded, strict=True):
        assert again.dtype == np.float32
        assert again.shape == part.shape
        assert np.array_equal(again, part.astype(np.float32))


def test_half_rounds_to_nearest():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    (decoded,) = decode_half(encode_half([values]), [(1000,)])
    assert np.array_equal(decoded, values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -70000.0])
def test_half_refuses_what_it_cannot_hold(value):
    with pytest.raises(TrainingError, match="network array 1 contains"):
        encode_half([np.zeros(3), np.array([1.0, value])])


def test_half_of_another_length():
    with pytest.raises(BitstreamError, match="section networks: 6 bytes of floats, 8 are needed"):
        decode_half(bytes(6), [(2, 2)])


@settings(deadline=None, max_examples=50)
@given(st.lists(arrays(np.int32, SHAPES), max_size=4))
def test_integers_round_trip(parts):
    decoded = decode_integers(encode_integers(parts), [part.shape for part in parts])
    for part, again in zip(parts, decoded, strict=True):
        assert again.dtype == np.int64
        assert again.shape == part.shape
        assert np.array_equal(again, part)


def test_integers_take_about_their_entropy():
    random = np.random.default_rng(1)
    arrays_ = [np.rint(random.normal(0, scale, 20_000)).astype(np.int64) for scale in (0.2, 3.0, 90.0, 900.0)]
    data = encode_integers(arrays_)
    ideal_bytes = sum(gaussian_bits(a, 0.0, a.std()) for a in arrays_) / 8
    # The scale is rounded to an eighth of an octave: at most 0.003 bits a symbol of 0.5 and more.
    assert len(data) < ideal_bytes * 1.005


def test_the_level_is_the_best_of_all():
    random = np.random.default_rng(2)
    heavy = np.rint(random.standard_t(2, 5000) * 20).astype(np.int64)
    data = encode_integers([heavy])
    for level in range(128):
        stream = rans.GaussianEncoder()
        stream.push(heavy, np.full(5000, level), np.full(5000, 16))
        assert len(data) - 1 <= len(stream.finish()) + 4


@pytest.mark.parametrize("values", [[0.5], [2**31], [-(2**31) - 1]])
def test_integers_refuse(values):
    with pytest.raises(ValueError, match="residuals must"):
        encode_integers([values])


def test_damaged_integers():
    data = encode_integers([np.arange(100), np.arange(5)])
    with pytest.raises(BitstreamError, match="section networks: 1 bytes cannot hold 2 levels"):
        decode_integers(data[:1], [(100,), (5,)])
    with pytest.raises(BitstreamError, match="section networks: level 200 exceeds 127"):
        decode_integers(b"\xc8" + data[1:], [(100,), (5,)])
    with pytest.raises(BitstreamError, match="section networks: "):
        decode_integers(data, [(100,), (6,)])
    with pytest.raises(BitstreamError, match="section networks: "):
        decode_integers(data, [(99,), (5,)])
