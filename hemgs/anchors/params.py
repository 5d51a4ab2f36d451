"""Settings that every anchor-based method shares, with the published values as defaults.

Owns names, defaults and their validation. Methods extend :class:`AnchorParams` with their own fields.
"""

from __future__ import annotations

from dataclasses import dataclass

from hemgs.config.params import Amount, Count, Positive, PositiveAmount, Share
from hemgs.training.params import TrainingParams

#: Scalars of an anchor's scaling: three for its offsets, three for its Gaussians.
SCALING_DIM = 6
#: Growing looks at up to three cell sizes, each a quarter of the one before (Scaffold-GS, arXiv 2312.00109, released
#: code: ``update_depth`` 3, ``update_hierachy_factor`` 4).
NUM_LEVELS = 3
LEVEL_RATIO = 4


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
class AnchorParams(TrainingParams):
    """Anchor training as in the HAC family (HAC, arXiv 2403.14530, released code; Scaffold-GS, arXiv 2312.00109).

    Iteration numbers of growing are published for 30,000 iterations and scale with ``iterations``.

    Attributes:
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
        volume_weight: weight of the mean volume of the rendered Gaussians in the loss.
    """

    voxel_size: Amount = 0.0
    feature_dim: Positive = 50
    num_offsets: Positive = 10
    head_hidden_dim: Count = 0
    grow_factor: Positive = 16
    statistics_from: Count = 500
    grow_from: Count = 1_500
    grow_until: Count = 15_000
    grow_interval: Positive = 100
    grow_threshold: PositiveAmount = 2e-4
    grow_success: Share = 0.8
    min_opacity: Amount = 0.005
    max_anchors: Count = 0
    lr_features: Amount = 0.0075
    lr_scalings: Amount = 0.007
    lr_offsets: Amount = 0.01
    lr_offsets_end: Amount = 1e-4
    lr_masks: Amount = 0.01
    lr_masks_end: Amount = 1e-4
    lr_head_opacity: Amount = 2e-3
    lr_head_opacity_end: Amount = 2e-5
    lr_head_covariance: Amount = 4e-3
    lr_head_covariance_end: Amount = 4e-3
    lr_head_color: Amount = 8e-3
    lr_head_color_end: Amount = 5e-5
    volume_weight: Amount = 0.01

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
