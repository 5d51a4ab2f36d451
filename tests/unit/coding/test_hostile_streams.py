"""Thousands of damaged inputs give an error of one kind or a result. None causes a crash, a hang or much memory."""

from __future__ import annotations

import resource
import struct
import time
import zlib

import numpy as np
import pytest

from hemgs.coding import rans
from hemgs.coding.container import MAGIC, inspect_container, read_container, write_container
from hemgs.coding.locations import decode_locations, encode_locations, raster_order
from hemgs.coding.masks import decode_masks, encode_masks
from hemgs.coding.names import ADAPTIVE, OCTREE
from hemgs.coding.signs import decode_signs, encode_signs
from hemgs.coding.weights import decode_half, decode_integers, encode_half, encode_integers
from hemgs.core.errors import BitstreamError
from tests.unit.coding.coding_workload import workload

MUTATIONS = 2000
#: Generous for a loaded machine; a hang never ends.
LIMIT_S = 60.0
LIMIT_MIB = 64


@pytest.fixture(autouse=True)
def bounded():
    """Time and peak memory of each test."""
    before_kib, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    yield
    assert time.monotonic() - started_s < LIMIT_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < LIMIT_MIB * 1024


def mutations(data: bytes, seed: int):
    """Damaged copies: bits and bytes changed, pieces cut out, doubled, moved, the end cut or lengthened."""
    random = np.random.default_rng(seed)
    for _ in range(MUTATIONS):
        changed = bytearray(data)
        for _ in range(random.integers(1, 4)):
            size = len(changed)
            start, length = int(random.integers(0, size + 1)), int(random.integers(0, 12))
            match random.integers(0, 6):
                case 0 if size:
                    changed[int(random.integers(size))] ^= 1 << int(random.integers(8))
                case 1 if size:
                    changed[int(random.integers(size))] = int(random.choice([0, 1, 127, 128, 255]))
                case 2:
                    del changed[start : start + length]
                case 3:
                    changed[start:start] = changed[start : start + length]
                case 4:
                    del changed[start:]
                case _:
                    changed[start : start + length] = random.bytes(length)
        if changed != data:
            yield bytes(changed)


def refusal(call, *arguments) -> str:
    """Message of the BitstreamError that a call gives; empty if it gives none. Other errors pass through."""
    try:
        call(*arguments)
    except BitstreamError as fault:
        return fault.message or "(no message)"
    return ""


def test_damaged_containers_are_refused(tmp_path):
    path = tmp_path / "x.gsc"
    write_container(path, "hemgs", {"settings": b"abc", "features": bytes(range(99)), "empty": b""}, bytes(16))
    original = path.read_bytes()
    for data in mutations(original, 1):
        path.write_bytes(data)
        assert str(path) in refusal(read_container, path)
        message = refusal(inspect_container, path)
        assert str(path) in message if message else not inspect_container(path).intact


def test_headers_damaged_by_someone_who_corrects_the_checksum(tmp_path):
    path = tmp_path / "x.gsc"
    sections = {"settings": b"abc", "features": bytes(range(99)), "empty": b""}
    header_bytes = write_container(path, "hemgs", sections, bytes(16))["container"]
    head, payload = path.read_bytes()[: header_bytes - 4], path.read_bytes()[header_bytes:]
    accepted = 0
    for data in mutations(head, 2):
        path.write_bytes(data + struct.pack("<I", zlib.crc32(data)) + payload)
        if message := refusal(read_container, path):
            assert str(path) in message
            continue
        read = read_container(path)
        # An accepted file names sections that exist; method, digest and names may differ.
        accepted += 1
        assert data.startswith(MAGIC)
        assert b"".join(read.sections.values()) == payload
        assert len(read.method) <= 32
    assert 0 < accepted < MUTATIONS / 2


def survives(decode, data: bytes, seed: int) -> float:
    """Runs a decoder on damaged copies; gives the share that it refused."""
    refusals = [bool(refusal(decode, changed)) for changed in mutations(data, seed)]
    assert len(refusals) > MUTATIONS / 2
    return sum(refusals) / len(refusals)


@pytest.mark.parametrize("num_symbols", [1, 30, 3000])
def test_gaussian_streams(num_symbols):
    load = workload(num_symbols)
    load.residuals[::7] += 5000  # escapes
    encoder = rans.GaussianEncoder()
    encoder.push(load.residuals, load.levels, load.offsets)

    def decode(data):
        decoder = rans.GaussianDecoder(data)
        for part in zip(np.array_split(load.levels, 4), np.array_split(load.offsets, 4), strict=True):
            decoder.pull(*part)
        decoder.finish()

    # Raw bits of an escaped value can change without an effect on the state; checksums find such changes.
    assert survives(decode, encoder.finish(), 3) > 0.9


def test_random_bytes_as_streams():
    random = np.random.default_rng(4)
    levels, offsets = random.integers(0, 128, 2000, np.uint8), random.integers(0, 32, 2000, np.uint8)

    def decode(data):
        decoder = rans.GaussianDecoder(data)
        decoder.pull(levels, offsets)
        decoder.finish()

    for size in range(8, 8 + 4 * 600, 4):
        assert refusal(decode, b"\1" * 4 + random.bytes(size))


def test_escapes_beyond_32_bits_are_refused():
    # Built as an encoder would, but with a length field that no int32 has: sign 0, length 31, on a wide level.
    state, words = 1 << 32, []

    def put(start, frequency, bits):
        nonlocal state
        if state >> (64 - bits) >= frequency:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        state = ((state // frequency) << bits) + state % frequency + start

    put(0, 1, 6)  # low bits of level 127
    put(123, 1, 31)  # mantissa
    put(31, 1, 5)  # length
    put(0, 1, 1)  # sign
    put(65535, 1, 16)  # escape
    data = np.array([state >> 32, state & 0xFFFFFFFF, *words[::-1]], "<u4").tobytes()
    with pytest.raises(BitstreamError, match="beyond 32 bits"):
        rans.GaussianDecoder(data).pull([127], [16])


def test_bit_streams():
    random = np.random.default_rng(5)
    probabilities = random.integers(1, 65536, 3000)
    data = rans.encode_bits(random.integers(0, 2, 3000), probabilities)

    def decode(changed):
        decoder = rans.BitDecoder(changed)
        decoder.pull(probabilities)
        decoder.finish()

    assert survives(decode, data, 6) > 0.999


def in_order(coords):
    return coords[raster_order(coords)]


@pytest.mark.parametrize(
    ("encode", "decode"),
    [
        (lambda random: encode_locations(random.integers(0, 9999, (50, 3))), decode_locations),
        (lambda random: encode_locations(in_order(random.integers(0, 9999, (50, 3))), OCTREE), decode_locations),
        (lambda random: encode_locations(in_order(random.integers(0, 999, (50, 3)) * 16), OCTREE), decode_locations),
        (lambda random: encode_masks(random.random((90, 10)) < 0.7), lambda data: decode_masks(data, 90, 10)),
        (lambda random: encode_masks(random.random((90, 10)) < 0.7, ADAPTIVE), lambda data: decode_masks(data, 90, 10)),
        (
            lambda random: encode_signs([random.choice([-1, 1], size) for size in (10, 0, 800)]),
            lambda data: decode_signs(data, (10, 0, 800)),
        ),
        (lambda random: encode_half([random.normal(size=(4, 9))]), lambda data: decode_half(data, [(4, 9)])),
        (
            lambda random: encode_integers([random.integers(-99, 99, (9, 30)), random.integers(-5000, 5000, 30)]),
            lambda data: decode_integers(data, [(9, 30), (30,)]),
        ),
    ],
    ids=["locations", "octree", "coarse octree", "masks", "adaptive masks", "signs", "half", "integers"],
)
def test_sections(encode, decode):
    data = encode(np.random.default_rng(7))
    decode(data)
    assert survives(decode, data, 8) > 0


def test_random_octrees_claim_no_more_than_their_bytes():
    random = np.random.default_rng(9)
    for _ in range(300):
        size = int(random.integers(1, 2000))
        num = int(random.choice([1, size, 8 * size, 8 * size + 1, 2**32 - 1]))
        data = b"\2" + struct.pack("<3qIB", *random.integers(-99, 99, 3), num, random.integers(0, 22))
        assert refusal(decode_locations, data + random.bytes(size))
    # The cheapest tree there can be: all of a stream's bits are ones.
    for levels in range(22):
        refusal(decode_locations, b"\2" + struct.pack("<3qIB", 0, 0, 0, 8 * 20_000, levels) + bytes(20_000))
