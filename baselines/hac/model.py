"""HAC's entropy model in float, and its part in training (arXiv 2403.14530, section 4).

Given a location, the hash grid and one network predict steps, means and scales of all of an anchor's scalars. The
scalars are independent of each other and of all other anchors.

Owns the model and the price of attributes. Does not own the phases of training (``hemgs.anchor_codec.phases``) or the
model in integers (``codec``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.hac.params import HacSettings
from baselines.shared.grid_model import GridAttributes, GridModel
from hemgs.anchor_codec.phases import Sample, geometry_present, with_noise
from hemgs.anchor_codec.prediction import Prediction
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.model import AnchorModel


class HacModel(GridModel):
    """Hash grid and network."""

    def __init__(self, settings: HacSettings) -> None:
        super().__init__(settings.grid, settings.hidden, settings.feature_dim, settings.num_offsets)
        self.settings = settings

    def predict(self, coords: Tensor) -> Prediction:
        """Predict steps, means and scales of anchors at ``coords`` (``[n, 3] int64``)."""
        return self.predictor.interpret(self.outputs(coords))


class HacAttributes(GridAttributes):
    """The attribute model that turns the training of Scaffold-GS into that of HAC; see :class:`GridAttributes`."""

    def priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> Sample:
        kept = masks.detach().amax(dim=1) > 0
        drawn = self.drawn(len(visible), visible.device)
        chosen = torch.nonzero(kept & drawn).squeeze(1)
        prediction: Prediction = self.entropy.predict(anchors.coords.index_select(0, visible))
        noisy = with_noise(torch.cat(self.base_steps.divide(exact), dim=1), prediction.step)
        features, geometry = noisy.split([anchors.feature_dim, noisy.shape[1] - anchors.feature_dim], dim=1)

        bits = prediction.select(chosen).bits(noisy.index_select(0, chosen))
        present = geometry_present(masks.index_select(0, chosen))
        total = bits[:, : anchors.feature_dim].sum() + (bits[:, anchors.feature_dim :] * present).sum()
        loss, figures = self.rate_loss(iteration, self.lmbda, total, chosen.numel(), kept, anchors)
        return self.base_steps.multiply(features, geometry, masks), loss, figures
