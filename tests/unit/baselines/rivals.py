"""Toys of all methods compared with that code anchors, for tests of what their bitstreams have in common."""

from __future__ import annotations

from types import ModuleType

import torch

from hemgs.anchors.rendering import FixedAnchors
from tests.unit.baselines import toy_context_gs, toy_hac, toy_hac_plus

RIVALS: dict[str, ModuleType] = {toy.CODEC.method: toy for toy in (toy_context_gs, toy_hac, toy_hac_plus)}
#: Sections by method, in the order of the file.
SECTIONS: dict[str, list[str]] = {
    "context_gs": ["settings", "locations", "masks", "networks", "hyper", "features", "scalings", "offsets"],
    "hac": ["settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"],
    "hac_plus": ["settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"],
}


def same(one: FixedAnchors, two: FixedAnchors) -> bool:
    """Whether decoded anchors are equal to the bit."""
    left, right = one.to_bundle().tensors, two.to_bundle().tensors
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
