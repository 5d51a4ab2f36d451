"""Plain 3D Gaussians as one value: what exporters, importers and vanilla 3DGS pass around."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianCloud:
    """N Gaussians in the parametrisation of 3DGS (arXiv 2308.04079).

    Attributes:
        means: ``[N, 3] float32`` world coordinates.
        log_scales: ``[N, 3] float32``; standard deviations are their exponentials.
        quats: ``[N, 4] float32``, real part first; normalised at use.
        opacity_logits: ``[N] float32``; opacities are their sigmoids.
        sh: ``[N, (degree + 1)^2, 3] float32`` spherical-harmonics coefficients.
    """

    means: Tensor
    log_scales: Tensor
    quats: Tensor
    opacity_logits: Tensor
    sh: Tensor

    @property
    def num_gaussians(self) -> int:
        return int(self.means.shape[0])

    @property
    def sh_degree(self) -> int:
        return math.isqrt(self.sh.shape[1]) - 1

    def to(self, device: torch.device | str) -> GaussianCloud:
        """The same Gaussians on another device."""
        return GaussianCloud(*(tensor.to(device) for tensor in vars(self).values()))
