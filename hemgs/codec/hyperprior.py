"""What is known of an anchor before its attributes are decoded, as one feature (arXiv 2411.18473, section 3.3.2).

Owns the network that joins the scene-specific prior (hash grid) and the scene-agnostic one (frozen PointNet++) with
what was decoded before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hemgs.anchor_codec.networks import Mlp


class Hyperprior(Mlp):
    """Prior feature of an attribute group.

    Args:
        location_dim: width of what locations tell: hash-grid feature and scene-agnostic feature.
        previous_dim: channels of the attributes decoded before this group; 0 for the first.
        prior_dim: width of the prior feature.
    """

    def __init__(self, location_dim: int, previous_dim: int, prior_dim: int) -> None:
        super().__init__(location_dim + previous_dim, prior_dim, prior_dim)

    @staticmethod
    def inputs(locations: Tensor, previous: Tensor | None) -> Tensor:
        """The network's input, of floats or of fixed-point integers alike."""
        return locations if previous is None else torch.cat([locations, previous], dim=1)
