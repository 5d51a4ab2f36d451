"""ContextGS's levels of anchors: their number, their representatives, and equality in training and decoding."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.context_gs.levels import ONE, RATIO, TOLERANCE, build_levels, choose_scales, levels_in_training
from hemgs.coding.locations import raster_order


def sphere(num: int = 20_000, radius: float = 150.0, seed: int = 0) -> np.ndarray:
    """Lattice coordinates on a sphere, in random order."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(num, 3))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    return rng.permutation(np.unique(np.rint(points).astype(np.int64), axis=0))


def test_levels_by_hand() -> None:
    # Cells of four units about 0, 4 and 8; halves go upwards, so that 2 belongs to the cell of 4.
    coords = np.array([[x, 0, 0] for x in (0, 1, 2, 3, 5, 7, -2, -3)])
    levels = build_levels(coords, [(4 * ONE,) * 3, (16 * ONE,) * 3])
    assert levels.representative.tolist() == [0, 0, 0, 2, 2, 0, 0, 0]
    assert levels.level.tolist() == [2, 0, 1, 0, 0, 1, 0, 1]
    assert [rows.tolist() for rows in levels.coarse_to_fine()] == [[0], [2, 5, 7], [1, 3, 4, 6]]


def test_cells_may_be_of_any_width_and_differ_by_axis() -> None:
    coords = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]])
    levels = build_levels(coords, [(3 * ONE // 2, 10 * ONE, 10 * ONE)])
    # 1 / 1.5 and 2 / 1.5 are both nearest to 1.
    assert levels.representative.tolist() == [0, 1, 1, 0]


def test_first_of_each_cell_stands_for_it() -> None:
    coords = sphere()
    scales = choose_scales(coords, 3)
    levels = build_levels(coords, [(scale,) * 3 for scale in scales])
    members = np.arange(len(coords))
    for number, scale in enumerate(scales, 1):
        firsts: dict[tuple[int, ...], int] = {}
        for row in members.tolist():
            cell = tuple(int(value * 2 * ONE + scale) // (2 * scale) for value in coords[row])
            first = firsts.setdefault(cell, row)
            if levels.level[row] == number - 1:
                assert levels.representative[row] == first != row
        members = np.array(sorted(firsts.values()))
        assert (levels.level[members] >= number).all()
    assert (levels.representative[members] == members).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_each_level_has_a_fifth_of_the_one_before(seed: int) -> None:
    coords = sphere(seed=seed)
    scales = choose_scales(coords, 3)
    ordered = coords[raster_order(coords)]
    sizes = [len(rows) for rows in build_levels(ordered, [(scale,) * 3 for scale in scales]).coarse_to_fine()]
    counts = np.cumsum(sizes)
    assert ONE < scales[0] < scales[1]
    assert abs(counts[0] / counts[1] - RATIO) < TOLERANCE
    assert abs(counts[1] / counts[2] - RATIO) < TOLERANCE


@pytest.mark.parametrize("num", [1, 2, 9])
def test_scenes_with_too_few_anchors_have_scales_too(num: int) -> None:
    coords = np.stack([np.arange(num)] * 3, axis=1) * 7
    scales = choose_scales(coords, 3)
    assert all(scale >= ONE for scale in scales)
    levels = build_levels(coords, [(scale,) * 3 for scale in scales])
    assert sum(len(rows) for rows in levels.coarse_to_fine()) == num


def test_training_has_the_levels_that_the_file_will_have() -> None:
    """Only kept anchors are contexts of kept anchors, as if the others were absent."""
    coords = sphere(5000)
    kept = np.random.default_rng(4).random(len(coords)) < 0.6
    scales = choose_scales(coords[kept], 3)
    training = levels_in_training(coords, kept, scales)
    rows = np.flatnonzero(kept)
    rows = rows[raster_order(coords[rows])]
    file = build_levels(coords[rows], [(scale,) * 3 for scale in scales])
    assert np.array_equal(training.level[rows], file.level)
    assert np.array_equal(training.representative[rows], rows[file.representative])
    # The others also have a context, which is of a coarser level if one exists.
    others = np.flatnonzero(~kept)
    above = training.level[training.representative[others]]
    assert ((above > training.level[others]) | (training.representative[others] == others)).all()
    assert kept[training.representative[others]].mean() > 0.5


def test_no_anchor_waits_for_one_of_its_own_or_a_finer_level() -> None:
    coords = sphere(3000)
    levels = build_levels(coords, [(4 * ONE,) * 3, (9 * ONE,) * 3, (30 * ONE,) * 3])
    assert levels.num_levels == 4
    finer = levels.level < 3
    assert (levels.level[levels.representative[finer]] > levels.level[finer]).all()


def test_one_level_has_no_contexts() -> None:
    levels = build_levels(sphere(100), [])
    assert levels.level.max() == 0
    assert np.array_equal(levels.representative, np.arange(len(levels.level)))
