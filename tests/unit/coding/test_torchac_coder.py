from __future__ import annotations

import sys

import numpy as np
import pytest

from hemgs.coding import rans
from hemgs.core.errors import BitstreamError, DeviceError
from tests.oracles import torchac_coder
from tests.unit.coding.coding_workload import workload


@pytest.fixture(scope="module")
def backend():
    try:
        torchac_coder.load_torchac()
    except DeviceError as fault:
        pytest.skip(fault.message)
    return torchac_coder


def encode(backend, *batches) -> bytes:
    encoder = backend.GaussianEncoder()
    for batch in batches:
        encoder.push(*batch)
    return encoder.finish()


def test_round_trip_of_all_levels_escapes_and_chunks(backend):
    random = np.random.default_rng(0)
    shape = (backend.CHUNK_SYMBOLS // 10 + 7, 25)
    levels, offsets = random.integers(0, 128, shape), random.integers(0, 32, shape)
    residuals = np.rint(random.normal(size=shape) * 2.0 ** ((levels - 48) / 8)).astype(np.int64)
    residuals[:4, 0] = -(2**31), 2**31 - 1, 70_000, -500
    batches = [(residuals, levels, offsets), (residuals[:3], levels[:3], offsets[:3])]
    data = encode(backend, *batches)
    decoder = backend.GaussianDecoder(data)
    for batch in batches:
        assert np.array_equal(decoder.pull(batch[1], batch[2]), batch[0])
    decoder.finish()


def test_size_is_that_of_its_row_widths(backend):
    load = workload(50_000)
    theirs = len(encode(backend, (load.residuals, load.levels, load.offsets)))
    ours = rans.table_bits(load.residuals, load.levels, load.offsets) / 8
    # Every row of a chunk is padded to the widest one, at 1/65536 an entry: 167 entries cost 0.4 % and more.
    assert 1 < theirs / ours < 1.007


def test_rows_are_the_tables_of_the_other_coder():
    Rows = torchac_coder.Rows
    every = Rows.of(np.repeat(np.arange(128), 32), np.tile(np.arange(32), 128)).cumulative()
    assert np.all(every[:, 0] == 0)
    assert np.all(every[:, -1] == 65536)
    assert np.all(np.diff(every) > 0)
    # Three octaves beyond the tables: bins of 8 steps by the table of level 76, the mean offset divided by 8.
    wide = Rows.of([100, 100], [31, 0])
    assert wide.shifts.tolist() == [3, 3]
    assert np.array_equal(wide.cumulative(), Rows.of([76, 76], [19, 16]).cumulative())
    assert Rows.of([80, 81], [0, 0]).shifts.tolist() == [0, 1]


def test_faults(backend):
    load = workload(100)
    data = encode(backend, (load.residuals, load.levels, load.offsets))
    decoder = backend.GaussianDecoder(data, "section x")
    with pytest.raises(BitstreamError, match="section x: the next chunk holds 100 symbols, not 99"):
        decoder.pull(load.levels[:99], load.offsets[:99])
    with pytest.raises(BitstreamError, match="ends before its last symbol"):
        backend.GaussianDecoder(data[:-1]).pull(load.levels, load.offsets)
    decoder = backend.GaussianDecoder(data + b"\0")
    decoder.pull(load.levels, load.offsets)
    with pytest.raises(BitstreamError, match="1 bytes are left"):
        decoder.finish()
    with pytest.raises(ValueError, match="levels must lie in"):
        backend.GaussianEncoder().push([0], [128], [0])
    with pytest.raises(ValueError, match="2 residuals, 1 levels"):
        backend.GaussianEncoder().push([0, 0], [1], [0])


def test_absence_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchac", None)
    torchac_coder.load_torchac.cache_clear()
    with pytest.raises(DeviceError, match="torchac coder is not available") as caught:
        torchac_coder.GaussianEncoder()
    assert "pip install torchac ninja" in caught.value.fix
    torchac_coder.load_torchac.cache_clear()
