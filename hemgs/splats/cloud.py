"""Plain 3D Gaussians as values: as 3DGS stores them, and as the renderer takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians as :func:`hemgs.render.render_view` takes them.

    Attributes:
        means: ``[N, 3] float32`` world coordinates.
        quats: ``[N, 4] float32``, real part first, of any length but 0.
        scales: ``[N, 3] float32`` standard deviations, world units, not negative.
        opacities: ``[N] float32`` in [0, 1].
        colors: ``[N, K, 3] float32`` spherical harmonics, or ``[N, 3]`` RGB where ``sh_degree`` is ``None``.
        sh_degree: bands up to this degree are rendered, further ones are not.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    sh_degree: int | None


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

    def with_degree(self, degree: int) -> GaussianCloud:
        """Return the same Gaussians with bands of coefficients up to at least ``degree``; new ones are zero."""
        missing = max(0, (degree + 1) ** 2 - self.sh.shape[1])
        return replace(self, sh=torch.nn.functional.pad(self.sh, (0, 0, 0, missing)))

    def to(self, device: torch.device | str) -> GaussianCloud:
        """Return the same Gaussians on another device."""
        return GaussianCloud(*(tensor.to(device) for tensor in vars(self).values()))

    def to_bundle(self) -> Bundle:
        """Return tensors under the names of the fields, without gradients, for models and decoded scenes."""
        tensors = {name: tensor.detach() for name, tensor in vars(self).items()}
        return Bundle(tensors, {"num_gaussians": self.num_gaussians})

    @staticmethod
    def from_bundle(bundle: Bundle) -> GaussianCloud:
        """Return the Gaussians of a bundle; further entries are ignored.

        Raises:
            ConfigError: the bundle contains no plain Gaussians.
        """
        names = [field.name for field in fields(GaussianCloud)]
        missing = [name for name in names if name not in bundle.tensors]
        if missing:
            raise ConfigError(
                f"the model contains no plain Gaussians: {', '.join(missing)} missing", "take a model of another method"
            )
        return GaussianCloud(*(bundle.tensors[name] for name in names))

    def at_degree(self, degree: int) -> GaussianCloud:
        """Return the same Gaussians with spherical harmonics of this degree; bands are left out, or added as zeros."""
        missing = (degree + 1) ** 2 - self.sh.shape[1]
        zeros = self.sh.new_zeros(self.num_gaussians, max(missing, 0), 3)
        return replace(self, sh=torch.cat([self.sh[:, : (degree + 1) ** 2], zeros], dim=1))

    def activated(self, sh_degree: int | None = None) -> Gaussians:
        """Return the renderer's arguments, differentiable, with bands up to ``sh_degree``; all bands for ``None``."""
        return Gaussians(
            self.means,
            self.quats,
            self.log_scales.exp(),
            self.opacity_logits.sigmoid(),
            self.sh,
            self.sh_degree if sh_degree is None else sh_degree,
        )
