"""HAC as a method of the benchmark: it connects anchor training, the entropy model and the codec."""

from __future__ import annotations

from typing import ClassVar

from baselines.hac.codec import CODEC
from baselines.hac.model import HacAttributes, HacModel
from baselines.hac.params import SPECS, HacParams
from hemgs.anchor_codec.method import CodedAnchors
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.core.types import MethodSpec, Rate


class Hac(CodedAnchors[HacParams, HacModel]):
    """HAC; ``README.md`` in this folder lists source, licence and deviations."""

    spec: ClassVar[MethodSpec] = SPECS["Hac"]
    Params: ClassVar[type] = HacParams
    codec = CODEC

    def blank(self, settings: HacParams) -> HacModel:
        return HacModel(settings.entropy)

    def attributes(self, settings: HacParams, entropy: HacModel, rate: Rate) -> HacAttributes:
        return HacAttributes(entropy, BaseSteps.of(settings), settings.phases, self.lmbda_of(rate))
