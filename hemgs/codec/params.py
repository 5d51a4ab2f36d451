"""Settings of HEMGS (arXiv 2411.18473)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated

from hemgs.anchor_codec.params import HashGridParams, check_sizes, numbers
from hemgs.codec.settings import AUTOMATIC, ORDERS, RASTER, ContextWindow, EntropySettings, SimulationSettings
from hemgs.config.fields import one_of
from hemgs.config.params import Amount, Count, PositiveShare
from hemgs.core.errors import ConfigError
from hemgs.core.types import LmbdaInterval, MethodSpec
from hemgs.pointnet.architectures import scene_agnostic_dim
from hemgs.training.schedule import scaled

#: λ that one model serves (arXiv 2411.18473, section 4.2).
LMBDA_INTERVAL = LmbdaInterval(1e-3, 4e-3)
#: The sixteen λ at which a model is encoded by default (section 4.1): equal steps over the interval, among them the
#: four trained values.
SWEEP = tuple(round(0.001 + 0.0002 * index, 4) for index in range(16))


@dataclass(frozen=True)
class HemgsParams(HashGridParams):
    """Settings of HEMGS in addition to those that it shares with HAC. Iteration numbers are for a run of 30,000, too.

    Attributes:
        sample_share: share of all anchors that are priced in a step. The paper names none. HAC has 0.05 of the visible
            ones; the default is that of ContextGS (arXiv 2405.20721, released code).
        lr_networks_end: last learning rate of the networks. The published codecs' 1e-5 leaves networks unfinished after
            short runs. The default is that of HAC++'s context networks (arXiv 2501.12255, released code).
        lmbdas: trained values of λ, separated by blanks (arXiv 2411.18473, section 4.2).
        feature_prior, geometry_prior: widths of the prior features.
        feature_hidden, geometry_hidden: hidden widths of the distribution networks.
        feature_step_hidden, geometry_step_hidden: hidden widths of the rate predictors.
        rate_octaves: octaves between the steps of the smallest and the largest λ before anything is learned; 1 is the
            high-rate law.
        scene_agnostic: frozen network over anchor locations, ``pointnet2_bundled`` or ``pointnet2_s3dis_msg``; empty
            for none.
        feature_context, geometry_context: widths of the context features; 0 for no autoregressive network.
        context_window: voxels along an edge of the window of neighbours, odd (arXiv 2411.18473, section 4.2).
        context_neighbours: number of nearest neighbours that are used; 0 for all.
        context_multiplier: lattice voxels per voxel of the window, 1 in the paper. 0 chooses, when pricing begins, the
            least value with which the window contains six earlier anchors on average.
        context_refresh: iterations after which neighbours are found again.
        rounding_last: last iterations, in which networks see rounded values instead of noisy ones.
        feature_chunks: chunks in which the channels of a feature are coded, each given those before; 1 for all at once,
            as in the paper.
        order: order of coding: ``raster`` as in the paper, or ``hashed``, which has neighbours on all sides and decodes
            more anchors together.
        sparse_grid: whether files contain only those signs of the hash grid that some anchor depends on. A decoder
            finds them from the locations. Training prices all signs: those in use then agree more and cost less.
        float_networks: whether networks code in floating point, with weights in float16, to measure what exact integers
            cost. Such a file decodes only where sums are rounded as on the machine that wrote it.
    """

    sample_share: PositiveShare = 0.15
    lr_networks_end: Amount = 5e-4
    lmbdas: str = "0.001 0.002 0.003 0.004"
    feature_prior: Count = 64
    geometry_prior: Count = 40
    feature_hidden: Count = 64
    geometry_hidden: Count = 40
    feature_step_hidden: Count = 32
    geometry_step_hidden: Count = 24
    rate_octaves: Amount = 1.0
    scene_agnostic: str = "pointnet2_bundled"
    feature_context: Count = 32
    geometry_context: Count = 24
    context_window: Count = 25
    context_neighbours: Count = 20
    context_multiplier: Count = 1
    context_refresh: Count = 1_000
    rounding_last: Count = 1_000
    feature_chunks: Count = 1
    order: Annotated[str, *one_of(ORDERS)] = RASTER
    sparse_grid: bool = False
    float_networks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for lmbda in numbers("lmbdas", self.lmbdas):
            LMBDA_INTERVAL.check(lmbda)
        if self.scene_agnostic:
            scene_agnostic_dim(self.scene_agnostic)
        # What is left to the model is chosen before there is a file.
        window = self.window if self.window.multiplier != AUTOMATIC else replace(self.window, multiplier=1)
        check_sizes(replace(self.entropy, window=window))

    @property
    def window(self) -> ContextWindow:
        """Which anchors are neighbours.

        Raises:
            ConfigError: there is no such window.
        """
        try:
            return ContextWindow(self.context_window, self.context_neighbours, self.context_multiplier, self.order)
        except ValueError as fault:
            raise ConfigError(
                f"context_window, context_neighbours, context_multiplier: {fault}", "see `hemgs describe`"
            ) from fault

    @property
    def entropy(self) -> EntropySettings:
        """Sizes of the entropy model."""
        return EntropySettings(**{size.name: getattr(self, size.name) for size in fields(EntropySettings)})

    @property
    def simulation(self) -> SimulationSettings:
        """Milestones of this run's length."""
        phases = self.phases
        return SimulationSettings(
            **vars(phases),
            continuous_start=(phases.entropy_start + self.iterations) // 2,
            rounding_start=self.iterations - scaled(self.rounding_last, self.iterations) + 1,
            table_refresh=max(1, scaled(self.context_refresh, self.iterations)),
            lmbdas=numbers("lmbdas", self.lmbdas),
            interval=LMBDA_INTERVAL,
        )


Params = HemgsParams
_SPEC = MethodSpec(
    id="hemgs",
    label="HEMGS",
    kind="all_rates",
    lmbda_interval=LMBDA_INTERVAL,
    sweep=SWEEP,
    attributes=("locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"),
)
SPECS = {"Hemgs": _SPEC, "HemgsSingleRate": replace(_SPEC, kind="per_rate")}
