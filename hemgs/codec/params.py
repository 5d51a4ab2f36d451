"""Settings of HEMGS (arXiv 2411.18473)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from hemgs.anchor_codec.params import HashGridParams, check_sizes, numbers
from hemgs.codec.settings import (
    AUTOMATIC,
    ORDERS,
    RASTER,
    ContextWindow,
    EntropySettings,
    NetworkSizes,
    SimulationSettings,
)
from hemgs.config.fields import one_of
from hemgs.config.params import Amount, Count, PositiveShare
from hemgs.core.errors import ConfigError
from hemgs.core.types import LmbdaInterval, MethodSpec
from hemgs.pointnet.architectures import scene_agnostic_dim
from hemgs.training.schedule import scaled

#: λ that one model serves (arXiv 2411.18473, section 4.2).
LMBDA_INTERVAL = LmbdaInterval(1e-3, 4e-3)
#: The sixteen λ at which a model is encoded by default (section 4.1): equal steps over the interval, including the four
#: trained values.
SWEEP = tuple(round(0.001 + 0.0002 * index, 4) for index in range(16))


@dataclass(frozen=True)
class HemgsParams(NetworkSizes, HashGridParams):
    """Settings of HEMGS in addition to those that it shares with HAC. Iteration numbers are also for a run of 30,000.

    Attributes:
        sample_share: share of all anchors that are priced in a step. The paper names none. HAC has 0.05 of the visible
            ones; the default is that of ContextGS (arXiv 2405.20721, released code).
        lr_networks_end: last learning rate of the networks. With the published codecs' 1e-5, networks are not fully
            trained after short runs. The default is that of HAC++'s context networks (arXiv 2501.12255, released code).
        lmbdas: trained values of λ, separated by blanks (arXiv 2411.18473, section 4.2).
        context_window: voxels along an edge of the window of neighbours, odd (arXiv 2411.18473, section 4.2).
        context_neighbours: number of nearest neighbours that are used; 0 for all.
        context_multiplier: lattice voxels per voxel of the window, 1 in the paper. 0 chooses, when pricing begins, the
            least value with which the window contains six earlier anchors on average.
        context_refresh: iterations after which neighbours are found again.
        rounding_last: last iterations, in which networks see rounded values instead of noisy ones.
        order: order of coding: ``raster`` as in the paper, or ``hashed``, which has neighbours on all sides and decodes
            more anchors together.
    """

    sample_share: PositiveShare = 0.15
    lr_networks_end: Amount = 5e-4
    lmbdas: str = "0.001 0.002 0.003 0.004"
    scene_agnostic: str = "pointnet2_bundled"
    feature_context: Count = 32
    geometry_context: Count = 24
    context_window: Count = 25
    context_neighbours: Count = 20
    context_multiplier: Count = 1
    context_refresh: Count = 1_000
    rounding_last: Count = 1_000
    order: Annotated[str, *one_of(ORDERS)] = RASTER

    def __post_init__(self) -> None:
        super().__post_init__()
        for lmbda in numbers("lmbdas", self.lmbdas):
            LMBDA_INTERVAL.check(lmbda)
        if self.scene_agnostic:
            scene_agnostic_dim(self.scene_agnostic)
        # The model chooses an automatic multiplier later. The check uses 1 in its place.
        window = self.window if self.window.multiplier != AUTOMATIC else replace(self.window, multiplier=1)
        check_sizes(replace(self.entropy, window=window))

    @property
    def window(self) -> ContextWindow:
        """The condition for neighbours.

        Raises:
            ConfigError: the settings define no window.
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
        return EntropySettings.of(self)

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
