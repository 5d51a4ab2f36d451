"""HAC as a method of the benchmark: glue between anchor training, its entropy model and its codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.hac.codec import CODEC, HacHeader
from baselines.hac.model import HacAttributes, HacModel, HacSettings
from baselines.shared.rival import Rival
from hemgs.anchor_codec.method import HashGridParams, check_sizes
from hemgs.core.types import MethodSpec, Rate


@dataclass(frozen=True)
class HacParams(HashGridParams):
    """Settings of HAC beside those that all codecs with a hash grid share.

    Attributes:
        hidden: width of the hidden layer of the network behind the hash grid.
    """

    hidden: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(HacHeader, self.entropy)

    @property
    def entropy(self) -> HacSettings:
        """Sizes of the entropy model."""
        return HacSettings(self.feature_dim, self.num_offsets, self.hidden, self.grid)


class Hac(Rival[HacParams, HacModel]):
    """HAC; see ``README.md`` beside this file for source, licence and deviations."""

    spec: ClassVar[MethodSpec] = MethodSpec(
        id=CODEC.method,
        label="HAC",
        kind="per_rate",
        attributes=("locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"),
    )
    Params: ClassVar[type] = HacParams
    codec = CODEC

    def blank(self, settings: HacParams) -> HacModel:
        return HacModel(settings.entropy)

    def attributes(self, settings: HacParams, entropy: HacModel, rate: Rate) -> HacAttributes:
        return HacAttributes(entropy, settings.base_steps, settings.phases, self.lmbda_of(rate))
