"""Growing and pruning of anchors (Scaffold-GS, arXiv 2312.00109, section 3.3 and released code).

Owns the statistics and both decisions. Does not own the optimiser, whose rows must follow (``hemgs.training``), or the
iterations at which anchors grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hemgs.anchors.heads import SpawnedGaussians
from hemgs.anchors.model import AnchorModel, initial_rows
from hemgs.anchors.params import GrowthSettings
from hemgs.anchors.voxel import cell_coords, cell_keys, in_range

_NAMES = ("opacity_sum", "visits", "gradient_sum", "gradient_count")


@dataclass
class GrowthStatistics:
    """Statistics of each anchor and each of its offsets since they were last judged.

    Attributes:
        opacity_sum: ``[N] float32`` summed positive opacities over all views.
        visits: ``[N] float32`` number of views in which the anchor was in sight.
        gradient_sum: ``[N, K] float32`` summed norms of screen-position gradients, normalised device coordinates.
        gradient_count: ``[N, K] float32`` number of views in which the offset's Gaussian was on screen.
    """

    opacity_sum: Tensor
    visits: Tensor
    gradient_sum: Tensor
    gradient_count: Tensor

    @classmethod
    def zeros(cls, num_anchors: int, num_offsets: int, device: torch.device | str) -> GrowthStatistics:
        """Return statistics of anchors that no view has seen yet."""
        shapes = ((num_anchors,), (num_anchors,), (num_anchors, num_offsets), (num_anchors, num_offsets))
        return cls(*(torch.zeros(shape, device=device) for shape in shapes))

    @property
    def num_anchors(self) -> int:
        return int(self.visits.shape[0])

    @torch.no_grad()
    def record(self, visible: Tensor, spawned: SpawnedGaussians, on_screen: Tensor, gradient_norms: Tensor) -> None:
        """Add one view.

        Args:
            visible: ``[M] int64`` distinct rows of the anchors from which ``spawned`` came.
            spawned: the G Gaussians that were rendered.
            on_screen: ``[G] bool``.
            gradient_norms: ``[G] float32``.
        """
        num_offsets = self.gradient_sum.shape[1]
        self.opacity_sum.index_add_(0, visible, spawned.opacity_all.clamp_min(0.0).sum(dim=1))
        self.visits.index_add_(0, visible, torch.ones_like(visible, dtype=self.visits.dtype))
        slots = (visible[spawned.parent] * num_offsets + spawned.slot)[on_screen]
        self.gradient_sum.view(-1).index_add_(0, slots, gradient_norms[on_screen])
        self.gradient_count.view(-1).index_add_(0, slots, torch.ones_like(slots, dtype=self.visits.dtype))

    def append(self, num_anchors: int) -> None:
        """Append rows of new anchors."""
        new = GrowthStatistics.zeros(num_anchors, self.gradient_sum.shape[1], self.visits.device)
        for name in _NAMES:
            setattr(self, name, torch.cat([getattr(self, name), getattr(new, name)]))

    def keep(self, mask: Tensor) -> None:
        """Keep the anchors where ``mask`` (``[N] bool``) is true."""
        for name in _NAMES:
            setattr(self, name, getattr(self, name)[mask])

    def state(self) -> dict[str, Tensor]:
        """Return all tensors, for :meth:`restored`."""
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], device: torch.device | str) -> GrowthStatistics:
        """Build the statistics from the tensors of :meth:`state`."""
        return cls(*(tensors[name].to(device, copy=True) for name in _NAMES))


@dataclass(frozen=True)
class NewAnchors:
    """Anchors to add: ``coords`` ``[P, 3] int64`` and their rows by name."""

    coords: Tensor
    rows: dict[str, Tensor]

    @property
    def num_anchors(self) -> int:
        return int(self.coords.shape[0])


@torch.no_grad()
def grow(
    anchors: AnchorModel, statistics: GrowthStatistics, settings: GrowthSettings, generator: torch.Generator
) -> NewAnchors:
    """Propose new anchors where Gaussians have large screen gradients; reset the gradients of the judged offsets.

    Levels go from coarse cells to fine ones. A Gaussian proposes the cell of its centre if its mean gradient reaches
    the level's threshold, which is twice that of the level before. It does so with a probability of 1/2, 3/4 and 7/8 at
    the three levels. Cells that contain an anchor already are dropped, including new anchors of coarser levels. If
    the coarsest level finds nothing new, finer levels are left out. A new anchor has the greatest feature, channel by
    channel, of the parents that proposed it.

    Args:
        anchors: the model; not changed.
        statistics: those of its anchors; the gradients of judged offsets are set to zero.
        settings: thresholds and cell sizes.
        generator: a generator on the CPU, so that all devices draw the same numbers.
    """
    eligible = (statistics.gradient_count > 0.5 * settings.interval * settings.success).flatten()
    gradients = (statistics.gradient_sum / statistics.gradient_count.clamp_min(1.0)).flatten()
    centers = anchors.positions[:, None] + anchors.offsets * torch.exp(anchors.log_scalings[:, None, :3])
    centers = centers.view(-1, 3)
    coords = anchors.coords
    levels: list[tuple[Tensor, Tensor, Tensor]] = []
    for level, cell in enumerate(settings.cells):
        if level > 0 and not any(len(found) for found, _, _ in levels):
            break
        draw = torch.rand(len(gradients), generator=generator).to(gradients.device)
        proposes = eligible & (gradients >= settings.threshold * 2**level) & (draw > 0.5 ** (level + 1))
        source = torch.nonzero(proposes).squeeze(1)
        cells = torch.round(centers[source].to(torch.float64) / (anchors.voxel_size * cell))
        inside = in_range(cells * cell)
        source, cells = source[inside], cells[inside].to(torch.int64)
        keys, owner = torch.unique(cell_keys(cells), return_inverse=True)
        free = ~torch.isin(keys, cell_keys(torch.round(coords.to(torch.float64) / cell).to(torch.int64)))
        strength = _greatest(gradients[source][:, None], owner, len(keys)).squeeze(1)
        if settings.max_anchors:
            free = _strongest(free, strength, settings.max_anchors - len(coords))
        features = _greatest(anchors.features[source // anchors.num_offsets], owner, len(keys))[free]
        found = cell_coords(keys[free]) * cell
        log_scales = torch.full((len(found),), cell * anchors.voxel_size, device=coords.device).log()
        levels.append((found, features, log_scales))
        coords = torch.cat([coords, found])
    judged = eligible.view_as(statistics.gradient_count)
    statistics.gradient_sum[judged] = 0.0
    statistics.gradient_count[judged] = 0.0
    log_scales = torch.cat([part[2] for part in levels])
    rows = initial_rows(log_scales, anchors.feature_dim, anchors.num_offsets, anchors.latents.shape[1])
    rows["features"] = torch.cat([part[1] for part in levels])
    return NewAnchors(coords[anchors.num_anchors :], rows)


@torch.no_grad()
def prune(statistics: GrowthStatistics, settings: GrowthSettings) -> Tensor:
    """Return which anchors stay, ``[N] bool``: all except often seen, nearly transparent ones. Reset their sums."""
    judged = statistics.visits > settings.interval * settings.success
    transparent = statistics.opacity_sum < settings.min_opacity * statistics.visits
    statistics.opacity_sum[judged] = 0.0
    statistics.visits[judged] = 0.0
    return ~(judged & transparent)


def _greatest(values: Tensor, owner: Tensor, num_owners: int) -> Tensor:
    """Return the maximum of ``[P, C]`` rows per ``owner`` (``[P] int64`` in 0..num_owners-1, each at least once)."""
    result = values.new_full((num_owners, values.shape[1]), float("-inf"))
    return result.scatter_reduce_(0, owner[:, None].expand_as(values), values, "amax")


def _strongest(free: Tensor, strength: Tensor, room: int) -> Tensor:
    """Reduce ``free`` (``[P] bool``) to the ``room`` entries of greatest strength, ties by position."""
    order = torch.sort(torch.where(free, strength, -1.0), descending=True, stable=True).indices
    kept = torch.zeros_like(free)
    kept[order[: max(room, 0)]] = True
    return kept & free
