"""A small untrained HAC model with anchors that vary, for tests that need a bitstream and no training."""

from __future__ import annotations

from pathlib import Path

import torch

from baselines.hac.codec import CODEC
from baselines.hac.model import HacModel
from baselines.hac.params import HacSettings
from hemgs.anchor_codec.settings import HashGridSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.model import AnchorModel
from hemgs.core.types import SectionTable, TradeOff
from tests.unit.codec.toy_anchors import FEATURES, OFFSETS, VIEWPOINTS, toy_anchors

__all__ = ["CODEC", "SETTINGS", "VIEWPOINTS", "encode_toy", "toy_anchors", "toy_model"]

SETTINGS = HacSettings(FEATURES, OFFSETS, HashGridSettings((6, 12, 25), (20, 40), 8, 8, 2), 24)


def toy_model(anchors: AnchorModel, settings: HacSettings = SETTINGS) -> HacModel:
    """A model that starts from the anchors' statistics and predicts something different everywhere."""
    torch.manual_seed(0)
    model = HacModel(settings)
    torch.nn.init.uniform_(model.grid.table, -1, 1)
    with torch.no_grad():
        model.calibrate(anchors.coords, torch.cat(BaseSteps().divide(anchors.attributes()), dim=1))
    torch.nn.init.normal_(model.predictor.second.weight, std=0.2)
    return model


def encode_toy(path: Path, anchors: AnchorModel | None = None, model: HacModel | None = None) -> SectionTable:
    """Writes a bitstream of the toy model, or of ``model``."""
    anchors = anchors or toy_anchors()
    return CODEC.encode(path, anchors, model or toy_model(anchors), BaseSteps(), TradeOff(0.002), VIEWPOINTS)
