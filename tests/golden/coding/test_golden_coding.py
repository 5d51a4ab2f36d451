"""A bitstream of format version 1 that every later version must decode, whatever becomes of the encoder.

The file holds one section of every kind that ``hemgs.coding`` knows; the values expected of it are made by integer
arithmetic below. Only a new format version may come with a new file next to it: then run
``HEMGS_WRITE_GOLDEN=1 python -m pytest tests/golden/coding``, which writes files that are missing and never
replaces one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hemgs.coding.container import inspect_container, read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.coding.locations import decode_locations, encode_locations, raster_order
from hemgs.coding.masks import decode_masks, encode_masks
from hemgs.coding.quantize import dequantize
from hemgs.coding.rans import GaussianDecoder, GaussianEncoder
from hemgs.coding.signs import decode_signs, encode_signs
from hemgs.coding.weights import decode_half, decode_integers, encode_half, encode_integers

FILE = Path(__file__).with_name("version_1.gsc")
NUM_ANCHORS, NUM_OFFSETS, NUM_FEATURES = 64, 10, 24
SIGN_SIZES = (40, 0, 700)
INTEGER_SHAPES = ((12, 20), (12,), ())
HALF_SHAPES = ((5, 7), (7,))


def integers(count: int, seed: int, low: int, high: int) -> NDArray[np.int64]:
    """Integers in low..high from a multiplicative generator (Park and Miller, 1988): the same everywhere and always."""
    state, values = seed, []
    for _ in range(count):
        state = state * 48271 % (2**31 - 1)
        values.append(low + state % (high - low + 1))
    return np.array(values, np.int64)


def expected() -> dict[str, Any]:
    coords = integers(NUM_ANCHORS * 3, 1, -30, 30000).reshape(-1, 3)
    shape = (NUM_ANCHORS, NUM_FEATURES)
    levels = integers(NUM_ANCHORS * NUM_FEATURES, 2, 0, 127).reshape(shape)
    spread = np.maximum(1, 1 << np.maximum(0, (levels - 48) // 8 + 1))
    residuals = integers(NUM_ANCHORS * NUM_FEATURES, 3, -(2**20), 2**20).reshape(shape) % (2 * spread) - spread
    residuals[0, :6] = [2**31 - 1, -(2**31), 100_000, -3, 3, 0]
    return {
        "coords": coords[raster_order(coords)],
        "masks": integers(NUM_ANCHORS * NUM_OFFSETS, 4, 0, 9).reshape(NUM_ANCHORS, -1) >= np.arange(NUM_OFFSETS),
        "signs": [2 * (integers(size, 5, 0, 6) > 1) - 1 for size in SIGN_SIZES],
        "integers": [
            integers(int(np.prod(part)), 6, -(4**k) * 9, 4**k * 9).reshape(part)
            for k, part in enumerate(INTEGER_SHAPES)
        ],
        "half": [integers(int(np.prod(part)), 7, -999, 999).reshape(part) / 256 for part in HALF_SHAPES],
        "levels": levels,
        "offsets": integers(NUM_ANCHORS * NUM_FEATURES, 8, 0, 31).reshape(shape),
        "residuals": residuals,
    }


def sections_of(values) -> dict[str, bytes]:
    encoder = GaussianEncoder()
    encoder.push(values["residuals"], values["levels"], values["offsets"])
    return {
        "settings": b"golden",
        "locations": encode_locations(values["coords"]),
        "masks": encode_masks(values["masks"]),
        "hash_grid": encode_signs(values["signs"]),
        "networks": encode_integers(values["integers"]),
        "other": encode_half(values["half"]),
        "features": encoder.finish(),
    }


def digest_of(coords, masks, signs, networks, residuals) -> SymbolDigest:
    digest = SymbolDigest()
    digest.update("locations", coords)
    digest.update("masks", masks)
    for level in signs:
        digest.update("hash_grid", level)
    for array in networks:
        digest.update("networks", array)
    digest.update("features", residuals)
    return digest


@pytest.fixture(scope="module")
def values():
    found = expected()
    if os.environ.get("HEMGS_WRITE_GOLDEN") == "1" and not FILE.exists():
        names = ("coords", "masks", "signs", "integers", "residuals")
        digest = digest_of(*(found[name] for name in names)).digest()
        write_container(FILE, "golden", sections_of(found), digest)
    return found


def test_the_file_decodes(values):
    container = read_container(FILE)
    sections = container.sections
    assert container.method == "golden"
    assert sections["settings"] == b"golden"
    coords = decode_locations(sections["locations"])
    assert np.array_equal(coords, values["coords"])
    assert np.array_equal(raster_order(coords), np.arange(NUM_ANCHORS))
    masks = decode_masks(sections["masks"], NUM_ANCHORS, NUM_OFFSETS)
    assert np.array_equal(masks, values["masks"])
    signs = decode_signs(sections["hash_grid"], SIGN_SIZES)
    networks = decode_integers(sections["networks"], INTEGER_SHAPES)
    half = decode_half(sections["other"], HALF_SHAPES)
    decoded_by_name: dict[str, Sequence[np.ndarray]] = {"signs": signs, "integers": networks, "half": half}
    for name, decoded in decoded_by_name.items():
        for part, wanted in zip(decoded, values[name], strict=True):
            assert np.array_equal(part, wanted), name
    decoder = GaussianDecoder(sections["features"])
    rows = zip(np.array_split(values["levels"], 9), np.array_split(values["offsets"], 9), strict=True)
    residuals = np.concatenate([decoder.pull(*part) for part in rows])
    decoder.finish()
    assert np.array_equal(residuals, values["residuals"])
    digest_of(coords, masks, signs, networks, residuals).verify(container.symbols_digest, FILE)


def test_the_encoder_still_writes_it(values):
    """While version 1 is the version written: the same bytes from the same values."""
    assert sections_of(values) == read_container(FILE).sections


def test_the_file_is_small():
    assert FILE.stat().st_size < 8192
    assert inspect_container(FILE).intact


def test_restored_values(values):
    # Steps too are part of the format: what the symbols stand for, to the last bit.
    restored = dequantize(values["residuals"][:, 6:], 0.0371, integers(18, 9, -256, 256))
    digest = SymbolDigest()
    digest.update("restored", restored.view(np.int32))
    assert digest.digest().hex() == "7de4ab371ea67b6e3f838eb9b0d05dfd"
