"""The intact bitstreams that are altered when none are named: one or more of every method, as small as they get."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from baselines.gs3d.codec import encode_cloud
from baselines.scaffold_gs.codec import encode_anchors
from hemgs.anchors import AnchorAttributes, AnchorHeads
from hemgs.anchors.rendering import FixedAnchors
from hemgs.splats.cloud import GaussianCloud

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
_NUM = 40


def write_subjects(folder: Path) -> list[Path]:
    """Writes them into a folder; the same bytes each time."""
    for method in ("context_gs", "hac", "hac_plus", "hemgs"):
        for path in sorted((GOLDEN / method).glob("*.gsc")):
            shutil.copy(path, folder / f"{method}_{path.name}")
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    cloud = GaussianCloud(random(_NUM, 3), random(_NUM, 3), random(_NUM, 4), random(_NUM), random(_NUM, 4, 3))
    encode_cloud(cloud, folder / "gs3d.gsc")
    heads = AnchorHeads(6, 2)
    heads.load_state_dict({name: random(*tensor.shape) for name, tensor in heads.state_dict().items()})
    attributes = AnchorAttributes(random(_NUM, 6), random(_NUM, 6).abs(), random(_NUM, 2, 3))
    encode_anchors(FixedAnchors(random(_NUM, 3), attributes, heads, random(3, 3)), folder / "scaffold_gs.gsc")
    return sorted(folder.glob("*.gsc"))
