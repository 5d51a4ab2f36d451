"""The first Gaussians of a training, made from a point cloud. Does not own where the points come from."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hemgs.core.errors import SceneError
from hemgs.splats.cloud import GaussianCloud

#: The constant spherical harmonic, 1 / (2 sqrt(pi)): a colour c is stored as (c - 0.5) / SH_C0.
SH_C0 = 0.5 / math.sqrt(math.pi)
#: Opacity at the start (3DGS, arXiv 2308.04079, released code).
INITIAL_OPACITY = 0.1
#: Floor of the mean squared distance to the nearest neighbours, world units squared (same source).
MIN_SQUARED_DISTANCE = 1e-7
#: Neighbours whose distances give a Gaussian its first size (same source, paper section 5.2).
NUM_NEIGHBOURS = 3


def cloud_from_points(points: NDArray[np.float32], colors: NDArray[np.uint8], sh_degree: int) -> GaussianCloud:
    """Make one isotropic Gaussian per point, with the point's colour and about the distance of its neighbours as size.

    Args:
        points: ``[N, 3]`` finite world coordinates, N at least 4.
        colors: ``[N, 3] uint8``.
        sh_degree: degree of the result's spherical harmonics, at least 0; all coefficients but the constant are 0.

    Raises:
        SceneError: there are too few points, or points that are not finite.
    """
    if len(points) <= NUM_NEIGHBOURS:
        raise SceneError(
            f"{len(points)} initial points; at least {NUM_NEIGHBOURS + 1} are needed",
            "give the scene a point cloud, or set initial_points to {kind: random}",
        )
    if not np.isfinite(points).all():
        raise SceneError("the initial points have coordinates that are not finite", "prepare the scene again")
    squared = np.maximum(mean_squared_distances(points), MIN_SQUARED_DISTANCE)
    num_points = len(points)
    quats = torch.zeros(num_points, 4)
    quats[:, 0] = 1.0
    sh = torch.zeros(num_points, (sh_degree + 1) ** 2, 3)
    sh[:, 0] = (torch.from_numpy(colors.astype(np.float32)) / 255.0 - 0.5) / SH_C0
    log_scales = torch.from_numpy((0.5 * np.log(squared)).astype(np.float32))
    return GaussianCloud(
        means=torch.from_numpy(points.astype(np.float32)),
        log_scales=log_scales[:, None].repeat(1, 3),
        quats=quats,
        opacity_logits=torch.full((num_points,), math.log(INITIAL_OPACITY / (1.0 - INITIAL_OPACITY))),
        sh=sh,
    )


def mean_squared_distances(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean squared distance of each point to its three nearest others, ``[N] float64``; N at least 4."""
    distances, _ = cKDTree(points).query(points, k=NUM_NEIGHBOURS + 1, workers=-1)
    squared: NDArray[np.float64] = np.square(distances[:, 1:]).mean(axis=1)
    return squared
