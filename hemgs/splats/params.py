"""Settings that every method on plain Gaussians shares, with the published values of 3DGS as defaults.

Owns names, defaults and their validation. Methods extend :class:`SplatParams` with their own fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hemgs.config.params import Amount, Count, Positive
from hemgs.training.params import TrainingParams


@dataclass(frozen=True)
class SplatParams(TrainingParams):
    """Training of plain Gaussians as in 3DGS (arXiv 2308.04079, released code, as used for the tables of later papers).

    Iteration numbers are those published for 30,000 iterations and scale with ``iterations``; ``densify_interval``
    does not, because the statistics behind it need that many views. Runs of less than 2,000 iterations keep the resets
    of opacities as far apart as a run of 2,000 iterations (``hemgs.splats.schedule``).

    Attributes:
        sh_degree: final degree of the spherical harmonics, 0 to 3.
        sh_every: interval after which one more degree is trained, from 0 on.
        densify_from, densify_until, densify_interval: iterations at which Gaussians are cloned, split and pruned.
        opacity_reset_every: interval at which all opacities are lowered, within the same window.
        prune_large_from: iteration after which Gaussians that are too large are also pruned.
        gradient_threshold: mean norm of the loss's gradient to a projected centre, in normalised device
            coordinates, from which a Gaussian is cloned or split.
        dense_fraction: fraction of the scene's extent. Gaussians up to this size are cloned, larger ones split.
        min_opacity: Gaussians with a lower opacity are removed.
        large_fraction: fraction of the scene's extent. Larger Gaussians are removed from ``prune_large_from`` on.
        max_gaussians: upper limit of their number, 0 for none (as published). Near the limit those with the largest
            gradients grow first.
        lr_means, lr_means_end: learning rates of means, times the scene's extent, log-linear over the run.
        lr_sh, lr_sh_rest: learning rates of the constant and of the other coefficients of spherical harmonics.
        lr_opacities: learning rate of opacities. The papers' tables were made with 0.05; later code has 0.025.
        lr_scalings, lr_rotations: learning rates of log-scales and quaternions.
    """

    sh_degree: Annotated[int, Field(ge=0, le=3)] = 3
    sh_every: Positive = 1_000
    densify_from: Count = 500
    densify_until: Count = 15_000
    densify_interval: Positive = 100
    opacity_reset_every: Positive = 3_000
    prune_large_from: Count = 3_000
    gradient_threshold: Amount = 2e-4
    dense_fraction: Amount = 0.01
    min_opacity: Amount = 0.005
    large_fraction: Amount = 0.1
    max_gaussians: Count = 0
    lr_means: Amount = 1.6e-4
    lr_means_end: Amount = 1.6e-6
    lr_sh: Amount = 2.5e-3
    lr_sh_rest: Amount = 2.5e-3 / 20.0
    lr_opacities: Amount = 0.05
    lr_scalings: Amount = 5e-3
    lr_rotations: Amount = 1e-3
