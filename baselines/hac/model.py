"""HAC's entropy model in float, and its part in training (arXiv 2403.14530, section 4).

Given a location, the hash grid and one network tell steps, means and scales of all of an anchor's scalars, which are
independent of each other and of all other anchors.

Owns the model and the price it puts on attributes. Does not own the phases of training (``hemgs.entropy.phases``) or
the integer form that codes (``codec``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from baselines.shared.predictor import AnchorPredictor
from hemgs.anchors import AnchorAttributes, AnchorModel, ParameterGroup
from hemgs.entropy.hashgrid import BinaryHashGrid, HashGridSettings
from hemgs.entropy.location_grid import fit_bounds, unit_points
from hemgs.entropy.phases import GridPhaseSettings, PhasedAttributes, Sample, geometry_present, with_noise
from hemgs.entropy.prediction import Prediction
from hemgs.entropy.steps import BaseSteps


@dataclass(frozen=True)
class HacSettings:
    """Sizes of the entropy model, stored in every bitstream.

    Attributes:
        feature_dim: D, channels of the anchor feature.
        num_offsets: K.
        hidden: width of the network's hidden layer.
        grid: the hash grid.
    """

    feature_dim: int = 50
    num_offsets: int = 10
    hidden: int = 100
    grid: HashGridSettings = field(default_factory=HashGridSettings)


class HacModel(nn.Module):
    """Hash grid and network.

    Attributes:
        low, high: ``[3] int64`` lattice bounds of the hash grid.
    """

    low: Tensor
    high: Tensor

    def __init__(self, settings: HacSettings) -> None:
        super().__init__()
        self.settings = settings
        self.grid = BinaryHashGrid(settings.grid)
        self.predictor = AnchorPredictor(
            settings.grid.output_dim, settings.hidden, settings.feature_dim, settings.num_offsets
        )
        self.register_buffer("low", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("high", torch.ones(3, dtype=torch.int64))

    @torch.no_grad()
    def calibrate(self, coords: Tensor, values: Tensor) -> None:
        """Starts bounds and distributions.

        Args:
            coords: ``[n, 3] int64`` lattice coordinates of anchors.
            values: ``[n, C]`` their attributes in base steps.
        """
        fit_bounds(coords, self.low, self.high)
        self.predictor.calibrate(values)

    def predict(self, coords: Tensor) -> Prediction:
        """Steps, means and scales of anchors at ``coords`` (``[n, 3] int64``)."""
        return self.predictor.predict(self.grid(unit_points(coords, self.low, self.high)))

    def networks(self) -> list[AnchorPredictor]:
        """See :class:`hemgs.entropy.phases.CodecModel`."""
        return [self.predictor]

    def side_bits(self) -> Tensor:
        """Code length of the hash grid; see :class:`hemgs.entropy.phases.CodecModel`."""
        return self.grid.bits()


class HacAttributes(PhasedAttributes):
    """The attribute model that makes Scaffold-GS training HAC training.

    Args:
        entropy: the model to train.
        base_steps: steps before prediction.
        settings: the plan.
        lmbda: weight of the mean bits per scalar.
    """

    settings: GridPhaseSettings

    def __init__(self, entropy: HacModel, base_steps: BaseSteps, settings: GridPhaseSettings, lmbda: float) -> None:
        super().__init__(entropy, base_steps, settings)
        self.lmbda = lmbda

    def parameter_groups(self) -> list[ParameterGroup]:
        grid = ParameterGroup("hash_grid", list(self.entropy.grid.parameters()), *self.settings.grid_lr)
        return [grid, *super().parameter_groups()]

    @torch.no_grad()
    def calibrate(self, anchors: AnchorModel, kept: Tensor) -> None:
        values = torch.cat(self.base_steps.divide(anchors.attributes(kept)), dim=1)
        self.entropy.calibrate(anchors.coords[kept], values)

    def priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> Sample:
        kept = masks.detach().amax(dim=1) > 0
        drawn = torch.rand(len(visible), device=visible.device) < self.settings.sample_share
        chosen = torch.nonzero(kept & drawn).squeeze(1)
        prediction: Prediction = self.entropy.predict(anchors.coords.index_select(0, visible))
        noisy = with_noise(torch.cat(self.base_steps.divide(exact), dim=1), prediction.step)
        features, geometry = noisy.split([anchors.feature_dim, noisy.shape[1] - anchors.feature_dim], dim=1)

        bits = prediction.select(chosen).bits(noisy.index_select(0, chosen))
        present = geometry_present(masks.index_select(0, chosen))
        total = bits[:, : anchors.feature_dim].sum() + (bits[:, anchors.feature_dim :] * present).sum()
        loss, figures = self.rate_loss(iteration, self.lmbda, total, chosen.numel(), kept, anchors)
        return self.base_steps.multiply(features, geometry, masks), loss, figures
