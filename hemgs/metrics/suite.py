"""All quality columns of one pair of views, and the reason for each missing one.

Owns the loading of the metrics that ``hemgs.core.catalogue`` declares. Does not own the metrics, or the 8-bit rounding
of rendered views: its input is rounded.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.core.assets import MissingAssetError
from hemgs.core.catalogue import METRICS
from hemgs.metrics.metric import Metric


class MetricSuite:
    """Every metric of the catalogue on one device.

    Args:
        device: where to compute.

    Attributes:
        unavailable: fault and fix for each column that this machine cannot compute.

    Raises:
        AssetError: a weight file is altered. (If a weight file is absent, its column is unavailable.)
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._metrics: dict[str, Metric] = {}
        self.unavailable: dict[str, str] = {}
        for entry in dict.fromkeys(spec.entry for spec in METRICS.values()):
            try:
                self._metrics |= _load(entry, self._device)
            except MissingAssetError as fault:
                self.unavailable |= {spec.id: str(fault) for spec in METRICS.values() if spec.entry == entry}

    def measure(
        self,
        image: NDArray[np.uint8] | Tensor,
        target: NDArray[np.uint8] | Tensor,
        mask: NDArray[np.bool_] | None = None,
    ) -> dict[str, float | None]:
        """Measure every column for one view.

        Args:
            image, target: ``[H, W, 3] uint8``, the decoded view and the photograph.
            mask: ``[H, W] bool``, true for the pixels that are measured; ``None`` for all.

        Returns:
            Column → value; ``None`` exactly where the column is in :attr:`unavailable`. PSNR of equal images is
            ``inf``.

        Raises:
            ValueError: shapes differ or the images are not 8 bit.
        """
        pair = self._unit_range(image), self._unit_range(target)
        arguments = pair if mask is None else (*pair, torch.from_numpy(np.array(mask)).to(self._device))
        row: dict[str, float | None] = dict.fromkeys(METRICS)
        for spec in METRICS.values():
            if min(pair[0].shape[:2]) < spec.min_side:
                self.unavailable.setdefault(spec.id, f"a view is smaller than {spec.min_side} x {spec.min_side} pixels")
            elif spec.id in self._metrics:
                with torch.no_grad():
                    row[spec.id] = float(self._metrics[spec.id](*arguments))
        return row

    def _unit_range(self, image: NDArray[np.uint8] | Tensor) -> Tensor:
        pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        if pixels.dtype != torch.uint8:
            raise ValueError(f"expected uint8 pixels, found {pixels.dtype}")
        return pixels.to(self._device, torch.float32) / 255.0


def _load(entry: str, device: torch.device) -> Mapping[str, Metric]:
    module, _, function = entry.partition(":")
    metrics: Mapping[str, Metric] = getattr(importlib.import_module(module), function)(device)
    return metrics
