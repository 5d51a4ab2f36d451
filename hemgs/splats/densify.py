"""Adaptive density control of 3DGS (arXiv 2308.04079, section 5.2): clone, split, prune, reset opacities.

Works on rows named ``means``, ``log_scales``, ``quats`` and whatever else a method keeps per Gaussian, which is
copied. Owns the rules; when they are applied is the trainer's business, optimiser state is that of the rows.

Rows are any object with ``names``, item access, ``append`` and ``keep``: ``hemgs.training.rows.RowParameters``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

#: A split Gaussian's two children are this much smaller (3DGS, released code: 0.8 times their number).
SPLIT_SHRINK = 1.6
_NUM_CHILDREN = 2
#: Opacities are lowered to this at a reset (same source).
RESET_OPACITY = 0.01


class Rows(Protocol):
    """The part of ``RowParameters`` that density control needs."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def num_rows(self) -> int: ...
    def __getitem__(self, name: str) -> Tensor: ...
    def append(self, rows: Mapping[str, Tensor]) -> None: ...
    def keep(self, mask: Tensor) -> None: ...
    def replace(self, name: str, tensor: Tensor) -> None: ...


@dataclass(frozen=True)
class DensitySettings:
    """Thresholds of density control; defaults are those of 3DGS's released code.

    Attributes:
        gradient_threshold: mean norm of the loss's gradient to a projected centre, in normalised device
            coordinates, from which a Gaussian is cloned or split.
        dense_fraction: of the scene's extent; Gaussians up to this size are cloned, larger ones split.
        min_opacity: more transparent Gaussians are removed.
        large_fraction: of the scene's extent; larger Gaussians are removed once large ones are pruned at all.
        max_gaussians: upper limit of their number, 0 for none (as published). Near the limit those with the largest
            gradients grow first.
    """

    gradient_threshold: float = 2e-4
    dense_fraction: float = 0.01
    min_opacity: float = 0.005
    large_fraction: float = 0.1
    max_gaussians: int = 0


class GradientStatistics:
    """Mean gradient norm of each Gaussian over the views that saw it since the last growth."""

    def __init__(self, num_rows: int, device: torch.device) -> None:
        self.total = torch.zeros(num_rows, device=device)
        self.visits = torch.zeros(num_rows, device=device)

    def add(self, norms: Tensor, visible: Tensor) -> None:
        """Takes one view: ``norms`` ``[N] float32`` and ``visible`` ``[N] bool``."""
        self.total += torch.where(visible, norms, 0.0)
        self.visits += visible

    def mean(self) -> Tensor:
        """``[N] float32``; 0 for what was never seen."""
        return self.total / self.visits.clamp(min=1.0)


def grow(rows: Rows, gradients: Tensor, settings: DensitySettings, extent: float) -> tuple[int, int]:
    """Clones small and splits large Gaussians whose mean gradient ``[N]`` reaches the threshold.

    A clone lies where its original lies. A split Gaussian gives way to two drawn from it (torch's global generator),
    :data:`SPLIT_SHRINK` times smaller. New rows are at the end: clones first, then children.

    Returns:
        Numbers of cloned and of split Gaussians.
    """
    chosen = _within_limit(gradients >= settings.gradient_threshold, gradients, settings.max_gaussians)
    scales = rows["log_scales"].detach().exp()
    large = scales.amax(dim=1) > settings.dense_fraction * extent
    clone, split = chosen & ~large, chosen & large
    clones = {name: rows[name].detach()[clone] for name in rows.names}
    children = {name: _repeated(rows[name].detach()[split]) for name in rows.names}
    spread = torch.randn_like(children["means"]) * _repeated(scales[split])
    children["means"] = children["means"] + rotated(children["quats"], spread)
    children["log_scales"] = children["log_scales"] - math.log(SPLIT_SHRINK)
    num_cloned, num_split = int(clone.sum()), int(split.sum())
    if num_cloned + num_split == 0:
        return 0, 0
    rows.append({name: torch.cat([clones[name], children[name]]) for name in rows.names})
    if num_split:
        rows.keep(torch.cat([~split, split.new_ones(num_cloned + _NUM_CHILDREN * num_split)]))
    return num_cloned, num_split


def prune(rows: Rows, opacities: Tensor, settings: DensitySettings, extent: float, large: bool) -> int:
    """Removes transparent Gaussians and, if ``large``, those too big for the scene.

    Args:
        opacities: ``[N]`` in [0, 1].

    Returns:
        Number removed.

    Raises:
        TrainingError: none would be left.
    """
    gone = opacities < settings.min_opacity
    if large:
        gone = gone | (rows["log_scales"].detach().amax(dim=1) > math.log(settings.large_fraction * extent))
    num_gone = int(gone.sum())
    if num_gone:
        rows.keep(~gone)
    return num_gone


def reset_opacities(rows: Rows, name: str = "opacity_logits") -> None:
    """Lowers every opacity to at most :data:`RESET_OPACITY`; what stays needed becomes opaque again."""
    rows.replace(name, rows[name].detach().clamp(max=math.log(RESET_OPACITY / (1.0 - RESET_OPACITY))))


def rotated(quats: Tensor, vectors: Tensor) -> Tensor:
    """``vectors`` ``[N, 3]`` turned by ``quats`` ``[N, 4]`` (real part first, any length but 0)."""
    unit = torch.nn.functional.normalize(quats, dim=1)
    real, imaginary = unit[:, :1], unit[:, 1:]
    once = torch.linalg.cross(imaginary, vectors, dim=1)
    turned: Tensor = vectors + 2.0 * (real * once + torch.linalg.cross(imaginary, once, dim=1))
    return turned


def _within_limit(chosen: Tensor, gradients: Tensor, max_gaussians: int) -> Tensor:
    """``chosen``, thinned to what may still be added; each choice adds one Gaussian net."""
    if max_gaussians == 0:
        return chosen
    room = max(max_gaussians - len(chosen), 0)
    if int(chosen.sum()) <= room:
        return chosen
    order = torch.argsort(torch.where(chosen, gradients, -1.0), descending=True, stable=True)
    kept = torch.zeros_like(chosen)
    kept[order[:room]] = True
    return kept & chosen


def _repeated(tensor: Tensor) -> Tensor:
    return tensor.repeat(_NUM_CHILDREN, *(1,) * (tensor.dim() - 1))
