"""Octrees and adaptive masks that every later version must decode, whatever becomes of the encoder.

Contexts, rates and tables of the adaptive coder are its format: a change to any of them is a codec with a number of its
own. Rules as in ``test_golden_coding``, with ``HEMGS_WRITE_GOLDEN=1`` for files that are missing.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hemgs.coding.container import read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.coding.locations import decode_locations, encode_locations, raster_order
from hemgs.coding.masks import decode_masks, encode_masks
from hemgs.coding.names import ADAPTIVE, OCTREE
from tests.golden.coding.test_golden_coding import integers

FILE = Path(__file__).with_name("adaptive_1.gsc")
NUM_OFFSETS = 10


def expected_coords() -> np.ndarray:
    """Sheets on lattices of 16, 4 and 1 voxels, a dense block, and anchors far from all others."""
    parts = []
    for seed, (cell, num) in enumerate(((16, 500), (4, 400), (1, 300))):
        u, v, noise = (integers(num, 20 + 3 * seed + axis, 0, high) for axis, high in enumerate((40, 40, 1)))
        parts.append(np.stack([u, u * v // 32 + noise, v - u // 4], axis=1) * cell)
    parts.append(np.stack([integers(200, 30 + axis, 200, 205) for axis in range(3)], axis=1))
    parts.append(integers(90, 40, -200_000, 900_000).reshape(-1, 3))
    coords = np.unique(np.concatenate(parts), axis=0)
    return coords[raster_order(coords)]


def expected_masks(num: int) -> np.ndarray:
    """Anchors with many offsets and anchors with few, in runs of one kind."""
    level = integers(num // 8 + 1, 50, 0, 9).repeat(8)[:num]
    return integers(num * NUM_OFFSETS, 51, 0, 9).reshape(num, -1) < (level[:, None] + np.arange(NUM_OFFSETS)) // 2


@pytest.fixture(scope="module")
def values():
    coords = expected_coords()
    masks = expected_masks(len(coords))
    if os.environ.get("HEMGS_WRITE_GOLDEN") == "1" and not FILE.exists():
        write_container(FILE, "golden", sections_of(coords, masks), digest_of(coords, masks).digest())
    return coords, masks


def sections_of(coords, masks) -> dict[str, bytes]:
    return {"locations": encode_locations(coords, OCTREE), "masks": encode_masks(masks, ADAPTIVE)}


def digest_of(coords, masks) -> SymbolDigest:
    digest = SymbolDigest()
    digest.update("locations", coords)
    digest.update("masks", masks)
    return digest


def test_the_file_decodes(values):
    container = read_container(FILE)
    coords = decode_locations(container.sections["locations"])
    masks = decode_masks(container.sections["masks"], len(coords), NUM_OFFSETS)
    assert np.array_equal(coords, values[0])
    assert np.array_equal(masks, values[1])
    digest_of(coords, masks).verify(container.symbols_digest, FILE)


def test_the_encoder_still_writes_it(values):
    """While these codecs are the ones written: the same bytes from the same values."""
    assert sections_of(*values) == read_container(FILE).sections


def test_the_file_is_small():
    assert FILE.stat().st_size < 8192
