"""Settings of HAC++."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hemgs.anchor_codec.params import HashGridParams, check_sizes
from hemgs.anchor_codec.settings import GridSizes
from hemgs.coding.names import ADAPTIVE, OCTREE
from hemgs.config.params import Amount, Count
from hemgs.core.bounded import check_integer
from hemgs.core.errors import ConfigError
from hemgs.core.types import MethodSpec


@dataclass(frozen=True)
class HacPlusSizes:
    """Sizes of the entropy model that are settings of the method and that every file contains.

    Attributes:
        hidden: width of the hidden layer of the network behind the hash grid.
        chunk_channels: channels of a feature that are decoded together.
        chunk_hidden: width of the hidden layers of the chunks' networks.
    """

    WIDTHS: ClassVar[tuple[str, ...]] = ("hidden", "chunk_hidden")
    hidden: Count = 100
    chunk_channels: Count = 10
    chunk_hidden: Count = 40


@dataclass(frozen=True)
class HacPlusSettings(HacPlusSizes, GridSizes):
    """Sizes of the entropy model, stored in every bitstream."""

    @property
    def chunks(self) -> list[slice]:
        """The feature's channels in coding order."""
        starts = range(0, self.feature_dim, self.chunk_channels)
        return [slice(first, min(first + self.chunk_channels, self.feature_dim)) for first in starts]

    def check(self) -> None:
        super().check()
        check_integer("chunk_channels", self.chunk_channels, 1, self.feature_dim)


@dataclass(frozen=True)
class HacPlusParams(HacPlusSizes, HashGridParams):
    """Settings of HAC++ in addition to those of all codecs with a hash grid.

    The last learning rate of the masks follows from λ: ``lr_masks_end`` has no effect.

    Attributes:
        lr_contexts, lr_contexts_end: learning rates of the chunks' networks.
        lr_masks_end_per_lmbda: last learning rate of the masks over λ. Published: 0.5 Mip-NeRF360, 0.1 Tanks and
            Temples and BungeeNeRF, 0.08 Deep Blending and Synthetic-NeRF.
        lr_masks_end_most: upper limit of that rate.
    """

    masks_in_rate: bool = True
    location_codec: str = OCTREE
    mask_codec: str = ADAPTIVE
    lr_contexts: Amount = 5e-3
    lr_contexts_end: Amount = 5e-4
    lr_masks_end_per_lmbda: Amount = 0.5
    lr_masks_end_most: Amount = 1.5e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self.entropy)
        if not self.masks_in_rate:
            raise ConfigError("masks_in_rate: False", "leave it out: HAC++ is defined by it; train hac instead")

    @property
    def entropy(self) -> HacPlusSettings:
        """Sizes of the entropy model."""
        return HacPlusSettings.of(self, chunk_channels=min(self.chunk_channels, self.feature_dim))


Params = HacPlusParams
SPECS = {
    "HacPlus": MethodSpec(
        id="hac_plus",
        label="HAC++",
        kind="per_rate",
        attributes=("locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"),
    )
}
