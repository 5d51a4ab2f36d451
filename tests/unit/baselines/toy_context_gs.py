"""A small untrained ContextGS model with anchors that vary, for tests that need a bitstream and no training."""

from __future__ import annotations

from pathlib import Path

import torch

from baselines.context_gs.codec import CODEC
from baselines.context_gs.model import ContextModel
from baselines.context_gs.params import ContextSettings
from baselines.shared.predictor import AnchorPredictor
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.model import AnchorModel
from hemgs.core.types import SectionTable, TradeOff
from tests.unit.codec.toy_anchors import FEATURES, OFFSETS, VIEWPOINTS
from tests.unit.codec.toy_anchors import toy_anchors as plain_anchors

__all__ = ["CODEC", "SETTINGS", "VIEWPOINTS", "encode_toy", "toy_anchors", "toy_model"]

LATENTS = 5
SETTINGS = ContextSettings(FEATURES, OFFSETS, 24, latent_dim=LATENTS)


def toy_anchors(num: int = 400, seed: int = 0, extent: int = 60) -> AnchorModel:
    """The common toy anchors, with latents of different spread in each channel."""
    plain = plain_anchors(num, seed, extent)
    latents = torch.randn(plain.num_anchors, LATENTS) * torch.tensor([0.2, 0.5, 1.0, 3.0, 10.0])
    rows = {name: getattr(plain, name).detach() for name in plain.row_names}
    return AnchorModel(plain.coords, plain.voxel_size, plain.heads, {**rows, "latents": latents})


def toy_model(anchors: AnchorModel, settings: ContextSettings = SETTINGS) -> ContextModel:
    """A model that starts from the anchors' statistics and predicts something different everywhere."""
    torch.manual_seed(0)
    model = ContextModel(settings)
    with torch.no_grad():
        model.calibrate(anchors.coords, torch.cat(BaseSteps().divide(anchors.attributes()), dim=1))
    for predictor in model.predictors:
        assert isinstance(predictor, AnchorPredictor)
        torch.nn.init.normal_(predictor.second.weight, std=0.1)
    return model


def encode_toy(path: Path, anchors: AnchorModel | None = None, model: ContextModel | None = None) -> SectionTable:
    """Writes a bitstream of the toy model, or of ``model``."""
    anchors = anchors or toy_anchors()
    return CODEC.encode(path, anchors, model or toy_model(anchors), BaseSteps(), TradeOff(0.002), VIEWPOINTS)
