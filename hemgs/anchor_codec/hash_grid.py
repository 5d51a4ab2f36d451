"""Binary multi-resolution hash grid: the scene-specific half of the hyperprior.

As in HAC (arXiv 2403.14530, section 4.1 and its released settings), there are a 3-D grid and three 2-D grids over the
planes. Each table entry is one sign. Signs are interpolated multilinearly and concatenated over levels. HAC leaves out
corners on the border of a level and renormalises the weights. Here these corners are used like all others, as in
integer arithmetic and in tiny-cuda-nn.

:class:`BinaryHashGrid` has two back ends: torch (everywhere) and tiny-cuda-nn (CUDA, where installed).
:func:`fixed_features` is the exact integer evaluation for coding. All three share one table layout.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hemgs.anchor_codec.settings import HashGridSettings, Level
from hemgs.coding.fixed_point import ACTIVATION_BITS

#: Spatial hash of Instant-NGP (arXiv 2201.05989, section 3): coordinate times prime, combined by exclusive or.
PRIMES = (1, 2654435761, 805459861)
#: Fractional bits of an interpolation weight along one axis in the integer evaluation.
FRACTION_BITS = 8
#: Initial entries are uniform in +- this (HAC's released code).
INITIAL_RANGE = 1e-4


def rows_of(level: Level, vertex: Sequence[Tensor]) -> Tensor:
    """Return the rows of a level's integer vertices, one tensor an axis, in the common table, ``int64``."""
    return _rows(vertex, level.dense, level.resolution, level.entries, level.start)


def _rows(
    vertex: Sequence[Tensor], dense: bool, resolution: Tensor | int, entries: Tensor | int, start: Tensor | int
) -> Tensor:
    """Return the rows of integer vertices, one tensor an axis, in the common table; sizes broadcast."""
    if dense:
        row = torch.zeros_like(vertex[0])
        for coordinate in reversed(vertex):
            row = row * resolution + coordinate
        return row + start
    row = vertex[0] * PRIMES[0]
    for coordinate, prime in zip(vertex[1:], PRIMES[1:], strict=False):
        row = row ^ (coordinate * prime)
    return (row & (entries - 1)) + start  # a hashed level is as large as its cap, a power of two


class Sign(torch.autograd.Function):
    """Sign in {-1, +1}; the gradient passes where the input is in [-1, 1]."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return gradient * (values.abs() <= 1)


class _WeightedRows(torch.autograd.Function):
    """``sum over c of weights[n, L, c] * table[rows[n, L, c]]``, ``[n, L, F]``; differentiable in the table."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.num_entries = len(table)
        return (_gather(table, rows) * weights.unsqueeze(3)).sum(dim=2)

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        parts = (weights.unsqueeze(3) * gradient.unsqueeze(2)).flatten(0, 2)
        return gradient.new_zeros(ctx.num_entries, gradient.shape[2]).index_add_(0, rows.flatten(), parts), None, None


def _gather(table: Tensor, rows: Tensor) -> Tensor:
    """Return ``table[rows]``. CUDA starts a block for each short row, so four floats are gathered as one element."""
    if table.is_cuda and table.shape[1] == 4:
        return table.contiguous().view(torch.complex128).squeeze(1)[rows].unsqueeze(-1).view(table.dtype)
    return table.index_select(0, rows.flatten()).view(*rows.shape, -1)


class BinaryHashGrid(nn.Module):
    """Learned signs, queried at points of the unit cube.

    Args:
        settings: sizes.
    """

    def __init__(self, settings: HashGridSettings) -> None:
        super().__init__()
        self.settings = settings
        table = torch.empty(settings.num_entries, settings.features).uniform_(-INITIAL_RANGE, INITIAL_RANGE)
        self.table = nn.Parameter(table)
        self._cuda: _TinyCudaBackend | None = None

    def forward(self, points: Tensor) -> Tensor:
        """Return features ``[n, output_dim] float32`` of points ``[n, 3] float32`` in [0, 1]."""
        signs = Sign.apply(self.table)
        if points.is_cuda and tiny_cuda_available():
            if self._cuda is None:
                self._cuda = _TinyCudaBackend(self.settings)
            return self._cuda(signs, points)
        return interpolate(self.settings, signs, points)

    def signs(self) -> Tensor:
        """Return the coded form of the table, ``[num_entries, features] int8`` of -1 and +1."""
        return torch.where(self.table.detach() >= 0, 1, -1).to(torch.int8)

    def bits(self) -> Tensor:
        """Return the ideal code length of the signs, one probability per level; differentiable by :class:`Sign`."""
        parts = Sign.apply(self.table).split([level.entries for level in self.settings.levels])
        positive = (1 + torch.stack([part.mean() for part in parts])) / 2
        share = positive.clamp(1e-6, 1 - 1e-6)
        entropy = -(positive * share.log2() + (1 - positive) * (1 - share).log2())
        sizes = entropy.new_tensor([level.entries * self.settings.features for level in self.settings.levels])
        return (entropy * sizes).sum()


def interpolate(settings: HashGridSettings, signs: Tensor, points: Tensor) -> Tensor:
    """Multilinear interpolation in torch; shapes as in :meth:`BinaryHashGrid.forward`.

    Levels of one kind are looked up together, because a GPU's time depends on the number of operations, not on their
    size.
    """
    kinds, places = _kinds(settings, points.device)
    found = torch.cat([kind.interpolate(signs, points) for kind in kinds], dim=1)
    return found.index_select(1, places).flatten(1)


@dataclass(frozen=True)
class _Kind:
    """L levels with d axes each, all dense or all hashed.

    Attributes:
        dense: whether the levels are dense.
        axes: ``[L, d] int64``.
        resolution, entries, start: ``[L, 1] int64``.
        corners: ``[2^d, d] int64``.
    """

    dense: bool
    axes: Tensor
    resolution: Tensor
    entries: Tensor
    start: Tensor
    corners: Tensor

    @staticmethod
    def of(levels: Sequence[Level], device: torch.device) -> _Kind:
        sizes = torch.tensor([[level.resolution, level.entries, level.start] for level in levels], device=device)
        axes = torch.tensor([level.axes for level in levels], device=device)
        corners = torch.tensor(_corners(axes.shape[1]), device=device)
        resolution, entries, start = sizes[:, :, None].unbind(1)
        return _Kind(levels[0].dense, axes, resolution, entries, start, corners)

    def interpolate(self, signs: Tensor, points: Tensor) -> Tensor:
        """Return features ``[n, L, F]`` of points ``[n, 3]``."""
        position = points.clamp(0, 1)[:, self.axes] * (self.resolution - 2) + 0.5
        cell = position.floor()
        fraction = (position - cell).unsqueeze(2)
        weights = torch.where(self.corners > 0, fraction, 1 - fraction).prod(dim=3)
        vertex = cell.long().unsqueeze(2) + self.corners
        rows = _rows(vertex.unbind(3), self.dense, self.resolution, self.entries, self.start)
        found: Tensor = _WeightedRows.apply(signs, rows, weights)  # type: ignore[no-untyped-call]
        return found


@functools.lru_cache(maxsize=8)
def _kinds(settings: HashGridSettings, device: torch.device) -> tuple[list[_Kind], Tensor]:
    """Group levels by kind; return the groups, and each level's place in their concatenation, ``[levels] int64``."""
    same_kind: dict[tuple[int, bool], list[int]] = {}
    for number, level in enumerate(settings.levels):
        same_kind.setdefault((len(level.axes), level.dense), []).append(number)
    kinds = [_Kind.of([settings.levels[number] for number in numbers], device) for numbers in same_kind.values()]
    order = torch.tensor([number for numbers in same_kind.values() for number in numbers], device="cpu")
    return kinds, order.argsort().to(device)


def fixed_features(settings: HashGridSettings, signs: Tensor, coords: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Compute features in exact integer arithmetic.

    Args:
        signs: ``[num_entries, features] int8``.
        coords: ``[n, 3] int64`` lattice coordinates of anchors.
        low, high: ``[3] int64`` lattice bounds that map to 0 and 1; coordinates outside are clamped.

    Returns:
        ``[n, output_dim] float64`` integers with ``ACTIVATION_BITS`` fractional bits.
    """
    table = signs.to(torch.int64)
    outputs = []
    for level in settings.levels:
        total = torch.zeros(coords.shape[0], settings.features, dtype=torch.int64, device=coords.device)
        for row, weight in _fixed_corners(level, coords, low, high):
            total += table[row] * weight.unsqueeze(-1)
        surplus = FRACTION_BITS * len(level.axes) - ACTIVATION_BITS
        outputs.append((total + (1 << (surplus - 1))) >> surplus)
    return torch.cat(outputs, dim=1).double()


def used_rows(settings: HashGridSettings, coords: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return which rows of the table :func:`fixed_features` uses, ``[num_entries] bool``; arguments as there."""
    used = torch.zeros(settings.num_entries, dtype=torch.bool, device=coords.device)
    for level in settings.levels:
        for row, _ in _fixed_corners(level, coords, low, high):
            used[row] = True
    return used


def _fixed_corners(level: Level, coords: Tensor, low: Tensor, high: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for each corner of the anchors' cells rows of the table and integer weights, ``[n] int64`` each."""
    span = (high - low).clamp(min=1)
    relative = torch.minimum((coords - low).clamp(min=0), span)
    one, axes = 1 << FRACTION_BITS, list(level.axes)
    scaled = relative[:, axes] * ((level.resolution - 2) * one)
    position = torch.div(scaled, span[axes], rounding_mode="floor") + one // 2
    corner = position >> FRACTION_BITS
    fraction = position & (one - 1)
    for offsets in _corners(len(axes)):
        row = rows_of(level, [corner[:, a] + offset for a, offset in enumerate(offsets)])
        weight = torch.ones_like(fraction[:, 0])
        for a, offset in enumerate(offsets):
            weight = weight * (fraction[:, a] if offset else one - fraction[:, a])
        yield row, weight


def tiny_cuda_available() -> bool:
    """Return whether tiny-cuda-nn's torch binding can be imported."""
    return importlib.util.find_spec("tinycudann") is not None


class _TinyCudaBackend:
    """One single-level tiny-cuda-nn encoding per level, fed with our signs instead of its own parameters."""

    def __init__(self, settings: HashGridSettings) -> None:
        import tinycudann

        self.settings = settings
        self.encodings = [
            tinycudann.Encoding(
                len(level.axes),
                {
                    "otype": "HashGrid",
                    "n_levels": 1,
                    "n_features_per_level": settings.features,
                    "log2_hashmap_size": settings.log2_entries_3d if len(level.axes) == 3 else settings.log2_entries_2d,
                    "base_resolution": level.resolution,
                    "per_level_scale": 1.0,
                    "interpolation": "Linear",
                },
                dtype=torch.float32,
            )
            for level in settings.levels
        ]

    def __call__(self, signs: Tensor, points: Tensor) -> Tensor:
        outputs = []
        for level, encoding in zip(self.settings.levels, self.encodings, strict=True):
            # tiny-cuda-nn places a point at p * (R - 1) + 1/2; our place is p * (R - 2) + 1/2.
            scaled = points[:, level.axes].clamp(0, 1) * ((level.resolution - 2) / (level.resolution - 1))
            entries = signs[level.rows].reshape(-1)
            outputs.append(torch.func.functional_call(encoding, {"params": entries}, (scaled,)))
        return torch.cat(outputs, dim=1)


def _corners(dimensions: int) -> list[tuple[int, ...]]:
    """Return offsets of the 2^d corners of a cell, first axis fastest."""
    return [tuple(number >> axis & 1 for axis in range(dimensions)) for number in range(1 << dimensions)]
