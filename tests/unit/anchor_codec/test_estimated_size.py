"""The size that a training reports: about that of the file, for all forms of the common sections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hemgs.anchor_codec.settings import BYTE
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.model import AnchorModel
from hemgs.codec.params import HemgsParams
from hemgs.codec.training import HemgsAttributes
from hemgs.coding.names import OCTREE
from tests.unit.codec.toy_anchors import FEATURES, OFFSETS, SETTINGS, encode_toy, toy_anchors, toy_entropy

#: Anchors are as dense as in scenes, so that an octree takes as many bits for each.
NUM, EXTENT = 1000, 38
#: Width of the rendering networks: wide, so that their stored form has a visible effect on the size.
HIDDEN = 64


def sizes(folder: Path, params: HemgsParams) -> tuple[int, int]:
    """Bytes that a training estimates, and bytes of the file, for the same anchors and bits of attributes."""
    plain = toy_anchors(NUM, extent=EXTENT)
    rows = {name: getattr(plain, name).detach() for name in plain.row_names}
    anchors = AnchorModel(plain.coords, plain.voxel_size, AnchorHeads(FEATURES, OFFSETS, HIDDEN), rows)
    table = encode_toy(folder / "toy.gsc", anchors=anchors, settings=SETTINGS, storage=params.storage)
    hook = HemgsAttributes(toy_entropy(anchors, settings=SETTINGS), BaseSteps(), params.simulation)
    bits = sum(table.estimated_bits.values()) / table.figures["num_anchors"]
    hook.restore({**hook.state(), "bits_per_anchor": torch.tensor(bits)})
    estimated = hook.estimated_bytes(anchors)
    assert estimated is not None
    return estimated, table.total_bytes


def test_estimate_follows_the_settings_of_storage(tmp_path: Path) -> None:
    estimated, written = sizes(tmp_path, HemgsParams())
    assert estimated == pytest.approx(written, rel=0.05)
    for params in (HemgsParams(location_codec=OCTREE), HemgsParams(head_bits=BYTE)):
        less_estimated, less_written = sizes(tmp_path, params)
        # Each setting makes a tenth of the file or more.
        assert written - less_written > 0.1 * written
        assert estimated - less_estimated == pytest.approx(written - less_written, rel=0.2)
