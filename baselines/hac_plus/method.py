"""HAC++ as a method of the benchmark: it connects anchor training, the entropy model and the codec."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from baselines.hac_plus.codec import CODEC
from baselines.hac_plus.model import HacPlusAttributes, HacPlusModel
from baselines.hac_plus.params import SPECS, HacPlusParams
from hemgs.anchor_codec.method import CodedAnchors
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.core.types import MethodSpec, Rate


class HacPlus(CodedAnchors[HacPlusParams, HacPlusModel]):
    """HAC++; ``README.md`` in this folder lists source, licence and deviations."""

    spec: ClassVar[MethodSpec] = SPECS["HacPlus"]
    Params: ClassVar[type] = HacPlusParams
    codec = CODEC

    def blank(self, settings: HacPlusParams) -> HacPlusModel:
        return HacPlusModel(settings.entropy)

    def for_rate(self, settings: HacPlusParams, rate: Rate) -> HacPlusParams:
        last = min(settings.lr_masks_end_per_lmbda * self.lmbda_of(rate), settings.lr_masks_end_most)
        return replace(settings, lr_masks_end=last)

    def attributes(self, settings: HacPlusParams, entropy: HacPlusModel, rate: Rate) -> HacPlusAttributes:
        context_lr = settings.lr_contexts, settings.lr_contexts_end
        return HacPlusAttributes(entropy, BaseSteps.of(settings), settings.phases, self.lmbda_of(rate), context_lr)
