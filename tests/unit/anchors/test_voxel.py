"""The lattice: keys, voxelisation, spacing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hemgs.anchors.model import lattice_positions
from hemgs.anchors.voxel import (
    COORD_LIMIT,
    cell_coords,
    cell_keys,
    initial_log_scales,
    median_spacing,
    voxelize,
)
from hemgs.core.errors import TrainingError

COORD = st.integers(-COORD_LIMIT, COORD_LIMIT - 1)


@given(st.lists(st.tuples(COORD, COORD, COORD), min_size=1, max_size=20))
def test_keys_are_reversible_and_ascend_in_raster_order(cells: list[tuple[int, int, int]]) -> None:
    coords = torch.tensor(cells, dtype=torch.int64)
    keys = cell_keys(coords)
    assert torch.equal(cell_coords(keys), coords)
    by_key = [cells[i] for i in torch.sort(keys, stable=True).indices.tolist()]
    assert by_key == sorted(cells, key=lambda cell: cell[::-1])


@pytest.mark.parametrize("value", [COORD_LIMIT, -COORD_LIMIT - 1])
def test_a_coordinate_out_of_range_is_an_error(value: int) -> None:
    with pytest.raises(TrainingError, match="voxel_size"):
        cell_keys(torch.tensor([[0, value, 0]]))


def test_voxelize_gives_each_nearest_lattice_point_once() -> None:
    points = np.array([[0.11, 0.0, 0.0], [0.09, 0.0, 0.01], [-0.26, 0.3, 0.0], [0.0, 0.0, 5e6]], np.float32)
    assert voxelize(points, 0.1).tolist() == [[1, 0, 0], [-3, 3, 0]]


def test_positions_are_multiples_of_the_voxel_size() -> None:
    coords = torch.tensor([[7, -123_456, COORD_LIMIT - 1]])
    expected = np.float32(np.array([7, -123_456, COORD_LIMIT - 1]) * 0.001)
    assert np.array_equal(lattice_positions(coords, 0.001)[0].numpy(), expected)


def test_no_point_within_range_is_an_error() -> None:
    with pytest.raises(TrainingError, match="none of 1 initial points"):
        voxelize(np.full((1, 3), 1e9, np.float32), 0.1)


def test_spacing_is_the_median_distance_between_distinct_points() -> None:
    points = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [3, 0, 0], [7, 0, 0]], np.float32)
    assert median_spacing(points) == 1.5  # distances 1, 1, 2, 4
    with pytest.raises(TrainingError, match="set voxel_size"):
        median_spacing(points[:2])


def test_initial_scale_is_the_root_mean_squared_distance_to_three_neighbours() -> None:
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [0, 0, 50]])
    assert initial_log_scales(positions)[0].exp().item() == pytest.approx(((1 + 4 + 9) / 3) ** 0.5)
    with pytest.raises(TrainingError, match="voxel_size"):
        initial_log_scales(positions[:3])
