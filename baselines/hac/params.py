"""Settings of HAC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hemgs.anchor_codec.params import HashGridParams, check_sizes
from hemgs.anchor_codec.settings import EntropySizes, HashGridSettings
from hemgs.config.params import Count
from hemgs.core.types import MethodSpec


@dataclass(frozen=True)
class HacSettings(EntropySizes):
    """Sizes of the entropy model, stored in every bitstream.

    Attributes:
        hidden: width of the network's hidden layer.
        grid: the hash grid.
    """

    WIDTHS: ClassVar[tuple[str, ...]] = ("hidden",)
    hidden: int = 100
    grid: HashGridSettings = field(default_factory=HashGridSettings)

    def check(self) -> None:
        super().check()
        self.grid.check()


@dataclass(frozen=True)
class HacParams(HashGridParams):
    """Settings of HAC in addition to those of all codecs with a hash grid.

    Attributes:
        hidden: width of the hidden layer of the network behind the hash grid.
    """

    hidden: Count = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self.entropy)

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
