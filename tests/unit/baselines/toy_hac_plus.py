"""A small untrained HAC++ model with anchors that vary, for tests that need a bitstream and no training."""

from __future__ import annotations

from pathlib import Path

import torch

from baselines.hac_plus.codec import CODEC
from baselines.hac_plus.model import HacPlusModel
from baselines.hac_plus.params import HacPlusSettings
from hemgs.anchor_codec.settings import HashGridSettings, Storage
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.model import AnchorModel
from hemgs.coding.names import ADAPTIVE, OCTREE
from hemgs.core.types import SectionTable, TradeOff
from tests.unit.codec.toy_anchors import FEATURES, OFFSETS, VIEWPOINTS, toy_anchors

__all__ = ["CODEC", "SETTINGS", "STORAGE", "VIEWPOINTS", "encode_toy", "toy_anchors", "toy_model"]

#: Chunks of 3, 3 and 2 channels.
SETTINGS = HacPlusSettings(FEATURES, OFFSETS, HashGridSettings((6, 12, 25), (20, 40), 8, 8, 2), 24, 3, 10)
STORAGE = Storage(OCTREE, ADAPTIVE)


def toy_model(anchors: AnchorModel, settings: HacPlusSettings = SETTINGS) -> HacPlusModel:
    """A model that starts from the anchors' statistics and predicts something different everywhere."""
    torch.manual_seed(0)
    model = HacPlusModel(settings)
    torch.nn.init.uniform_(model.grid.table, -1, 1)
    with torch.no_grad():
        model.calibrate(anchors.coords, torch.cat(BaseSteps().divide(anchors.attributes()), dim=1))
    for network in model.networks():
        torch.nn.init.normal_(network.second.weight, std=0.2)
    return model


def encode_toy(path: Path, anchors: AnchorModel | None = None, model: HacPlusModel | None = None) -> SectionTable:
    """Writes a bitstream of the toy model, or of ``model``."""
    anchors = anchors or toy_anchors()
    return CODEC.encode(path, anchors, model or toy_model(anchors), BaseSteps(), TradeOff(0.002), VIEWPOINTS, STORAGE)
