"""Adaptive density control of 3DGS (arXiv 2308.04079, section 5.2): clone, split, prune, reset opacities.

The functions change rows named ``means`` and ``log_scales``, and copy all other values that a method stores per
Gaussian. A method may store Gaussians in a form of its own, so a cloud with one Gaussian per row gives their places and
their look. Owns the rules and their statistics. Does not own when the rules are applied (``schedule``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.params import SplatParams
from hemgs.training.rows import RowParameters

#: The scales of a split Gaussian are divided by this for its two children (3DGS, released code: 0.8 times the number of
#: children).
SPLIT_SHRINK = 1.6
_NUM_CHILDREN = 2
#: Opacities are lowered to this at a reset (same source).
RESET_OPACITY = 0.01
_GRADIENTS, _VISITS = "gradients", "visits"


class GradientStatistics:
    """Mean gradient norm of each Gaussian over the views that saw it since the last growth.

    The sums are buffers of the rows: they follow the rows and are saved with them.
    """

    def __init__(self, rows: RowParameters) -> None:
        self._rows = rows
        self.reset()

    def reset(self) -> None:
        """Set sums and counts to zero."""
        zeros = torch.zeros(self._rows.num_rows, device=self._rows.device)
        self._rows.buffers |= {_GRADIENTS: zeros, _VISITS: zeros.clone()}

    def add(self, norms: Tensor, visible: Tensor) -> None:
        """Add the gradient norms of one view: ``norms`` ``[N] float32`` and ``visible`` ``[N] bool``."""
        self._rows.buffers[_GRADIENTS] += torch.where(visible, norms, 0.0)
        self._rows.buffers[_VISITS] += visible

    def mean(self) -> Tensor:
        """Return mean norms, ``[N] float32``; 0 for Gaussians that no view saw."""
        return self._rows.buffers[_GRADIENTS] / self._rows.buffers[_VISITS].clamp(min=1.0)


def grow(
    rows: RowParameters,
    cloud: GaussianCloud,
    gradients: Tensor,
    settings: SplatParams,
    extent: float,
    stored_means: Callable[[Tensor], Tensor] = lambda means: means,
) -> tuple[int, int]:
    """Clone small and split large Gaussians whose mean gradient ``[N]`` reaches the threshold.

    A clone has the place of its original. Two children replace a split Gaussian; their places are drawn from it by
    torch's global generator, and their scales are divided by :data:`SPLIT_SHRINK`. New rows are at the end: clones
    first, then children.

    Args:
        rows: the N rows; ``log_scales`` among them are logarithms.
        cloud: the Gaussians of these rows, without gradients.
        gradients: ``[N] float32``; see :class:`GradientStatistics`.
        settings: thresholds.
        extent: of the scene, world units.
        stored_means: converts world coordinates ``[M, 3]`` to values of the rows ``means``.

    Returns:
        Numbers of cloned and of split Gaussians.
    """
    chosen = _within_limit(gradients >= settings.gradient_threshold, gradients, settings.max_gaussians)
    scales = cloud.log_scales.exp()
    large = scales.amax(dim=1) > settings.dense_fraction * extent
    clone, split = chosen & ~large, chosen & large
    clones = {name: rows[name].detach()[clone] for name in rows.names}
    children = {name: _repeated(rows[name].detach()[split]) for name in rows.names}
    centers = _repeated(cloud.means[split])
    spread = torch.randn_like(centers) * _repeated(scales[split])
    children["means"] = stored_means(centers + rotated(_repeated(cloud.quats[split]), spread))
    children["log_scales"] = children["log_scales"] - math.log(SPLIT_SHRINK)
    num_cloned, num_split = int(clone.sum()), int(split.sum())
    if num_cloned + num_split == 0:
        return 0, 0
    rows.append({name: torch.cat([clones[name], children[name]]) for name in rows.names})
    if num_split:
        rows.keep(torch.cat([~split, split.new_ones(num_cloned + _NUM_CHILDREN * num_split)]))
    return num_cloned, num_split


def prune(
    rows: RowParameters,
    cloud: GaussianCloud,
    settings: SplatParams,
    extent: float,
    large: bool,
    others: Tensor | None = None,
) -> int:
    """Remove transparent Gaussians, those that are too large for the scene if ``large``, and ``others``.

    Args:
        rows: the N rows.
        cloud: the Gaussians of these rows, without gradients.
        settings: thresholds.
        extent: of the scene, world units.
        large: whether Gaussians that are too large are removed.
        others: ``[N] bool``, further rows to remove.

    Returns:
        Number of removed Gaussians.

    Raises:
        TrainingError: no Gaussian would be left.
    """
    gone = cloud.opacity_logits.sigmoid() < settings.min_opacity
    if large:
        gone = gone | (cloud.log_scales.amax(dim=1) > math.log(settings.large_fraction * extent))
    if others is not None:
        gone = gone | others
    num_gone = int(gone.sum())
    if num_gone:
        rows.keep(~gone)
    return num_gone


def lowered(opacity_logits: Tensor) -> Tensor:
    """Return logits of opacities lowered to :data:`RESET_OPACITY`; training raises those of Gaussians it needs."""
    return opacity_logits.detach().clamp(max=math.log(RESET_OPACITY / (1.0 - RESET_OPACITY)))


def rotated(quats: Tensor, vectors: Tensor) -> Tensor:
    """Rotate ``vectors`` ``[N, 3]`` by ``quats`` ``[N, 4]`` (real part first, any length but 0)."""
    unit = torch.nn.functional.normalize(quats, dim=1)
    real, imaginary = unit[:, :1], unit[:, 1:]
    once = torch.linalg.cross(imaginary, vectors, dim=1)
    turned: Tensor = vectors + 2.0 * (real * once + torch.linalg.cross(imaginary, once, dim=1))
    return turned


def _within_limit(chosen: Tensor, gradients: Tensor, max_gaussians: int) -> Tensor:
    """Return those of ``chosen`` that the limit still permits; each of them adds one Gaussian."""
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
