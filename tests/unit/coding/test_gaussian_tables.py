from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemgs.coding import tables
from hemgs.core.errors import AssetError
from hemgs.core.files import sha256_of


def rows():
    """Every (level, offset, frequencies with the escape last)."""
    layout = tables.gaussian_tables()
    for level, half_width in enumerate(layout.half_widths):
        for offset in range(tables.NUM_MEAN_OFFSETS):
            start = layout.level_start[level] + offset * (2 * half_width + 3)
            yield level, offset, np.diff(layout.cumulative[start : start + 2 * half_width + 3].astype(np.int64))


def test_every_row_is_a_distribution_without_zeros():
    count = 0
    for level, offset, frequencies in rows():
        assert frequencies.sum() == 1 << tables.PROBABILITY_BITS, (level, offset)
        assert frequencies.min() >= 1, (level, offset)
        count += 1
    assert count == (tables.LAST_TABLE_LEVEL + 1) * tables.NUM_MEAN_OFFSETS


def test_rows_have_the_moments_that_their_indices_name():
    for level, offset, frequencies in rows():
        half_width = (len(frequencies) - 2) // 2
        residuals = np.arange(-half_width, half_width + 1)
        mass = frequencies[:-1] / frequencies[:-1].sum()
        mean = (mass * residuals).sum()
        variance = (mass * (residuals - mean) ** 2).sum()
        scale = float(tables.scale_of_level(level))
        if scale >= 1:
            # A lattice sum of a Gaussian has its mean, and its variance plus 1/12, up to terms below exp(-19). The
            # rest is the least frequency of 1 in the tails; a neighbouring level would differ by 19 %.
            assert mean == pytest.approx(float(tables.mean_of_offset(offset)), abs=2e-3 * scale)
            assert variance == pytest.approx(scale**2 + 1 / 12, rel=0.02)


def test_mean_offsets_mirror():
    by_index = {(level, offset): frequencies for level, offset, frequencies in rows()}
    for (level, offset), frequencies in by_index.items():
        if offset > 0:
            mirrored = by_index[level, tables.NUM_MEAN_OFFSETS - offset]
            assert np.abs(frequencies[:-1] - mirrored[:-1][::-1]).max() <= 1


def test_unit_scale_level():
    assert tables.scale_of_level(tables.LEVEL_OF_UNIT_SCALE) == 1
    assert tables.scale_of_level(tables.LEVEL_OF_UNIT_SCALE + tables.LEVELS_PER_OCTAVE) == 2
    assert tables.level_of_log2(0) == tables.LEVEL_OF_UNIT_SCALE


@given(st.integers(-(2**40), 2**40))
def test_level_is_the_nearest_and_is_clipped(log2_scale):
    level = int(tables.level_of_log2(log2_scale))
    exact = tables.LEVEL_OF_UNIT_SCALE + log2_scale / 8
    if 0 <= exact <= tables.NUM_LEVELS - 1:
        assert abs(level - exact) <= 0.5
    else:
        assert level == (0 if exact < 0 else tables.NUM_LEVELS - 1)


def test_level_ties_go_up():
    assert tables.level_of_log2([-12, -4, 4, 3]).tolist() == [47, 48, 49, 48]


def test_package_file_is_small_and_is_the_pinned_one():
    assert tables.TABLES_FILE.stat().st_size < 1_500_000
    assert sha256_of(tables.TABLES_FILE) == tables.TABLES_SHA256


@pytest.mark.parametrize("damage", ["flip", "missing"])
def test_another_table_file_is_refused(tmp_path, monkeypatch, damage):
    path = tmp_path / "tables.npz"
    if damage == "flip":
        data = bytearray(tables.TABLES_FILE.read_bytes())
        data[1000] ^= 1
        path.write_bytes(data)
    monkeypatch.setattr(tables, "TABLES_FILE", path)
    with pytest.raises(AssetError, match=r"tables\.npz.*install"):
        tables.package_integers.__wrapped__()
