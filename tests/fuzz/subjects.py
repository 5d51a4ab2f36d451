"""The intact bitstreams that are altered by default.

There are one or more small ones of every method. One more contains so many anchors that quadratic growth of time or
memory is visible.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from baselines.gs3d.codec import encode_cloud
from baselines.scaffold_gs.codec import encode_anchors
from hemgs.anchor_codec.settings import HashGridSettings, Storage
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.codec.bitstream import CODEC
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import LMBDA_INTERVAL
from hemgs.codec.settings import HASHED, ContextWindow, EntropySettings
from hemgs.coding.names import OCTREE
from hemgs.core.types import TradeOff
from hemgs.splats.cloud import GaussianCloud
from tests.speed.neighbours import surface_anchors

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
_NUM = 40
#: Anchors of a file in which what grows with the square of their number is seen.
_MANY = 20_000


def write_subjects(folder: Path) -> list[Path]:
    """Writes them into a folder; the same bytes each time."""
    for method in ("context_gs", "hac", "hac_plus", "hemgs"):
        for path in sorted(GOLDEN.glob(f"version_*/{method}/*.gsc")):
            shutil.copy(path, folder / f"{method}_{path.parts[-3]}_{path.name}")
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    cloud = GaussianCloud(random(_NUM, 3), random(_NUM, 3), random(_NUM, 4), random(_NUM), random(_NUM, 4, 3))
    encode_cloud(cloud, folder / "gs3d.gsc")
    heads = AnchorHeads(6, 2)
    heads.load_state_dict({name: random(*tensor.shape) for name, tensor in heads.state_dict().items()})
    attributes = AnchorAttributes(random(_NUM, 6), random(_NUM, 6).abs(), random(_NUM, 2, 3))
    encode_anchors(FixedAnchors(random(_NUM, 3), attributes, heads, random(3, 3)), folder / "scaffold_gs.gsc")
    _write_many(folder / "hemgs_many.gsc", generator)
    return sorted(folder.glob("*.gsc"))


def _write_many(path: Path, generator: torch.Generator) -> None:
    """A small HEMGS file with neighbours, which decodes in a quarter of a second."""
    feature_dim, num_offsets, window = 4, 1, ContextWindow(order=HASHED)
    grid = HashGridSettings((6, 12), (20,), 8, 8, 2)
    coords = torch.from_numpy(surface_anchors(_MANY))
    num = len(coords)
    rows = {
        "features": torch.randn(num, feature_dim, generator=generator),
        "log_scalings": 0.5 * torch.randn(num, 6, generator=generator) - 4,
        "offsets": torch.randn(num, num_offsets, 3, generator=generator),
        "mask_logits": torch.ones(num, num_offsets),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        anchors = AnchorModel(coords, 0.01, AnchorHeads(feature_dim, num_offsets), rows)
        sizes = EntropySettings(feature_dim, num_offsets, grid, 8, 8, 8, 8, 4, 4, 1.0, "", 4, 4, window=window)
        entropy = EntropyModel(sizes)
    entropy.set_bounds(coords)
    trade_off = TradeOff(0.002, LMBDA_INTERVAL)
    CODEC.encode(path, anchors, entropy, BaseSteps(), trade_off, torch.zeros(1, 3), Storage(OCTREE))
