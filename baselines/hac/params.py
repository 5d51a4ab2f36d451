"""Settings of HAC."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.hac.codec import HacHeader
from baselines.hac.model import HacSettings
from hemgs.anchor_codec.params import HashGridParams, check_sizes
from hemgs.config.params import Count
from hemgs.core.types import MethodSpec


@dataclass(frozen=True)
class HacParams(HashGridParams):
    """Settings of HAC in addition to those of all codecs with a hash grid.

    Attributes:
        hidden: width of the hidden layer of the network behind the hash grid.
    """

    hidden: Count = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(HacHeader, self.entropy)

    @property
    def entropy(self) -> HacSettings:
        """Sizes of the entropy model."""
        return HacSettings(self.feature_dim, self.num_offsets, self.hidden, self.grid)


Params = HacParams
SPECS = {
    "Hac": MethodSpec(
        id="hac",
        label="HAC",
        kind="per_rate",
        attributes=("locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"),
    )
}
