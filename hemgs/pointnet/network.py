"""PointNet++ (arXiv 1706.02413) in exact integer arithmetic, over blocks of integer points.

A network consists of data (:class:`Architecture`) and integer layers. Points are integers in units of
``2^-PRECISION_BITS`` of the network's length unit, and activations have as many fractional bits. The values between
layers are integers, sums stay below 2^53, and pooling is a maximum. Every choice of points compares integers
(:mod:`hemgs.pointnet.sets`). There is no float version, since the networks are frozen.

Owns the evaluation of one block. Does not own the weights' files or the features of a cloud
(:mod:`hemgs.pointnet.features`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hemgs.coding.fixed_point import FixedMlp
from hemgs.pointnet.architectures import Architecture, Grouping
from hemgs.pointnet.sets import INTERPOLATION_BITS, Integers, ball_query, farthest_points, three_nearest


class PointNet:
    """A frozen network.

    Args:
        architecture: its architecture.
        mlps: its layers in the order of :meth:`Architecture.mlp_widths`; all but the last with ``relu_last``.

    Raises:
        ValueError: the layers do not have the architecture's widths.
    """

    def __init__(self, architecture: Architecture, mlps: Sequence[FixedMlp]) -> None:
        widths = [(mlp.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in mlp.layers)) for mlp in mlps]
        if widths != architecture.mlp_widths():
            raise ValueError(f"layers have widths {widths}, the architecture {architecture.mlp_widths()}")
        self.architecture = architecture
        self._mlps = tuple(mlps)

    def __call__(self, points: Integers, inputs: Tensor) -> Tensor:
        """Return features of one block; the weights' device does the arithmetic.

        Args:
            points: ``[n, 3] int64``, n > 0, in units of ``1 / ONE``.
            inputs: ``[n, C] float64`` integers with ``PRECISION_BITS`` fractional bits.

        Returns:
            ``[n, D] float64`` integers with ``PRECISION_BITS`` fractional bits.
        """
        mlps = iter(self._mlps)
        clouds, features = [points], [inputs]
        for level in self.architecture.abstractions:
            centres = farthest_points(clouds[-1], level.centres)
            pooled = [_pool(clouds[-1], features[-1], centres, grouping, next(mlps)) for grouping in level.groupings]
            clouds.append(clouds[-1][centres])
            features.append(torch.cat(pooled, dim=1))
        values = features.pop()
        while features:
            sources = clouds.pop()
            values = torch.cat([features.pop(), _interpolate(clouds[-1], sources, values)], dim=1)
            values = next(mlps)(values)
        return next(mlps)(values)


def _pool(points: Integers, features: Tensor, centres: Integers, grouping: Grouping, mlp: FixedMlp) -> Tensor:
    """Return ``[m, width]``, the greatest outputs among each centre's neighbours."""
    neighbours = ball_query(points, centres, grouping.radius, grouping.neighbours)
    relative = points[neighbours] - points[centres][:, None]
    index = torch.from_numpy(neighbours.reshape(-1)).to(features.device)
    offsets = torch.from_numpy(relative.reshape(-1, 3)).to(features.device, features.dtype)
    values = mlp(torch.cat([features[index], offsets], dim=1))
    return values.view(*neighbours.shape, -1).amax(dim=1)


def _interpolate(points: Integers, sources: Integers, values: Tensor) -> Tensor:
    """Interpolate values at ``sources`` to ``points``, ``[n, C]``; exact, then rounded once."""
    indices, weights = (torch.from_numpy(part).to(values.device) for part in three_nearest(points, sources))
    blended = sum(values[indices[:, place]] * weights[:, place, None] for place in range(indices.shape[1]))
    unit = 1 << INTERPOLATION_BITS
    return torch.floor((torch.as_tensor(blended) + unit / 2) / unit)


def as_inputs(columns: Sequence[Integers], device: torch.device | str) -> Tensor:
    """Join integer columns ``[n]`` to a network's input."""
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float64)).to(device)
