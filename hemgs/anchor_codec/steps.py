"""Base quantisation steps, and attributes in units of them, which codecs of the HAC family predict and code."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hemgs.anchor_codec.params import CodecParams
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.params import SCALING_DIM

#: The entropy-coded attributes, in coding order.
ATTRIBUTES = ("features", "scalings", "offsets")


@dataclass(frozen=True)
class BaseSteps:
    """Quantisation steps before prediction (HAC, arXiv 2403.14530, released code).

    Attributes:
        features: step of feature channels.
        scalings: step of scalings, world units.
        offsets: step of offsets, in units of the scaling.
    """

    features: float = 1.0
    scalings: float = 0.001
    offsets: float = 0.2

    @staticmethod
    def of(settings: CodecParams) -> BaseSteps:
        """Return the steps of a method's settings."""
        return BaseSteps(settings.step_features, settings.step_scalings, settings.step_offsets)

    def of_attributes(self) -> dict[str, float]:
        """Return the steps by name, in coding order."""
        return dict(zip(ATTRIBUTES, (self.features, self.scalings, self.offsets), strict=True))

    def geometry(self, num_offsets: int, device: torch.device) -> Tensor:
        """Return the base steps of the channels of scalings and offsets, ``[6 + 3K] float32``."""
        steps = [self.scalings] * SCALING_DIM + [self.offsets] * (3 * num_offsets)
        return torch.tensor(steps, dtype=torch.float32, device=device)

    def divide(self, attributes: AnchorAttributes) -> tuple[Tensor, Tensor]:
        """Return features ``[M, D]`` and geometry ``[M, 6 + 3K]``, scalings first, in base steps; differentiable."""
        base = self.geometry(attributes.offsets.shape[1], attributes.features.device)
        geometry = torch.cat([attributes.scalings, attributes.offsets.flatten(1)], dim=1) / base
        return attributes.features / self.features, geometry

    def multiply(self, features: Tensor, geometry: Tensor, masks: Tensor) -> AnchorAttributes:
        """Invert :meth:`divide` for anchors with ``masks`` ``[M, K]``; scalings below zero become zero."""
        num_offsets = masks.shape[1]
        base = self.geometry(num_offsets, geometry.device)
        scalings, offsets = (geometry * base).split([SCALING_DIM, 3 * num_offsets], dim=1)
        return AnchorAttributes(
            features * self.features, scalings.clamp_min(0), offsets.view(-1, num_offsets, 3), masks
        )


def attribute_widths(feature_dim: int, num_offsets: int) -> dict[str, int]:
    """Return the channels of each attribute, in coding order."""
    return dict(zip(ATTRIBUTES, (feature_dim, SCALING_DIM, 3 * num_offsets), strict=True))
