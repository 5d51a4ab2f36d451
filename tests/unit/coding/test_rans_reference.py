"""The coder against independent programs and formulas: scipy, constriction, entropy."""

from __future__ import annotations

import numpy as np
import pytest

from hemgs.coding import rans
from hemgs.coding.tables import mean_of_offset, scale_of_level
from tests.oracles.gaussian_bits import gaussian_bits, ideal_bits
from tests.unit.coding.coding_workload import workload

#: Bytes over the ideal that the coder may add on the reference workload, all causes together.
MAX_OVERHEAD = 1e-3


def stream_of(load) -> bytes:
    encoder = rans.GaussianEncoder()
    encoder.push(load.residuals, load.levels, load.offsets)
    return encoder.finish()


def test_overhead_on_a_million_symbols():
    load = workload(1_000_000)
    ideal_bytes = gaussian_bits(load.values, load.means, load.scales) / 8
    overhead = len(stream_of(load)) / ideal_bytes - 1
    assert 0 < overhead < MAX_OVERHEAD


def test_the_stream_adds_little_to_its_tables():
    load = workload(1_000_000)
    over_tables = 8 * len(stream_of(load)) / rans.table_bits(load.residuals, load.levels, load.offsets) - 1
    assert 0 < over_tables < 5e-5
    over_gaussians = (
        rans.table_bits(load.residuals, load.levels, load.offsets)
        / ideal_bits(load.residuals, load.levels, load.offsets)
        - 1
    )
    assert 0 < over_gaussians < 2e-4


def test_wide_scales_in_two_stages_cost_little():
    random = np.random.default_rng(3)
    levels = random.integers(81, 128, 200_000)
    offsets = random.integers(0, 32, 200_000)
    residuals = np.rint(random.normal(mean_of_offset(offsets), scale_of_level(levels))).astype(np.int64)
    ideal = ideal_bits(residuals, levels, offsets)
    assert 0 < rans.table_bits(residuals, levels, offsets) / ideal - 1 < 3e-4


def test_narrow_scales_cost_little():
    random = np.random.default_rng(4)
    levels = random.integers(0, 32, 200_000)  # 1/64 to 1/4 of a step
    offsets = random.integers(0, 32, 200_000)
    residuals = np.rint(random.normal(mean_of_offset(offsets), scale_of_level(levels))).astype(np.int64)
    excess = rans.table_bits(residuals, levels, offsets) - ideal_bits(residuals, levels, offsets)
    assert excess / len(levels) < 5e-4  # bits a symbol


def test_size_against_constriction():
    constriction = pytest.importorskip("constriction")
    load = workload(300_000)
    family = constriction.stream.model.QuantizedGaussian(-512, 512)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(
        load.residuals.astype(np.int32), family, mean_of_offset(load.offsets), scale_of_level(load.levels)
    )
    theirs = 4 * len(coder.get_compressed())
    assert len(stream_of(load)) == pytest.approx(theirs, rel=1e-3)


def test_bits_take_their_entropy():
    random = np.random.default_rng(5)
    probabilities = random.integers(1, 65536, 200_000)
    bits = random.random(len(probabilities)) < probabilities / 65536
    share = np.where(bits, probabilities, 65536 - probabilities) / 65536
    ideal_bytes = -np.log2(share).sum() / 8
    assert len(rans.encode_bits(bits, probabilities)) == pytest.approx(ideal_bytes, rel=1e-4, abs=8)
