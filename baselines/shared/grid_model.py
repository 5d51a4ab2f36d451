"""A hash grid under one network that predicts all of an anchor's scalars: the common part of HAC and HAC++.

Owns the grid and the network behind it, their start and their training. Does not own the price or the coding of
attributes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.shared.predictor import AnchorPredictor
from hemgs.anchor_codec.hash_grid import BinaryHashGrid
from hemgs.anchor_codec.location_grid import fit_bounds, unit_points
from hemgs.anchor_codec.networks import Mlp
from hemgs.anchor_codec.phases import PhasedAttributes
from hemgs.anchor_codec.settings import GridPhaseSettings, HashGridSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.model import AnchorModel
from hemgs.training.networks import ParameterGroup


class GridModel(nn.Module):
    """Hash grid and the network behind it.

    Args:
        grid: sizes of the grid.
        hidden, feature_dim, num_offsets, further: sizes of the network (:class:`AnchorPredictor`).

    Attributes:
        low, high: ``[3] int64`` lattice bounds of the hash grid.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, grid: HashGridSettings, hidden: int, feature_dim: int, num_offsets: int, further: int = 0
    ) -> None:
        super().__init__()
        self.grid = BinaryHashGrid(grid)
        self.predictor = AnchorPredictor(grid.output_dim, hidden, feature_dim, num_offsets, further)
        self.register_buffer("low", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("high", torch.ones(3, dtype=torch.int64))

    @torch.no_grad()
    def calibrate(self, coords: Tensor, values: Tensor) -> None:
        """Start bounds and distributions.

        Args:
            coords: ``[n, 3] int64`` lattice coordinates of anchors.
            values: ``[n, C]`` their attributes in base steps.
        """
        fit_bounds(coords, self.low, self.high)
        self.predictor.calibrate(values)

    def outputs(self, coords: Tensor) -> Tensor:
        """Return the network's outputs for anchors at ``coords`` (``[n, 3] int64``)."""
        outputs: Tensor = self.predictor(self.grid(unit_points(coords, self.low, self.high)))
        return outputs

    def networks(self) -> list[Mlp]:
        """See :class:`hemgs.anchor_codec.phases.CodecModel`."""
        return [self.predictor]

    def side_bits(self) -> Tensor:
        """Return the code length of the hash grid; see :class:`hemgs.anchor_codec.phases.CodecModel`."""
        return self.grid.bits()


class GridAttributes(PhasedAttributes):
    """The part in training of a codec with a :class:`GridModel`.

    Args:
        entropy: the model to train.
        base_steps: steps before prediction.
        settings: the plan.
        lmbda: weight of the mean bits per scalar.
    """

    settings: GridPhaseSettings

    def __init__(self, entropy: GridModel, base_steps: BaseSteps, settings: GridPhaseSettings, lmbda: float) -> None:
        super().__init__(entropy, base_steps, settings)
        self.lmbda = lmbda

    def parameter_groups(self) -> list[ParameterGroup]:
        grid = ParameterGroup("hash_grid", list(self.entropy.grid.parameters()), *self.settings.grid_lr)
        return [grid, *super().parameter_groups()]

    @torch.no_grad()
    def calibrate(self, anchors: AnchorModel, kept: Tensor) -> None:
        values = torch.cat(self.base_steps.divide(anchors.attributes(kept)), dim=1)
        self.entropy.calibrate(anchors.coords[kept], values)
