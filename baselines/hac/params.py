"""Settings of HAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hemgs.anchor_codec.params import HashGridParams, check_sizes
from hemgs.anchor_codec.settings import GridSizes
from hemgs.config.params import Count
from hemgs.core.types import MethodSpec


@dataclass(frozen=True)
class HacSizes:
    """Sizes of the entropy model that are settings of the method and that every file contains.

    Attributes:
        hidden: width of the hidden layer of the network behind the hash grid.
    """

    WIDTHS: ClassVar[tuple[str, ...]] = ("hidden",)
    hidden: Count = 100


@dataclass(frozen=True)
class HacSettings(HacSizes, GridSizes):
    """Sizes of the entropy model, stored in every bitstream."""


@dataclass(frozen=True)
class HacParams(HacSizes, HashGridParams):
    """Settings of HAC in addition to those of all codecs with a hash grid."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self.entropy)

    @property
    def entropy(self) -> HacSettings:
        """Sizes of the entropy model."""
        return HacSettings.of(self)


Params = HacParams
SPECS = {
    "Hac": MethodSpec(
        id="hac",
        label="HAC",
        kind="per_rate",
        attributes=("locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"),
    )
}
