"""The part of a codec in anchor training: it supplies the attributes that are rendered, and their price.

Owns the interface and its plain form, which is Scaffold-GS without compression. Does not own any entropy model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.model import AnchorModel
from hemgs.training.networks import ParameterGroup

#: Bytes of a value that is not compressed.
FLOAT_BYTES = 4


@dataclass(frozen=True)
class LatentRows:
    """Values that a codec trains for each anchor in addition to its attributes. They start at zero.

    Attributes:
        dim: number of latents of an anchor.
        lr_start, lr_end: learning rates at the first and the last step, log-linear between.
    """

    dim: int
    lr_start: float
    lr_end: float


class AttributeModel:
    """Unchanged attributes without a price: plain Scaffold-GS. Codecs override the methods that they change.

    The trainer calls :meth:`start` once, before all other methods. Then it calls :meth:`sample` in each step, and
    :meth:`anchors_changed` after rows of the anchor model were added or removed.

    Attributes:
        latents: latents of the anchors; ``None`` if they have none.
    """

    latents: LatentRows | None = None

    def start(self, anchors: AnchorModel, extent: float) -> None:
        """Build the parts that depend on the initial anchors.

        Args:
            anchors: the initial anchors.
            extent: radius of the camera rig in world units (:attr:`hemgs.core.types.Scene.extent`).
        """

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the parameters of the model's own networks, which are trained with the heads."""
        return []

    def sample(
        self, iteration: int, anchors: AnchorModel, visible: Tensor
    ) -> tuple[AnchorAttributes, Tensor, dict[str, float]]:
        """Return attributes of the visible anchors for one training step.

        Args:
            iteration: the step, from 1.
            anchors: the anchor model; gradients flow into its rows.
            visible: ``[M] int64`` indices of the anchors that the camera may see.

        Returns:
            attributes of the M anchors; a scalar that is added to the rendering loss; figures for the progress line.
        """
        return anchors.attributes(visible), torch.zeros((), device=visible.device), {}

    def anchors_changed(self, anchors: AnchorModel) -> None:
        """Update the model after growing and pruning, and after a resumed training has restored its anchors."""

    def allows_growth(self, iteration: int) -> bool:
        """Return whether anchors may grow and be pruned after this step (from 1)."""
        return True

    def state(self) -> dict[str, Tensor]:
        """Return all that a resumed training needs, except for the parameters of :meth:`parameter_groups`."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the bundle of :meth:`state`; called after :meth:`start`."""

    def estimated_bytes(self, anchors: AnchorModel) -> int | None:
        """Estimate the size of a bitstream written now, or return ``None``; here the size of 32-bit values."""
        per_anchor = 3 + anchors.feature_dim + 6 + 3 * anchors.num_offsets
        networks = sum(parameter.numel() for parameter in anchors.heads.parameters())
        return FLOAT_BYTES * (anchors.num_anchors * per_anchor + networks)
