"""A small untrained HEMGS model with attributes that vary, for tests that need a bitstream and no training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from hemgs.anchor_codec.settings import AS_PUBLISHED, BYTE, HashGridSettings, Storage
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.model import AnchorModel
from hemgs.codec.bitstream import CODEC
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import LMBDA_INTERVAL
from hemgs.codec.settings import ContextWindow, EntropySettings
from hemgs.coding.names import ADAPTIVE, OCTREE
from hemgs.core.types import SectionTable, TradeOff

FEATURES, OFFSETS = 8, 4
#: Settings without networks over other anchors, as in the first golden file.
SETTINGS = EntropySettings(FEATURES, OFFSETS, HashGridSettings((6, 12, 25), (20, 40), 8, 8, 2), 16, 12, 16, 12, 8, 8)
#: Settings of the whole method, and with all additions of HEMGS+ to its entropy model.
WHOLE = replace(
    SETTINGS,
    scene_agnostic="pointnet2_bundled",
    feature_context=12,
    geometry_context=10,
    window=ContextWindow(25, 6, 4),
)
#: λ of tests that do not depend on it.
TRADE_OFF = TradeOff(0.002, LMBDA_INTERVAL)
VIEWPOINTS = torch.tensor([[1.0, 2.0, 3.0], [-1.5, 0.25, 4.0]])
PLUS = replace(WHOLE, feature_chunks=3, window=ContextWindow(25, 6, 4, "hashed"))
#: A large hash grid, so that few anchors do not need all of its signs.
SPARSE = replace(WHOLE, grid=HashGridSettings((6, 12, 25), (20, 40), 12, 11, 2), sparse_grid=True)
PLUS_STORAGE = Storage(OCTREE, ADAPTIVE, BYTE)


def toy_anchors(num: int = 400, seed: int = 0, extent: int = 200) -> AnchorModel:
    """``num`` anchors (about; duplicates are merged), some with all offsets masked."""
    torch.manual_seed(seed)
    coords = torch.unique(torch.randint(-extent, extent, (num, 3)), dim=0)
    coords = coords[torch.randperm(len(coords))]
    count = len(coords)
    smooth = torch.sin(coords.double() / 40).float()
    features = 3 * smooth @ torch.randn(3, FEATURES) + 0.5 * torch.randn(count, FEATURES)
    logits = torch.where(torch.rand(count, OFFSETS) < 0.3, -9.0, 1.0)
    logits[:20] = -9.0
    rows = {
        "features": features,
        "log_scalings": 0.5 * torch.randn(count, 6) - 3,
        "offsets": torch.randn(count, OFFSETS, 3),
        "mask_logits": logits,
    }
    return AnchorModel(coords, 0.05, AnchorHeads(FEATURES, OFFSETS), rows)


def toy_entropy(anchors: AnchorModel, seed: int = 0, settings: EntropySettings = WHOLE) -> EntropyModel:
    """An entropy model that starts from the anchors' statistics and predicts something different everywhere."""
    torch.manual_seed(seed)
    entropy = EntropyModel(settings)
    torch.nn.init.uniform_(entropy.grid.table, -1, 1)
    with torch.no_grad():
        entropy.set_bounds(anchors.coords)
        steps = BaseSteps()
        entropy.features.calibrate(anchors.features / steps.features)
        geometry = torch.cat([anchors.log_scalings.exp(), anchors.offsets.flatten(1)], dim=1)
        entropy.geometry.calibrate(geometry / steps.geometry(OFFSETS, geometry.device))
    for network in entropy.networks():
        torch.nn.init.normal_(network.second.weight, std=0.1)
    for group in (entropy.features, entropy.geometry):
        if group.autoregressive is not None:
            torch.nn.init.normal_(group.autoregressive.empty)
            torch.nn.init.normal_(group.autoregressive.gain, std=0.5)
    return entropy


def shaken(entropy: EntropyModel) -> EntropyModel:
    """The same model with networks between chunks of channels that correct what they see."""
    torch.manual_seed(3)
    for group in (entropy.features, entropy.geometry):
        for network in [] if group.channel_context is None else group.channel_context.mlps():
            torch.nn.init.normal_(network.second.weight, std=0.3)
    return entropy


def encode_toy(
    path: Path,
    lmbda: float = 0.002,
    anchors: AnchorModel | None = None,
    settings: EntropySettings = WHOLE,
    storage: Storage = AS_PUBLISHED,
) -> SectionTable:
    """Writes a bitstream of the toy model."""
    anchors = anchors or toy_anchors()
    entropy = shaken(toy_entropy(anchors, settings=settings))
    return CODEC.encode(path, anchors, entropy, BaseSteps(), TradeOff(lmbda, LMBDA_INTERVAL), VIEWPOINTS, storage)
