"""The attributes of a set of anchors as one value, in the form that heads and codecs use."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class AnchorAttributes:
    """Attributes of M anchors, decoded or being trained.

    Attributes:
        features: ``[M, D] float32``.
        scalings: ``[M, 6] float32``, positive, world units. The first three scale the offsets, the last three the
            spawned Gaussians. They are the exponentials of the values that training changes.
        offsets: ``[M, K, 3] float32``, in units of the first three scalings.
        masks: ``[M, K] float32`` of zeros and ones (with straight-through gradients while training), or ``None``
            where no offset is masked.
        masks_scale: whether masks multiply scales as well as opacities, and only those of Gaussians already chosen by
            their unmasked opacities (HAC++, arXiv 2501.12255, released code). For training only: a masked Gaussian
            still exists, but is invisible.
    """

    features: Tensor
    scalings: Tensor
    offsets: Tensor
    masks: Tensor | None = None
    masks_scale: bool = False

    @property
    def num_anchors(self) -> int:
        return int(self.features.shape[0])

    def select(self, indices: Tensor) -> AnchorAttributes:
        """Return the rows ``indices`` (``[P] int64``)."""
        masks = None if self.masks is None else self.masks.index_select(0, indices)
        return replace(
            self,
            features=self.features.index_select(0, indices),
            scalings=self.scalings.index_select(0, indices),
            offsets=self.offsets.index_select(0, indices),
            masks=masks,
        )

    def to(self, device: torch.device | str) -> AnchorAttributes:
        """Return the same attributes on another device."""
        masks = None if self.masks is None else self.masks.to(device)
        return replace(
            self,
            features=self.features.to(device),
            scalings=self.scalings.to(device),
            offsets=self.offsets.to(device),
            masks=masks,
        )
