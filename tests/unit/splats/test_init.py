from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hemgs.core.errors import SceneError
from hemgs.splats.init import cloud_from_points, mean_squared_distances


def test_values_of_a_known_cloud() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [10, 0, 0]], dtype=np.float32)
    colors = np.array([[255, 0, 51]] * 5, dtype=np.uint8)
    cloud = cloud_from_points(points, colors, 3)
    assert torch.equal(cloud.means, torch.from_numpy(points))
    assert cloud.log_scales[0].tolist() == pytest.approx([0.5 * math.log((1 + 4 + 9) / 3)] * 3, rel=1e-6)
    assert torch.equal(cloud.quats, torch.tensor([[1.0, 0, 0, 0]] * 5))
    assert torch.sigmoid(cloud.opacity_logits).tolist() == pytest.approx([0.1] * 5)
    assert cloud.sh.shape == (5, 16, 3) and cloud.sh_degree == 3 and not cloud.sh[:, 1:].any()
    assert (0.5 + 0.28209479177387814 * cloud.sh[0, 0]).tolist() == pytest.approx([1.0, 0.0, 0.2], abs=1e-6)
    assert all(tensor.dtype == torch.float32 for tensor in vars(cloud).values())


def test_neighbours_are_those_of_all_pairs() -> None:
    points = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    pairs = np.square(points[:, None].astype(np.float64) - points[None]).sum(axis=-1)
    np.fill_diagonal(pairs, np.inf)
    np.testing.assert_allclose(mean_squared_distances(points), np.sort(pairs, axis=1)[:, :3].mean(axis=1), rtol=1e-6)


def test_coincident_points_get_the_smallest_size_not_minus_infinity() -> None:
    cloud = cloud_from_points(np.ones((6, 3), np.float32), np.zeros((6, 3), np.uint8), 0)
    assert cloud.log_scales.unique().tolist() == pytest.approx([0.5 * math.log(1e-7)])


@pytest.mark.parametrize("num_points", [0, 1, 3])
def test_too_few_points_are_refused(num_points: int) -> None:
    with pytest.raises(SceneError, match=f"{num_points} initial points"):
        cloud_from_points(np.zeros((num_points, 3), np.float32), np.zeros((num_points, 3), np.uint8), 3)


def test_points_that_are_not_finite_are_refused() -> None:
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    points[4, 1] = np.nan
    with pytest.raises(SceneError, match="not finite"):
        cloud_from_points(points, np.zeros((9, 3), np.uint8), 3)
