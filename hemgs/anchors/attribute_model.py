"""How a codec takes part in anchor training: it supplies the attributes that are rendered, and their price.

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

#: Bytes of a value that is stored as it is.
FLOAT_BYTES = 4


@dataclass(frozen=True)
class LatentRows:
    """Values that a codec trains for each anchor beside its attributes, from zero on.

    Attributes:
        dim: how many an anchor has.
        lr_start, lr_end: learning rates at the first and the last step, log-linear between.
    """

    dim: int
    lr_start: float
    lr_end: float


class AttributeModel:
    """Attributes as they are, at no cost: plain Scaffold-GS. Codecs override what they change.

    The trainer calls :meth:`start` once, before everything else; then :meth:`sample` in each step, and
    :meth:`anchors_changed` after rows of the anchor model were added or removed.

    Attributes:
        latents: what anchors get beside their attributes, if anything.
    """

    latents: LatentRows | None = None

    def start(self, anchors: AnchorModel, extent: float) -> None:
        """Builds whatever depends on the initial anchors.

        Args:
            anchors: the initial anchors.
            extent: radius of the camera rig in world units (:attr:`hemgs.core.types.Scene.extent`).
        """

    def parameter_groups(self) -> list[ParameterGroup]:
        """Parameters of the model's own networks, to be trained with the heads."""
        return []

    def sample(
        self, iteration: int, anchors: AnchorModel, visible: Tensor
    ) -> tuple[AnchorAttributes, Tensor, dict[str, float]]:
        """Attributes of the visible anchors for one training step.

        Args:
            iteration: the step, from 1.
            anchors: the anchor model; gradients flow into its rows.
            visible: ``[M] int64`` indices of the anchors that the camera may see.

        Returns:
            attributes of the M anchors; a scalar that is added to the rendering loss; figures for the progress line.
        """
        return anchors.attributes(visible), torch.zeros((), device=visible.device), {}

    def anchors_changed(self, anchors: AnchorModel) -> None:
        """Called after growing and pruning, and after a resumed training has restored its anchors."""

    def allows_growth(self, iteration: int) -> bool:
        """Whether anchors may grow and be pruned after this step (from 1)."""
        return True

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed training needs beside the parameters of :meth:`parameter_groups`."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what :meth:`state` gave; called after :meth:`start`."""

    def estimated_bytes(self, anchors: AnchorModel) -> int | None:
        """Estimated size of the bitstream if training stopped now; here that of 32-bit values, as they are.

        ``None`` where it is not known.
        """
        per_anchor = 3 + anchors.feature_dim + 6 + 3 * anchors.num_offsets
        networks = sum(parameter.numel() for parameter in anchors.heads.parameters())
        return FLOAT_BYTES * (anchors.num_anchors * per_anchor + networks)
