"""Sizes and milestones in the settings of HEMGS, with their limits: plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hemgs.anchor_codec.settings import (
    LATER,
    MAX_WIDTH,
    GridPhaseSettings,
    GridSizes,
)
from hemgs.anchors.params import SCALING_DIM
from hemgs.config.params import Amount, Count
from hemgs.core.bounded import check_integer
from hemgs.core.types import LmbdaInterval
from hemgs.pointnet.architectures import scene_agnostic_dim

#: Largest range of steps; with the learned part it stays within the coder's table of steps.
MAX_OCTAVES = 4.0
#: Limits on the window of neighbours in a file.
MAX_WINDOW, MAX_MULTIPLIER = 255, 64
#: Orders of coding: raster order with z slowest, and the order of a hash of the location.
RASTER, HASHED = "raster", "hashed"
ORDERS = (RASTER, HASHED)
#: The value of a multiplier that is not chosen yet (``hemgs.codec.neighbours.chosen_multiplier``), and the largest
#: choice.
AUTOMATIC, MAX_AUTOMATIC = 0, 16
#: Largest reach of a window in lattice voxels: the published window of 25, at the largest multiplier.
MAX_RADIUS = 25 // 2 * MAX_AUTOMATIC


@dataclass(frozen=True)
class ContextWindow:
    """The condition for neighbours.

    Attributes:
        size: voxels along each edge of the window, odd.
        max_neighbours: number of nearest neighbours that are kept; 0 keeps all.
        multiplier: lattice voxels per voxel of the window; :data:`AUTOMATIC` until it is chosen.
        order: order of coding, one of :data:`ORDERS`, which decides which anchors are earlier.
    """

    size: int = 25
    max_neighbours: int = 20
    multiplier: int = 1
    order: str = field(default=RASTER, metadata=LATER)

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"a context window has an odd number of voxels along an edge, not {self.size}")
        if self.max_neighbours < 0:
            raise ValueError(f"the number of neighbours must be 0 (all) or more, not {self.max_neighbours}")
        if self.multiplier < 0 or self.size // 2 * max(self.multiplier, 1) > MAX_RADIUS:
            raise ValueError(
                f"a window of {self.size} voxels times {self.multiplier}: the factor must be at least 0, and the "
                f"window must reach {MAX_RADIUS} lattice voxels or less"
            )

    @property
    def radius(self) -> int:
        """Lattice voxels that the window reaches from its anchor, along each axis.

        Raises:
            ValueError: the multiplier has not been chosen.
        """
        if self.multiplier == AUTOMATIC:
            raise ValueError("the multiplier of a context window has not been chosen")
        return self.size // 2 * self.multiplier

    def check(self) -> None:
        """Raise ValueError for a window that no decoder accepts."""
        if self.order not in ORDERS:
            raise ValueError(f"order is {self.order!r}, not one of {', '.join(ORDERS)}")
        check_integer("context_window", self.size, 3, MAX_WINDOW)
        check_integer("context_neighbours", self.max_neighbours, 0, MAX_WIDTH)
        check_integer("context_multiplier", self.multiplier, 1, MAX_MULTIPLIER)


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the entropy model that are settings of the method and that every file contains.

    Attributes:
        feature_prior, geometry_prior: widths of the prior features.
        feature_hidden, geometry_hidden: hidden widths of the distribution networks.
        feature_step_hidden, geometry_step_hidden: hidden widths of the rate predictors.
        rate_octaves: octaves between the steps of the smallest and the largest λ before anything is learned; 1 is the
            high-rate law.
        scene_agnostic: frozen network over anchor locations, ``pointnet2_bundled`` or ``pointnet2_s3dis_msg``; empty
            for none.
        feature_context, geometry_context: widths of the context features; 0 for no autoregressive network.
        feature_chunks: chunks in which the channels of a feature are coded, each given those before; 1 for all at once,
            as in the paper.
        sparse_grid: whether files contain only those signs of the hash grid that some anchor depends on. A decoder
            finds them from the locations. Training prices all signs: those in use then agree more and cost less.
        float_networks: whether networks code in floating point, with weights in float16, to measure the cost of exact
            integers. Such a file decodes only where sums are rounded as on the machine that wrote it.
    """

    WIDTHS: ClassVar[tuple[str, ...]] = (
        *("feature_prior", "geometry_prior", "feature_hidden", "geometry_hidden"),
        *("feature_step_hidden", "geometry_step_hidden"),
    )
    feature_prior: Count = 64
    geometry_prior: Count = 40
    feature_hidden: Count = 64
    geometry_hidden: Count = 40
    feature_step_hidden: Count = 32
    geometry_step_hidden: Count = 24
    rate_octaves: Amount = 1.0
    scene_agnostic: str = ""
    feature_context: Count = 0
    geometry_context: Count = 0
    feature_chunks: Count = field(default=1, metadata=LATER)
    sparse_grid: bool = field(default=False, metadata=LATER)
    float_networks: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True)
class EntropySettings(NetworkSizes, GridSizes):
    """Sizes of the entropy model, stored in every bitstream.

    Attributes:
        window: condition for neighbours.
    """

    window: ContextWindow = field(default_factory=ContextWindow)

    @property
    def geometry_dim(self) -> int:
        """Channels of scalings and offsets together."""
        return SCALING_DIM + 3 * self.num_offsets

    @property
    def location_dim(self) -> int:
        """Width of the features of locations: the scene-specific and the scene-agnostic one."""
        return self.grid.output_dim + (scene_agnostic_dim(self.scene_agnostic) if self.scene_agnostic else 0)

    @property
    def chunks(self) -> dict[str, int]:
        """Chunks in which channels are coded, by attribute."""
        return {"features": self.feature_chunks}

    @property
    def has_context(self) -> bool:
        """Whether any group has an autoregressive network."""
        return bool(self.feature_context or self.geometry_context)

    def check(self) -> None:
        super().check()
        if type(self.rate_octaves) is not float or not 0 < self.rate_octaves <= MAX_OCTAVES:
            raise ValueError(f"rate_octaves is {self.rate_octaves!r}, not a number above 0, up to {MAX_OCTAVES:g}")
        for name in ("float_networks", "sparse_grid"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not true or false")
        for name in ("feature_context", "geometry_context"):
            check_integer(name, getattr(self, name), 0, MAX_WIDTH)
        check_integer("feature_chunks", self.feature_chunks, 1, self.feature_dim)
        self.window.check()
        if type(self.scene_agnostic) is not str:
            raise ValueError("scene_agnostic is not a name")


@dataclass(frozen=True, kw_only=True)
class SimulationSettings(GridPhaseSettings):
    """The phases' iterations and weights, with those of HEMGS.

    Attributes:
        continuous_start: iteration from which every other step draws λ from the whole interval.
        rounding_start: iteration from which networks see rounded values instead of noisy ones.
        table_refresh: iterations after which the neighbours are found again, because masks have changed.
        lmbdas: the trained values of λ.
        interval: interval of λ that the model serves.
    """

    continuous_start: int
    rounding_start: int
    table_refresh: int
    lmbdas: tuple[float, ...]
    interval: LmbdaInterval
