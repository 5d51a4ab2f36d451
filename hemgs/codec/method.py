"""HEMGS (arXiv 2411.18473) as a method of the benchmark: it connects training, entropy model and bitstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from hemgs.anchor_codec.method import CodedAnchors, filled, stored_model
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.codec.bitstream import CODEC
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import SPECS, HemgsParams
from hemgs.codec.refit import TrainedModel
from hemgs.codec.refit_training import refit
from hemgs.codec.training import HemgsAttributes
from hemgs.config.params import params_of
from hemgs.core.events import EventLog
from hemgs.core.records import Value
from hemgs.core.types import MethodSpec, Rate
from hemgs.protocol import Model, RefitTask, interval_of


class Hemgs(CodedAnchors[HemgsParams, EntropyModel]):
    """See :class:`hemgs.protocol.Method`."""

    spec: ClassVar[MethodSpec] = SPECS["Hemgs"]
    Params: ClassVar[type] = HemgsParams
    codec = CODEC

    def blank(self, settings: HemgsParams) -> EntropyModel:
        return EntropyModel(settings.entropy)

    def attributes(self, settings: HemgsParams, entropy: EntropyModel, rate: Rate) -> HemgsAttributes:
        return HemgsAttributes(entropy, BaseSteps.of(settings), settings.simulation)

    def trained(self, model: Model, params: Mapping[str, Any], device: torch.device) -> TrainedModel:
        """Build the parts that a refit needs; ``params`` are the settings of the variants' models.

        Older models have no networks over neighbours and locations, although such networks are the default now.
        """
        anchors, weights = stored_model(model, device)
        settings = params_of(HemgsParams, model.meta["params"])
        # Compared as they would be in integers: sizes of floats would compare weights with weights.
        own = replace(settings.entropy, float_networks=False)
        if not any("autoregressive" in name for name in weights):
            own = replace(own, feature_context=0, geometry_context=0)
        if weights["features.hyperprior.first.weight"].shape[1] == own.grid.output_dim:
            own = replace(own, scene_agnostic="")
        entropy = filled(lambda: EntropyModel(own), weights)
        whole = replace(params_of(HemgsParams, params).entropy, float_networks=False)
        interval = interval_of(self.spec, model)
        assert interval is not None
        return TrainedModel(anchors, entropy, BaseSteps.of(settings), whole, settings.location_codec, interval)

    def refit(
        self, model: Model, params: Mapping[str, Any], task: RefitTask, device: torch.device, events: EventLog
    ) -> list[dict[str, Value]]:
        """See :class:`hemgs.protocol.CanRefit`."""
        return refit(self.trained(model, params, device), task, device, events)


class HemgsSingleRate(Hemgs):
    """HEMGS with a training for each λ, for comparison with the variable-rate predictor (section 4.3)."""

    spec: ClassVar[MethodSpec] = SPECS["HemgsSingleRate"]

    def for_rate(self, settings: HemgsParams, rate: Rate) -> HemgsParams:
        return replace(settings, lmbdas=f"{self.lmbda_of(rate):.17g}")
