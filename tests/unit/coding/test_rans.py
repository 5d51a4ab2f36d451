from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemgs.coding import rans
from hemgs.coding.tables import CENTRED_OFFSET, NUM_LEVELS, NUM_MEAN_OFFSETS
from hemgs.core.errors import BitstreamError
from tests.unit.coding.coding_workload import workload

INT32 = st.integers(-(2**31), 2**31 - 1)
NEAR = st.integers(-400, 400)
SYMBOL = st.tuples(INT32 | NEAR | st.just(0), st.integers(0, NUM_LEVELS - 1), st.integers(0, NUM_MEAN_OFFSETS - 1))


def encode(residuals, levels, offsets) -> bytes:
    encoder = rans.GaussianEncoder()
    encoder.push(residuals, levels, offsets)
    return encoder.finish()


def split(array, cuts):
    return np.split(array, sorted(cuts))


@settings(deadline=None, max_examples=300)
@given(st.lists(SYMBOL, max_size=200), st.data())
def test_any_residuals_come_back_in_batches_of_any_split(symbols, data):
    table = np.array(symbols, np.int64).reshape(-1, 3)
    cuts = st.lists(st.integers(0, len(table)), max_size=6)
    encoder = rans.GaussianEncoder()
    for part in split(table, data.draw(cuts)):
        encoder.push(part[:, 0], part[:, 1], part[:, 2])
    stream = encoder.finish()
    assert stream == encode(*table.T)  # the batches of pushing have no effect
    decoder = rans.GaussianDecoder(stream)
    for part in split(table, data.draw(cuts)):
        pulled = decoder.pull(part[:, 1], part[:, 2])
        assert pulled.dtype == np.int32
        assert pulled.tolist() == part[:, 0].tolist()
    decoder.finish()


@pytest.mark.parametrize("level", range(NUM_LEVELS))
def test_every_table_codes_its_whole_support_and_both_escapes(level):
    reach = int(6 * 2 ** ((level - 48) / 8)) + 3
    residuals = np.unique(np.r_[np.linspace(-reach, reach, 401).astype(np.int64), -(2**31), 2**31 - 1, -1, 0, 1])
    grid, offsets = np.meshgrid(residuals, np.arange(NUM_MEAN_OFFSETS))
    levels = np.full(grid.shape, level)
    decoder = rans.GaussianDecoder(encode(grid, levels, offsets))
    assert np.array_equal(decoder.pull(levels, offsets), grid)
    decoder.finish()


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 65535)), max_size=300), st.data())
def test_any_bits_come_back_in_batches_of_any_split(symbols, data):
    table = np.array(symbols, np.int64).reshape(-1, 2)
    decoder = rans.BitDecoder(rans.encode_bits(table[:, 0], table[:, 1]))
    for part in split(table, data.draw(st.lists(st.integers(0, len(table)), max_size=6))):
        assert decoder.pull(part[:, 1]).tolist() == part[:, 0].tolist()
    decoder.finish()


def test_streams_longer_than_a_chunk_and_shaped_arrays():
    load = workload(200_000)
    shape = (1000, 200)
    arrays = [array.reshape(shape) for array in (load.residuals, load.levels, load.offsets)]
    stream = encode(*arrays)
    assert stream == encode(load.residuals, load.levels, load.offsets)
    pulled = rans.GaussianDecoder(stream).pull(arrays[1], arrays[2])
    assert pulled.shape == shape
    assert np.array_equal(pulled, arrays[0])
    # Not contiguous: transposed views are taken in their own C order.
    stream = encode(*(array.T for array in arrays))
    assert np.array_equal(rans.GaussianDecoder(stream).pull(arrays[1].T, arrays[2].T), arrays[0].T)


def test_pushed_arrays_may_change_afterwards():
    residuals, levels, offsets = np.array([1, 2], np.int32), np.array([60, 60], np.uint8), np.array([16, 16], np.uint8)
    encoder = rans.GaussianEncoder()
    encoder.push(residuals, levels, offsets)
    residuals[:] = levels[:] = offsets[:] = 0
    assert encoder.finish() == encode([1, 2], [60, 60], [16, 16])


def test_streams_decode_in_threads():
    loads = [workload(50_000, seed) for seed in range(8)]
    streams = [encode(load.residuals, load.levels, load.offsets) for load in loads]

    def decode(number):
        decoder = rans.GaussianDecoder(streams[number])
        parts = [
            decoder.pull(*part)
            for part in zip(
                np.array_split(loads[number].levels, 37), np.array_split(loads[number].offsets, 37), strict=True
            )
        ]
        decoder.finish()
        return np.concatenate(parts)

    with ThreadPoolExecutor(2) as pool:
        for load, decoded in zip(loads, pool.map(decode, range(8)), strict=True):
            assert np.array_equal(load.residuals, decoded)


def test_no_symbols_take_no_bytes():
    assert rans.GaussianEncoder().finish() == b""
    assert rans.encode_bits([], np.array([], np.uint16)) == b""
    decoder = rans.GaussianDecoder(b"")
    assert decoder.pull(np.zeros(0, np.uint8), np.zeros(0, np.uint8)).size == 0
    decoder.finish()


def test_table_bits_are_what_the_stream_takes():
    load = workload(100_000)
    wide = (
        np.array([2**31 - 1, -(2**31), 5000, -70_000, 12]),
        np.array([127, 0, 48, 100, 90]),
        np.array([0, 31, 5, 9, 1]),
    )
    for arrays in ((load.residuals, load.levels, load.offsets), wide):
        bits = rans.table_bits(*arrays)
        assert -1e-6 <= 8 * len(encode(*arrays)) - bits <= 64 + 1e-4 * bits
    encoder = rans.GaussianEncoder()
    encoder.push(load.residuals, load.levels, load.offsets)
    assert encoder.table_bits() == rans.table_bits(load.residuals, load.levels, load.offsets)


@pytest.mark.parametrize(
    ("residuals", "levels", "offsets", "fault"),
    [
        ([2**31], [0], [0], "residuals must lie in -2147483648..2147483647, not 2147483648"),
        ([0], [128], [0], "levels must lie in 0..127, not 128"),
        ([0], [-1], [0], "levels must lie in 0..127, not -1"),
        ([0], [0], [32], "offsets must lie in 0..31, not 32"),
        ([0, 1], [0], [0], "shapes differ"),
        ([0.5], [0], [0], "residuals must be integers, not float64"),
    ],
)
def test_encoder_refuses(residuals, levels, offsets, fault):
    with pytest.raises(ValueError, match=fault):
        rans.GaussianEncoder().push(residuals, levels, offsets)


@pytest.mark.parametrize("levels", [np.array([128], np.uint8), np.array([255], np.uint8), [128], [-1], [300]])
def test_decoder_refuses_levels_out_of_range(levels):
    decoder = rans.GaussianDecoder(encode([3], [60], [16]))
    with pytest.raises(ValueError, match="levels must lie in 0"):
        decoder.pull(levels, np.array([16], np.uint8))
    with pytest.raises(ValueError, match=r"offsets.* in 0\.\.31"):
        decoder.pull([60], np.array([32], np.uint8))
    assert decoder.pull([60], [16]).tolist() == [3]  # a refused call has added no symbols


@pytest.mark.parametrize(("bits", "probabilities"), [([2], [5]), ([0], [0]), ([0], [65536]), ([0, 1], [5])])
def test_bit_encoder_refuses(bits, probabilities):
    with pytest.raises(ValueError, match=r"must lie in|shapes differ"):
        rans.encode_bits(bits, probabilities)


def test_decoder_notices_a_wrong_end():
    levels, offsets = np.full(100, 60), np.full(100, CENTRED_OFFSET)
    stream = encode(np.arange(100) % 7 - 3, levels, offsets)
    decoder = rans.GaussianDecoder(stream, "section features")
    decoder.pull(levels[:99], offsets[:99])
    with pytest.raises(BitstreamError, match="section features: does not end with its last symbol"):
        decoder.finish()
    decoder = rans.GaussianDecoder(stream + bytes(4))
    decoder.pull(levels, offsets)
    with pytest.raises(BitstreamError, match="1 words left"):
        decoder.finish()


def test_decoder_stays_dead_after_the_end_of_its_data():
    decoder = rans.GaussianDecoder(encode([0], [60], [16]))
    with pytest.raises(BitstreamError, match="ends before its last symbol"):
        decoder.pull(np.full(1000, 80), np.full(1000, 16))
    with pytest.raises(BitstreamError, match="ends before its last symbol"):
        decoder.pull([60], [16])
    with pytest.raises(BitstreamError, match="ends before its last symbol"):
        decoder.finish()


@pytest.mark.parametrize("level", [0, 127])
def test_a_word_that_raw_bits_lack_is_noticed_at_once(level):
    # Escapes read sign, length, magnitude and low bits without tables; each may be the one that needs the next word.
    for count in range(1, 30):
        levels, offsets = np.full(count, level), np.full(count, CENTRED_OFFSET)
        stream = encode(np.arange(2**31 - count, 2**31), levels, offsets)
        with pytest.raises(BitstreamError, match="ends before its last symbol"):
            rans.GaussianDecoder(stream[:-4]).pull(levels, offsets)


@pytest.mark.parametrize("stream", [b"\0", bytes(4), bytes(7), bytes(9), bytes(8), bytes(12)])
def test_impossible_streams_are_refused_at_once(stream):
    with pytest.raises(BitstreamError, match=r"whole number of words|impossible first state"):
        rans.GaussianDecoder(stream)


def test_probability_of_one():
    assert rans.probability_of_one(0, 0) == 32768
    assert rans.probability_of_one(0, 10) == 1
    assert rans.probability_of_one(10, 10) == 65535
    assert rans.probability_of_one(1, 4) == 16384
    assert rans.probability_of_one(10**12, 3 * 10**12) == 21845
