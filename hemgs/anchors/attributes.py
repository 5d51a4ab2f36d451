"""The attributes of a set of anchors as one value, in the form that spawning and coding use."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Scalars of an anchor's scaling: three for its offsets, three for its Gaussians.
SCALING_DIM = 6


@dataclass(frozen=True)
class AnchorAttributes:
    """Attributes of M anchors, decoded or being trained.

    Attributes:
        features: ``[M, D] float32``.
        scalings: ``[M, 6] float32``, positive, world units. The first three scale the offsets, the last three the
            spawned Gaussians. They are the exponentials of what :class:`~hemgs.anchors.model.AnchorModel` trains.
        offsets: ``[M, K, 3] float32``, in units of the first three scalings.
        masks: ``[M, K] float32`` of zeros and ones (with straight-through gradients while training), or ``None``
            where no offset is masked.
    """

    features: Tensor
    scalings: Tensor
    offsets: Tensor
    masks: Tensor | None = None

    @property
    def num_anchors(self) -> int:
        return int(self.features.shape[0])

    def select(self, indices: Tensor) -> AnchorAttributes:
        """The rows ``indices`` (``[P] int64``)."""
        masks = None if self.masks is None else self.masks.index_select(0, indices)
        return AnchorAttributes(
            self.features.index_select(0, indices),
            self.scalings.index_select(0, indices),
            self.offsets.index_select(0, indices),
            masks,
        )

    def to(self, device: torch.device | str) -> AnchorAttributes:
        """The same attributes on another device."""
        masks = None if self.masks is None else self.masks.to(device)
        return AnchorAttributes(self.features.to(device), self.scalings.to(device), self.offsets.to(device), masks)
