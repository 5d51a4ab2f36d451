"""Properties that follow from an anchor set's locations: features of the frozen network, neighbours, order of coding.

They are equal for encoder, decoder and training, and are computed once per anchor set: sixteen rates share them.

Owns the combination of these parts. Does not own any of them (``hemgs.pointnet``, ``neighbours``, ``context``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.codec.context import ContextTable
from hemgs.codec.neighbours import Neighbours, Waves, find_neighbours, wavefronts
from hemgs.codec.settings import ContextWindow, EntropySettings
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.pointnet.features import scene_agnostic_features


@dataclass(frozen=True)
class AnchorSet:
    """N anchors in raster order.

    Attributes:
        coords: ``[N, 3] int64`` stored locations.
        scene_agnostic: ``[N, A] float64`` integers with ``ACTIVATION_BITS`` fractional bits, or ``None``.
        table: neighbours, or ``None`` without an autoregressive network.
        waves: order of coding; one wave in raster order without an autoregressive network.
        figures: numbers of anchors, neighbours and waves, for tables.
    """

    coords: Tensor
    scene_agnostic: Tensor | None
    table: ContextTable | None
    waves: Waves
    figures: Mapping[str, float]

    @functools.cached_property
    def scene_agnostic_float(self) -> Tensor | None:
        """The scene-agnostic features ``[N, A] float32``, for training."""
        return None if self.scene_agnostic is None else (self.scene_agnostic / (1 << ACTIVATION_BITS)).float()


def anchor_set(coords: NDArray[np.int64], settings: EntropySettings, device: torch.device | str = "cpu") -> AnchorSet:
    """Compute all properties that follow from locations; keep the last result for a further call with the same set.

    Args:
        coords: ``[N, 3] int64`` stored locations in raster order.
        settings: settings of the entropy model.
        device: device of the networks.

    Raises:
        AssetError: the frozen network's weights are missing or altered.
        ConfigError: there are more neighbours than :func:`find_neighbours` allows.
        ValueError: locations are not in raster order.
    """
    networks = (settings.scene_agnostic, settings.window if settings.has_context else None)
    return _anchor_set(np.ascontiguousarray(coords).tobytes(), *networks, str(device))


@functools.lru_cache(maxsize=1)
def _anchor_set(data: bytes, asset: str, window: ContextWindow | None, device: str) -> AnchorSet:
    coords = np.frombuffer(data, np.int64).reshape(-1, 3)
    scene_agnostic = scene_agnostic_features(coords, asset, device) if asset else None
    points = torch.from_numpy(coords.copy()).to(device)
    figures: dict[str, float] = {"num_anchors": len(coords)}
    if window is None:
        return AnchorSet(points, scene_agnostic, None, _one_wave(len(coords)), figures)
    neighbours = find_neighbours(coords, window)
    waves = wavefronts(neighbours)
    table = ContextTable(points, neighbours, window, device)
    return AnchorSet(points, scene_agnostic, table, waves, figures | _context_figures(neighbours, waves))


def _one_wave(num: int) -> Waves:
    return Waves(np.arange(num, dtype=np.int64), np.array([0, num], dtype=np.int64))


def _context_figures(neighbours: Neighbours, waves: Waves) -> dict[str, float]:
    within = neighbours.num_in_window
    return {
        "context_mean": neighbours.mean_count,
        "context_max": neighbours.max_count,
        "context_mean_in_window": float(within.mean()) if len(within) else 0.0,
        "context_max_in_window": float(within.max(initial=0)),
        "num_wavefronts": len(waves.starts) - 1,
    }
