"""Settings that every anchor-based method shares, with the published values as defaults.

Owns names, defaults and their validation. Methods extend :class:`AnchorParams` with their own fields.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hemgs.core.errors import ConfigError

#: Growing looks at up to three cell sizes, each a quarter of the one before (Scaffold-GS, arXiv 2312.00109, released
#: code: ``update_depth`` 3, ``update_hierachy_factor`` 4).
NUM_LEVELS = 3
LEVEL_RATIO = 4

_POSITIVE = (
    "iterations",
    "feature_dim",
    "num_offsets",
    "grow_factor",
    "grow_interval",
    "grow_threshold",
    "log_every",
    "checkpoint_every",
)
_FRACTIONS = ("grow_success", "ssim_weight")


@dataclass(frozen=True)
class GrowthSettings:
    """Settings of :mod:`hemgs.anchors.growing`; fields as in :class:`AnchorParams`."""

    factor: int
    interval: int
    threshold: float
    success: float
    min_opacity: float
    max_anchors: int

    @property
    def cells(self) -> tuple[int, ...]:
        """Cell sizes in voxels, coarse to fine: 16, 4, 1 for a factor of 16, and 4, 1 for a factor of 4."""
        return tuple(cell for level in range(NUM_LEVELS) if (cell := self.factor // LEVEL_RATIO**level) > 0)


@dataclass(frozen=True)
class AnchorParams:
    """Anchor training as in the HAC family (HAC, arXiv 2403.14530, released code; Scaffold-GS, arXiv 2312.00109).

    Iteration numbers of growing are published for 30,000 iterations and scale with ``iterations``.

    Attributes:
        iterations: length of the training.
        voxel_size: pitch of the lattice in world units; 0 takes the median distance between neighbouring points.
            Published: 0.001 Mip-NeRF360 and Synthetic-NeRF, 0.01 Tanks and Temples, 0.005 Deep Blending.
        feature_dim: channels of a feature.
        num_offsets: Gaussians per anchor.
        head_hidden_dim: width of the hidden layers of the heads; 0 is ``feature_dim``.
        grow_factor: coarsest cell of growing, in voxels. Published: 16, and 4 for Synthetic-NeRF.
        statistics_from, grow_from, grow_until: iterations between which statistics are gathered and anchors grow.
        grow_interval: steps from one growing to the next; not scaled, since statistics need that many views.
        grow_threshold: mean norm of the gradient of a Gaussian's screen position, in normalised device coordinates,
            from which it makes an anchor at the coarsest level; twice that at each finer one.
        grow_success: share of an interval. An anchor must be seen in so many steps to be pruned, and a Gaussian in half
            as many to make an anchor.
        min_opacity: anchors with less summed opacity per view are pruned.
        max_anchors: growing stops here; 0 is no limit.
        lr_*: learning rates at the first step and, with ``_end``, at the last, log-linear between. Those of offsets
            and masks are multiplied by the scene's extent.
        ssim_weight: share of 1 - SSIM in the reconstruction loss, the rest is L1.
        volume_weight: weight of the mean volume of the rendered Gaussians in the loss.
        log_every, checkpoint_every: steps between progress reports, and between checkpoints.
    """

    iterations: int = 30_000
    voxel_size: float = 0.0
    feature_dim: int = 50
    num_offsets: int = 10
    head_hidden_dim: int = 0
    grow_factor: int = 16
    statistics_from: int = 500
    grow_from: int = 1_500
    grow_until: int = 15_000
    grow_interval: int = 100
    grow_threshold: float = 2e-4
    grow_success: float = 0.8
    min_opacity: float = 0.005
    max_anchors: int = 0
    lr_features: float = 0.0075
    lr_scalings: float = 0.007
    lr_offsets: float = 0.01
    lr_offsets_end: float = 1e-4
    lr_masks: float = 0.01
    lr_masks_end: float = 1e-4
    lr_head_opacity: float = 2e-3
    lr_head_opacity_end: float = 2e-5
    lr_head_covariance: float = 4e-3
    lr_head_covariance_end: float = 4e-3
    lr_head_color: float = 8e-3
    lr_head_color_end: float = 5e-5
    ssim_weight: float = 0.2
    volume_weight: float = 0.01
    log_every: int = 10
    checkpoint_every: int = 2_000

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value) or value < 0:
                raise ConfigError(f"{entry.name}: {value!r}", "give a finite number that is not negative")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}: {getattr(self, name)!r}", "give a number above 0")
        for name in _FRACTIONS:
            if getattr(self, name) > 1:
                raise ConfigError(f"{name}: {getattr(self, name)!r}", "give a number between 0 and 1")

    @property
    def growth(self) -> GrowthSettings:
        """The settings of growing and pruning."""
        return GrowthSettings(
            self.grow_factor,
            self.grow_interval,
            self.grow_threshold,
            self.grow_success,
            self.min_opacity,
            self.max_anchors,
        )
