"""HAC as a method of the benchmark: glue between anchor training, its entropy model and its codec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from baselines.hac.codec import CODEC
from baselines.hac.model import HacAttributes, HacModel, HacSettings
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coded_method import CodedAnchors, HashGridParams
from hemgs.core.errors import ConfigError
from hemgs.core.types import MethodSpec, Rate, SectionTable


@dataclass(frozen=True)
class HacParams(HashGridParams):
    """Settings of HAC beside those that all codecs with a hash grid share.

    Attributes:
        hidden: width of the hidden layer of the network behind the hash grid.
    """

    hidden: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 1:
            raise ConfigError(f"hidden: {self.hidden!r}", "give a number above 0")

    @property
    def entropy(self) -> HacSettings:
        """Sizes of the entropy model."""
        return HacSettings(self.feature_dim, self.num_offsets, self.hidden, self.grid)


class Hac(CodedAnchors[HacParams, HacModel]):
    """HAC; see ``README.md`` beside this file for source, licence and deviations."""

    spec: ClassVar[MethodSpec] = MethodSpec(
        id=CODEC.method,
        label="HAC",
        kind="per_rate",
        attributes=("locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"),
    )
    Params: ClassVar[type] = HacParams

    def blank(self, settings: HacParams) -> HacModel:
        return HacModel(settings.entropy)

    def attributes(self, settings: HacParams, entropy: HacModel, rate: Rate) -> HacAttributes:
        if rate.lmbda is None:
            raise ConfigError(f"{CODEC.method} is trained once per rate", "name one, for example --rate lmbda_0.0020")
        return HacAttributes(entropy, settings.base_steps, settings.phases, rate.lmbda)

    def write(
        self,
        path: Path,
        anchors: AnchorModel,
        entropy: HacModel,
        settings: HacParams,
        lmbda: float,
        views: torch.Tensor,
    ) -> SectionTable:
        return CODEC.encode(path, anchors, entropy, settings.base_steps, lmbda, views, settings.storage)

    def read(self, path: Path, device: torch.device) -> FixedAnchors:
        return CODEC.decode(path, device)
