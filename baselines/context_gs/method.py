"""ContextGS as a method of the benchmark: it connects anchor training, the entropy model and the codec."""

from __future__ import annotations

from typing import ClassVar

from baselines.context_gs.codec import CODEC
from baselines.context_gs.model import ContextAttributes, ContextModel
from baselines.context_gs.params import SPECS, ContextGsParams
from hemgs.anchor_codec.method import CodedAnchors
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.core.types import MethodSpec, Rate
from hemgs.training.schedule import scaled


class ContextGs(CodedAnchors[ContextGsParams, ContextModel]):
    """ContextGS; ``README.md`` in this folder lists source, licence and deviations."""

    spec: ClassVar[MethodSpec] = SPECS["ContextGs"]
    Params: ClassVar[type] = ContextGsParams
    codec = CODEC

    def blank(self, settings: ContextGsParams) -> ContextModel:
        return ContextModel(settings.entropy)

    def attributes(self, settings: ContextGsParams, entropy: ContextModel, rate: Rate) -> ContextAttributes:
        return ContextAttributes(
            entropy,
            BaseSteps.of(settings),
            settings.phases,
            max(1, scaled(settings.level_refresh, settings.iterations)),
            self.lmbda_of(rate),
            (settings.lr_latents, settings.lr_latents),
            (settings.lr_density, settings.lr_density_end),
        )
