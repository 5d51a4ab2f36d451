from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemgs.coding import quantize as q

INDEX = st.integers(-q.MAX_STEP_INDEX, q.MAX_STEP_INDEX)
STEP = st.floats(1e-6, 1e3)


def test_multipliers_are_rounded_powers():
    multipliers = q.step_multipliers()
    assert multipliers.dtype == np.int64
    assert len(multipliers) == 2 * q.MAX_STEP_INDEX + 1
    for index, multiplier in zip(range(-q.MAX_STEP_INDEX, q.MAX_STEP_INDEX + 1), multipliers, strict=True):
        exact = math.exp(index / q.STEP_FRACTION * math.log(2)) * 65536
        assert abs(multiplier - exact) <= 0.5 + 1e-6
    assert multipliers[q.MAX_STEP_INDEX] == 65536
    assert multipliers[0] == 4096
    assert multipliers[-1] == 1 << 20
    with pytest.raises(ValueError, match="read-only"):
        multipliers[0] = 1


def test_reciprocals():
    assert q.reciprocals()[q.MAX_STEP_INDEX + q.STEP_FRACTION] == 32768
    product = q.reciprocals() * q.step_multipliers() / 2**32
    assert np.abs(product - 1).max() < 2**-12


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), STEP, INDEX)
def test_error_is_at_most_half_a_step(values, base_step, index):
    step = base_step * int(q.step_multipliers()[index + q.MAX_STEP_INDEX]) / 65536
    if max(map(abs, values)) / step >= 2**30:
        return
    symbols = q.quantize(values, base_step, index)
    assert symbols.dtype == np.int32
    restored = q.dequantize(symbols, base_step, index)
    assert restored.dtype == np.float32
    tolerance = step / 2 * (1 + 1e-9) + np.abs(values) * 2**-23
    assert np.all(np.abs(restored - np.array(values)) <= tolerance)
    assert np.array_equal(q.quantize(restored, base_step, index), symbols) or np.abs(symbols).max() > 2**20


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=30), STEP, INDEX)
def test_dequantisation_is_one_rounding_of_the_exact_product(symbols, base_step, index):
    multiplier = int(q.step_multipliers()[index + q.MAX_STEP_INDEX])
    # int / int of Fractions rounds correctly, as one float64 multiplication must.
    expected = [np.float32(float(Fraction(symbol * multiplier, 65536) * Fraction(base_step))) for symbol in symbols]
    assert q.dequantize(symbols, base_step, index).tolist() == expected


def test_dequantisation_is_pinned():
    restored = q.dequantize([1, -3, 1000, 2**31 - 1], 0.1, [-256, -1, 77, 256])
    assert [value.hex() for value in restored.tolist()] == [
        "0x1.99999a0000000p-8",
        "-0x1.2fe4000000000p-2",
        "0x1.cc7a080000000p+7",
        "0x1.99999a0000000p+31",
    ]


def test_ties_go_to_even():
    assert q.quantize([0.5, 1.5, 2.5, -0.5, -1.5], 1.0, 0).tolist() == [0, 2, 2, 0, -2]


def test_indices_broadcast():
    symbols = q.quantize(np.full((4, 3), 10.0), 1.0, [-64, 0, 64])
    assert symbols.tolist() == [[20, 10, 5]] * 4
    assert q.dequantize(symbols, 1.0, [-64, 0, 64]).tolist() == [[10.0] * 3] * 4
    assert q.quantize([], 1.0, []).size == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**31, -(2.0**31)])
def test_values_without_a_symbol(value):
    with pytest.raises(ValueError, match="finite and less than"):
        q.quantize([0.0, value], 1.0, 0)


@pytest.mark.parametrize("base_step", [0.0, -1.0, math.nan, math.inf])
def test_base_step_must_be_positive(base_step):
    with pytest.raises(ValueError, match="base step"):
        q.quantize([1.0], base_step, 0)
    with pytest.raises(ValueError, match="base step"):
        q.dequantize([1], base_step, 0)


@pytest.mark.parametrize("index", [-257, 257, [0, 1000]])
def test_index_out_of_range(index):
    with pytest.raises(ValueError, match=r"-256\.\.256"):
        q.quantize([1.0], 1.0, index)
    with pytest.raises(ValueError, match=r"-256\.\.256"):
        q.dequantize([1], 1.0, index)


def test_symbols_must_be_integers():
    with pytest.raises(ValueError, match="symbols must be integers"):
        q.dequantize([0.5], 1.0, 0)


@given(st.integers(-(2**60), 2**60))
def test_split_mean(mean):
    centre, offset = q.split_mean(mean)
    assert (centre.dtype, offset.dtype) == (np.int64, np.uint8)
    assert 0 <= offset <= 31
    assert 32 * int(centre) + int(offset) - 16 == mean
    assert abs(Fraction(mean, 32) - int(centre)) <= Fraction(1, 2)


def test_split_mean_of_known_values():
    centre, offset = q.split_mean([0, 15, 16, -16, -17, 32])
    assert centre.tolist() == [0, 0, 1, 0, -1, 1]
    assert offset.tolist() == [16, 31, 0, 0, 31, 16]
