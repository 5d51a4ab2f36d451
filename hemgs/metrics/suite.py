"""All quality columns of one pair of views, and the reasons for those that cannot be computed.

Owns which metric fills which column. Does not own the metrics, nor the 8-bit rounding of rendered views: it takes
the rounded views.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.core.assets import MissingAssetError, find_asset
from hemgs.core.errors import AssetError
from hemgs.metrics.lpips import MIN_SIDE, SqueezeLpips, load_state, vgg_distances
from hemgs.metrics.psnr import psnr
from hemgs.metrics.ssim import ssim

Metric = Callable[[Tensor, Tensor], Tensor]


class MetricSuite:
    """PSNR, SSIM and the three LPIPS variants on one device.

    Args:
        device: where to compute.

    Attributes:
        columns: the quality columns of ``points.csv``, in order.
        unavailable: for each column that this machine cannot compute, why and what to do.

    Raises:
        AssetError: a weight file is there but altered (one that is absent only makes its column unavailable).
    """

    columns: tuple[str, ...] = ("psnr", "ssim", "lpips_vgg_unit", "lpips_vgg", "lpips_squeeze")

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._metrics: dict[str, Metric] = {"psnr": psnr, "ssim": ssim}
        self.unavailable: dict[str, str] = {}
        try:
            self._metrics["lpips_vgg_unit"], self._metrics["lpips_vgg"] = vgg_distances(self._device)
        except AssetError as fault:
            self.unavailable.update(lpips_vgg_unit=str(fault), lpips_vgg=str(fault))
        try:
            paths = find_asset("lpips_squeeze_backbone"), find_asset("lpips_squeeze_heads")
            self._metrics["lpips_squeeze"] = SqueezeLpips(load_state(paths[0]), load_state(paths[1]), self._device)
        except MissingAssetError as fault:
            self.unavailable["lpips_squeeze"] = str(fault)

    def measure(self, image: NDArray[np.uint8] | Tensor, target: NDArray[np.uint8] | Tensor) -> dict[str, float | None]:
        """Every column for one view.

        Args:
            image, target: ``[H, W, 3] uint8``, the decoded view and the photograph.

        Returns:
            Column → value; ``None`` exactly where the column is in :attr:`unavailable`. PSNR of equal images is
            ``inf``.

        Raises:
            ValueError: shapes differ or the images are not 8 bit.
        """
        pair = self._unit_range(image), self._unit_range(target)
        skipped = set(self.unavailable)
        if min(pair[0].shape[:2]) < MIN_SIDE:
            for column in self.columns:
                if column.startswith("lpips"):
                    self.unavailable.setdefault(column, f"a view is smaller than {MIN_SIDE} x {MIN_SIDE} pixels")
                    skipped.add(column)
        with torch.no_grad():
            return {c: None if c in skipped else float(self._metrics[c](*pair)) for c in self.columns}

    def _unit_range(self, image: NDArray[np.uint8] | Tensor) -> Tensor:
        pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        if pixels.dtype != torch.uint8:
            raise ValueError(f"expected uint8 pixels, found {pixels.dtype}")
        return pixels.to(self._device, torch.float32) / 255.0
