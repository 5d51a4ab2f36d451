"""The coder of mixtures: it restores all symbols, masses are weighted sums of rows, and sizes are near the ideal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hemgs.coding import mixture, rans
from hemgs.coding.mixture import MAX_DISTANCE, WHOLE_WEIGHT, MixtureDecoder, MixtureEncoder
from hemgs.coding.quantize import split_mean
from hemgs.coding.tables import CENTRED_OFFSET, NUM_LEVELS, NUM_MEAN_OFFSETS, gaussian_tables, level_of_log2
from hemgs.core.errors import BitstreamError

LEVEL, OFFSET = st.integers(0, NUM_LEVELS - 1), st.integers(0, NUM_MEAN_OFFSETS - 1)
NEAR = st.integers(-300, 300)
SYMBOL = st.tuples(
    st.integers(-(2**31), 2**31 - 1) | NEAR,
    LEVEL,
    OFFSET,
    LEVEL,
    OFFSET,
    st.integers(-MAX_DISTANCE, MAX_DISTANCE) | NEAR,
    st.integers(0, WHOLE_WEIGHT) | st.sampled_from([0, WHOLE_WEIGHT]),
)


def encoded(table: NDArray[np.int64]) -> MixtureEncoder:
    encoder = MixtureEncoder()
    encoder.push(*table.T)
    return encoder


def workload(num: int, seed: int = 0) -> tuple[list[NDArray[Any]], float]:
    """Residuals and mixtures as :meth:`MixtureEncoder.push` takes them, drawn from real-valued mixtures, and the bits
    of the symbols under these."""
    random = np.random.default_rng(seed)
    scales = np.exp(random.uniform(np.log(0.1), np.log(20), (2, num)))
    means = random.normal(0, 4, num) + np.stack([np.zeros(num), scales[0] * random.normal(0, 1, num)])
    weights = 1 / (1 + np.exp(random.normal(0, 3, num)))
    chosen = (random.random(num) > weights).astype(np.int64)
    every = np.arange(num)
    values = np.rint(random.normal(means[chosen, every], scales[chosen, every])).astype(np.int64)
    levels = [level_of_log2(np.rint(np.log2(scale) * 64).astype(np.int64)) for scale in scales]
    (centre, offset), (other, other_offset) = (split_mean(np.rint(mean * 32).astype(np.int64)) for mean in means)
    mass = sum(
        share * 0.5 * (_erfc((distance - 0.5) / scale) - _erfc((distance + 0.5) / scale))
        for share, distance, scale in zip((weights, 1 - weights), np.abs(values - means), scales, strict=True)
    )
    whole = np.rint(weights * WHOLE_WEIGHT).astype(np.int64)
    mixtures = [levels[0], offset, levels[1], other_offset, other - centre, whole]
    return [values - centre, *mixtures], float(-np.log2(mass).sum())


def _erfc(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([math.erfc(value * math.sqrt(0.5)) for value in values])


@settings(deadline=None, max_examples=300)
@given(st.lists(SYMBOL, max_size=100), st.data())
def test_any_residuals_come_back_in_batches_of_any_split(symbols: list[Any], data: Any) -> None:
    table = np.array(symbols, np.int64).reshape(-1, 7)
    cuts = st.lists(st.integers(0, len(table)), max_size=5)
    encoder = MixtureEncoder()
    for part in np.split(table, sorted(data.draw(cuts))):
        encoder.push(*part.T)
    stream = encoder.finish()
    assert stream == encoded(table).finish()
    decoder = MixtureDecoder(stream)
    for part in np.split(table, sorted(data.draw(cuts))):
        pulled = decoder.pull(*part.T[1:])
        assert pulled.dtype == np.int32 and pulled.tolist() == part[:, 0].tolist()
    decoder.finish()


@pytest.mark.parametrize("weight", [0, 1, 100, WHOLE_WEIGHT])
def test_masses_are_the_weighted_sums_of_both_rows(weight: int) -> None:
    """Against the rows themselves, value by value, for rows that overlap in part."""
    tables, rows = gaussian_tables(), ((60, 5, 0), (52, 20, 4))
    found = {}
    for value in range(-40, 41):
        mass = 0
        for share, (level, offset, centre) in zip((weight, WHOLE_WEIGHT - weight), rows, strict=True):
            half = int(tables.half_widths[level])
            first = int(tables.level_start[level]) + offset * (2 * half + 3)
            if abs(value - centre) <= half:
                entry = first + value - centre + half
                mass += share * int(tables.cumulative[entry + 1] - tables.cumulative[entry])
        if mass:
            found[value] = 24 - math.log2(mass)
    for value, bits in found.items():
        encoder = encoded(np.array([[value, 60, 5, 52, 20, 4, weight]]))
        assert encoder.table_bits() == pytest.approx(bits, abs=1e-12)
    assert len(found) > 10


@pytest.mark.parametrize("level", [0, 40, 80, 81, 100, 127])
@pytest.mark.parametrize("offset", [0, CENTRED_OFFSET, NUM_MEAN_OFFSETS - 1])
def test_a_mixture_of_one_row_is_that_row(level: int, offset: int) -> None:
    reach = int(4 * 2 ** ((level - 48) / 8))
    residuals = np.arange(-reach, reach + 1)
    alone = rans.table_bits(residuals, np.full_like(residuals, level), np.full_like(residuals, offset))
    for mixed in (
        (level, offset, level, offset, 0, 77),
        (level, offset, 3, 3, 9, WHOLE_WEIGHT),
        (9, 9, level, offset, 0, 0),
    ):
        table = np.concatenate([residuals[:, None], np.tile(mixed, (len(residuals), 1))], axis=1)
        assert encoded(table).table_bits() == pytest.approx(alone, rel=1e-9)


def test_size_is_near_the_ideal() -> None:
    arrays, ideal = workload(20_000)
    encoder = MixtureEncoder()
    encoder.push(*arrays)
    bits = 8 * len(encoder.finish())
    assert bits == pytest.approx(encoder.table_bits(), rel=1e-3)
    assert 0.999 < bits / ideal < 1.003


def test_damaged_and_foreign_streams_are_errors() -> None:
    arrays, _ = workload(500)
    encoder = MixtureEncoder()
    encoder.push(*arrays)
    stream = encoder.finish()
    with pytest.raises(BitstreamError, match="section x: ends before"):
        MixtureDecoder(stream[:-40], "section x").pull(*arrays[1:])
    with pytest.raises(BitstreamError, match="whole number"):
        MixtureDecoder(stream[:-1])
    decoder = MixtureDecoder(stream)
    decoder.pull(*(array[:-1] for array in arrays[1:]))
    with pytest.raises(BitstreamError, match="does not end"):
        decoder.finish()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (1, NUM_LEVELS, "levels"),
        (2, NUM_MEAN_OFFSETS, "offsets"),
        (5, MAX_DISTANCE + 1, "distances"),
        (6, 257, "weights"),
    ],
)
def test_what_is_out_of_range_is_refused(column: int, value: int, message: str) -> None:
    table = np.zeros((1, 7), np.int64)
    table[0, column] = value
    with pytest.raises(ValueError, match=message):
        encoded(table)
    with pytest.raises(ValueError, match=message):
        MixtureDecoder(b"").pull(*table.T[1:])


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        MixtureEncoder().push([1, 2], *np.zeros((6, 1), np.int64))
    with pytest.raises(ValueError, match="shapes differ"):
        mixture.checked_mixtures([1, 2], *np.zeros((5, 1), np.int64))
