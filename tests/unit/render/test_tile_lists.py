"""Tile lists: they are complete, contain few unneeded entries, and are in the order of depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hemgs.core.errors import DeviceError
from hemgs.render import binning, rasterization
from tests.unit.render.render_cases import CASES, arguments_of

META_KEYS = {
    "batch_ids", "camera_ids", "gaussian_ids", "radii", "means2d", "depths", "conics", "opacities", "tile_width",
    "tile_height", "tiles_per_gauss", "isect_ids", "flatten_ids", "isect_offsets", "width", "height", "tile_size",
    "n_batches", "n_cameras",
}  # fmt: skip


def lists_of_one(mean: list[float], covariance: np.ndarray, opacity: float, size: tuple[int, int], tile: int):
    inverse = np.linalg.inv(covariance)
    reach = np.sqrt(2 * np.log(opacity * 255))
    extents = reach * np.sqrt(np.diag(covariance))
    return binning.tile_lists(
        np.array([mean]), np.ones(1), np.array([[inverse[0, 0], inverse[0, 1], inverse[1, 1]]]), extents[None],
        np.array([opacity]), np.array([True]), *size, tile, 1 / 255,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@example(mean=(-1.0, -3.0), deviations=(3.0, 1.0), angle=2.5, opacity=0.03125, tile=4)
@given(
    mean=st.tuples(st.floats(-30, 90), st.floats(-30, 70)),
    deviations=st.tuples(st.floats(0.3, 60), st.floats(0.3, 4)),
    angle=st.floats(0, np.pi),
    opacity=st.floats(0.01, 1.0),
    tile=st.sampled_from([4, 16]),
)
def test_every_pixel_that_is_drawn_is_listed(mean, deviations, angle, opacity, tile) -> None:
    width, height = 61, 45
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = turn @ np.diag(np.square(deviations)) @ turn.T
    xs, ys = np.meshgrid(np.arange(width) + 0.5 - mean[0], np.arange(height) + 0.5 - mean[1])
    offsets = np.stack([xs, ys], -1)
    alpha = opacity * np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", offsets, np.linalg.inv(covariance), offsets))
    drawn = alpha >= 1 / 255

    lists = lists_of_one(list(mean), covariance, opacity, (width, height), tile)
    listed = np.zeros((lists.tile_height * tile, lists.tile_width * tile), bool)
    for index in range(lists.tile_width * lists.tile_height):
        for k in range(lists.offsets[index], lists.offsets[index + 1]):
            left, top = index % lists.tile_width * tile, index // lists.tile_width * tile
            first, last = lists.rows[k]
            assert 0 <= first <= last <= tile
            assert not listed[top : top + tile, left : left + tile].any()
            listed[top + first : top + last, left : left + tile] = True
    assert not (drawn & ~listed[:height, :width]).any()
    # A listed tile is one that the ellipse reaches or misses by less than a pixel, seen on a grid of an eighth of one.
    for index in np.flatnonzero(np.diff(lists.offsets)).tolist():
        left, top = index % lists.tile_width * tile, index // lists.tile_width * tile
        steps = np.arange(-8, 8 * (tile + 1) + 1) / 8
        fine = np.stack(np.meshgrid(left + steps - mean[0], top + steps - mean[1]), -1)
        nearest = np.einsum("hwi,ij,hwj->hw", fine, np.linalg.inv(covariance), fine).min()
        assert opacity * np.exp(-0.5 * nearest) >= 0.5 / 255


def test_a_thin_diagonal_gaussian_is_not_listed_over_its_box() -> None:
    turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    covariance = turn @ np.diag([40.0**2, 1.0]) @ turn.T
    lists = lists_of_one([128.0, 128.0], covariance, 1.0, (256, 256), 16)
    assert len(lists.entries) < 0.3 * 256  # its box covers nearly all 256 tiles
    listed_rows = np.diff(lists.rows.astype(int), axis=1)
    # It crosses a tile through the middle from corner to corner, the tiles next to it at one corner only.
    assert (listed_rows == 16).sum() <= 16
    assert (listed_rows < 8).sum() >= 16


@pytest.mark.parametrize("packed", [False, True])
def test_meta_is_complete_and_consistent(packed: bool) -> None:
    case = CASES["two_cameras"]
    _, _, meta = rasterization(**arguments_of(case, torch.float32), packed=packed)
    assert set(meta) == META_KEYS
    assert (meta["width"], meta["height"], meta["tile_size"]) == (97, 83, 16)
    assert (meta["tile_width"], meta["tile_height"], meta["n_cameras"], meta["n_batches"]) == (7, 6, 2, 1)
    rows = (-1,) if packed else (2, case.num)
    for name, channels in {"radii": (2,), "means2d": (2,), "conics": (3,), "depths": (), "opacities": ()}.items():
        assert meta[name].dim() == len(rows) + len(channels)
        assert packed or meta[name].shape == (*rows, *channels)
    assert meta["radii"].dtype == meta["flatten_ids"].dtype == meta["isect_offsets"].dtype == torch.int32
    assert meta["isect_ids"].dtype == torch.int64
    assert (meta["camera_ids"] is None) is not packed
    if packed:
        assert (meta["radii"] > 0).all()
        pairs = meta["camera_ids"] * case.num + meta["gaussian_ids"]
        assert (pairs.diff() > 0).all()
    total = meta["flatten_ids"].numel()
    assert meta["tiles_per_gauss"].sum() == meta["isect_ids"].numel() == total
    counts = torch.bincount(meta["flatten_ids"].long(), minlength=meta["depths"].numel())
    assert torch.equal(counts, meta["tiles_per_gauss"].flatten().long())
    # Sorted by camera, tile and depth; the depth's bits are the Gaussian's.
    keys = meta["isect_ids"]
    assert (keys.diff() >= 0).all()
    depths = meta["depths"].detach().flatten()[meta["flatten_ids"].long()]
    assert torch.equal((keys & 0xFFFFFFFF).to(torch.int32).view(torch.float32), depths)
    tiles = (keys >> 32) & 0b111111  # 42 tiles need six bits
    cameras = keys >> 38
    places = torch.searchsorted(cameras * 42 + tiles, torch.arange(84))
    assert torch.equal(places, meta["isect_offsets"].flatten().long())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_depth_order_is_stable(dtype: type[np.floating[Any]]) -> None:
    generator = np.random.default_rng(0)
    depths = generator.choice(np.array([0.01, 0.5, 1.0, 1.0000001, 7.5, 1e6, 9e9]), 5000).astype(dtype)
    which = np.flatnonzero(generator.random(5000) < 0.5)
    expected = which[np.argsort(depths[which], kind="stable")]
    np.testing.assert_array_equal(binning.depth_order(depths, which), expected)


def test_equal_depths_are_drawn_in_the_order_given() -> None:
    colors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    arguments: dict[str, Any] = {
        "means": torch.tensor([[0.0, 0.0, 2.0]]).repeat(2, 1),
        "quats": torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1),
        "scales": torch.full((2, 3), 1e3),
        "opacities": torch.full((2,), 0.9),
        "viewmats": torch.eye(4)[None],
        "Ks": torch.tensor([[[10.0, 0, 4], [0, 10, 4], [0, 0, 1]]]),
        "width": 8,
        "height": 8,
    }
    image, _, _ = rasterization(colors=colors, **arguments)
    torch.testing.assert_close(image[0, 4, 4], torch.tensor([0.9, 0.09]), rtol=1e-4, atol=0)


def test_too_many_intersections_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binning, "MAX_INTERSECTIONS", 10)
    with pytest.raises(DeviceError, match="pairs of Gaussian and tile in one 97 x 83 image; at most 10 fit"):
        rasterization(**arguments_of(CASES["plain"], torch.float32) | {"width": 97, "height": 83})
