"""Whether two models, checkpoints or decoded scenes are equal to the bit."""

from __future__ import annotations

import torch

from hemgs.core.bundle import Bundle
from hemgs.protocol import Renderable


def same(one: Bundle | Renderable, two: Bundle | Renderable) -> bool:
    """Compare names and values of all tensors."""
    left, right = ((each if isinstance(each, Bundle) else each.to_bundle()).tensors for each in (one, two))
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
