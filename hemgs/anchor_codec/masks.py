"""Learned binary masks of offsets (HAC, arXiv 2403.14530, section 4.3; Lee et al., arXiv 2311.13681) and anchors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: An offset is kept while the sigmoid of its logit exceeds this (HAC's released code).
THRESHOLD = 0.01
_LOGIT_THRESHOLD = math.log(THRESHOLD / (1 - THRESHOLD))


def keep_mask(logits: Tensor) -> Tensor:
    """Return which offsets are kept, ``bool``, of the shape of ``logits``."""
    return logits.detach() > _LOGIT_THRESHOLD


def binary_masks(logits: Tensor) -> Tensor:
    """Return zeros and ones, with the straight-through gradient of the sigmoid."""
    soft = torch.sigmoid(logits)
    return keep_mask(logits).to(soft.dtype) + (soft - soft.detach())


def anchor_masks(masks: Tensor) -> Tensor:
    """Return one where any of an anchor's offsets is kept, else zero, with the gradient of the mean of its masks.

    Args:
        masks: ``[n, K]``, from :func:`binary_masks`.

    Returns:
        ``[n, 1]``, of the type of ``masks``.
    """
    mean = masks.mean(dim=1, keepdim=True)
    return masks.detach().amax(dim=1, keepdim=True) + (mean - mean.detach())
