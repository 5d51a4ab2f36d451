"""Settings of ContextGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hemgs.anchor_codec.params import CodecParams, check_sizes
from hemgs.anchor_codec.settings import EntropySizes
from hemgs.anchors.params import SCALING_DIM
from hemgs.config.params import Amount, Count, PositiveShare
from hemgs.core.bounded import check_integer
from hemgs.core.types import MethodSpec

#: Limits of a file's settings: the coder has a table for at most 81 channels of latents.
MAX_LATENTS, MAX_LEVELS = 64, 4
#: Channels of the feature for each latent, where the number of latents is not given (released code).
FEATURES_PER_LATENT = 4


@dataclass(frozen=True)
class ContextSizes:
    """Sizes of the entropy model that are settings of the method and that every file contains.

    Attributes:
        hidden: width of the hidden layers of the networks.
        num_levels: levels of anchors.
    """

    WIDTHS: ClassVar[tuple[str, ...]] = ("hidden",)
    hidden: Count = 100
    num_levels: Count = 3


@dataclass(frozen=True)
class ContextSettings(ContextSizes, EntropySizes):
    """Sizes of the entropy model, stored in every bitstream.

    Attributes:
        latent_dim: L, latents of an anchor.
    """

    latent_dim: int = 12

    @property
    def context_dim(self) -> int:
        """Number of channels of the coarse anchor in a finer one's input: features and scalings."""
        return self.feature_dim + SCALING_DIM

    def check(self) -> None:
        super().check()
        check_integer("latents", self.latent_dim, 1, MAX_LATENTS)
        check_integer("num_levels", self.num_levels, 1, MAX_LEVELS)


@dataclass(frozen=True)
class ContextGsParams(ContextSizes, CodecParams):
    """Settings of ContextGS in addition to those of all codecs of anchors; defaults are those of its released code.

    Attributes:
        sample_share: share of all anchors that are priced in a step.
        latents: latents of an anchor; 0 is a quarter of ``feature_dim``.
        level_refresh: iterations after which the levels are found again, because masks have changed.
        lr_latents: learning rate of the latents.
        lr_density, lr_density_end: learning rates of their density.
    """

    sample_share: PositiveShare = 0.15
    latents: Count = 0
    level_refresh: Count = 1_000
    lr_latents: Amount = 0.0075
    lr_density: Amount = 5e-3
    lr_density_end: Amount = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self.entropy)

    @property
    def entropy(self) -> ContextSettings:
        """Sizes of the entropy model."""
        latents = self.latents or min(max(1, self.feature_dim // FEATURES_PER_LATENT), MAX_LATENTS)
        return ContextSettings.of(self, latent_dim=latents)


Params = ContextGsParams
SPECS = {
    "ContextGs": MethodSpec(
        id="context_gs",
        label="ContextGS",
        kind="per_rate",
        attributes=("locations", "masks", "networks", "hyper", "features", "scalings", "offsets"),
    )
}
