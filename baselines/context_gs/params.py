"""Settings of ContextGS."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.context_gs.codec import MAX_LATENTS, ContextHeader
from baselines.context_gs.model import ContextSettings
from hemgs.anchor_codec.params import CodecParams, check_sizes
from hemgs.config.params import Amount, Count, PositiveShare
from hemgs.core.types import MethodSpec

#: Channels of the feature for each latent, where the number of latents is not given (released code).
FEATURES_PER_LATENT = 4


@dataclass(frozen=True)
class ContextGsParams(CodecParams):
    """Settings of ContextGS in addition to those of all codecs of anchors; defaults are those of its released code.

    Attributes:
        sample_share: share of all anchors that are priced in a step.
        hidden: width of the hidden layers of the networks.
        latents: latents of an anchor; 0 is a quarter of ``feature_dim``.
        num_levels: levels of anchors.
        level_refresh: iterations after which the levels are found again, because masks have changed.
        lr_latents: learning rate of the latents.
        lr_density, lr_density_end: learning rates of their density.
    """

    sample_share: PositiveShare = 0.15
    hidden: Count = 100
    latents: Count = 0
    num_levels: Count = 3
    level_refresh: Count = 1_000
    lr_latents: Amount = 0.0075
    lr_density: Amount = 5e-3
    lr_density_end: Amount = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(ContextHeader, self.entropy)

    @property
    def entropy(self) -> ContextSettings:
        """Sizes of the entropy model."""
        latents = self.latents or min(max(1, self.feature_dim // FEATURES_PER_LATENT), MAX_LATENTS)
        return ContextSettings(self.feature_dim, self.num_offsets, self.hidden, latents, self.num_levels)


Params = ContextGsParams
SPECS = {
    "ContextGs": MethodSpec(
        id="context_gs",
        label="ContextGS",
        kind="per_rate",
        attributes=("locations", "masks", "networks", "hyper", "features", "scalings", "offsets"),
    )
}
