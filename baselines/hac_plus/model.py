"""HAC++'s entropy model in float, and its part in training (arXiv 2501.12255, section 4).

Given a location, the hash grid and one network predict steps, means and scales of all of an anchor's scalars, as in
HAC. Features are decoded chunk by chunk. A network for each chunk predicts a second Gaussian from the first network's
outputs for features and from the chunks before. Both networks predict how to mix the two Gaussians.

Owns the model and the price of attributes. Does not own the phases of training (``hemgs.anchor_codec.phases``) or the
model in integers (``codec``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.hac_plus.params import HacPlusSettings
from baselines.shared.grid_model import GridAttributes, GridModel
from hemgs.anchor_codec.masks import binary_masks
from hemgs.anchor_codec.mixture import MixturePrediction
from hemgs.anchor_codec.networks import Mlp
from hemgs.anchor_codec.phases import Sample, coded_weights, with_noise
from hemgs.anchor_codec.prediction import Prediction, start_distribution
from hemgs.anchor_codec.settings import GridPhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.model import AnchorModel
from hemgs.training.networks import ParameterGroup


class HacPlusModel(GridModel):
    """Hash grid, the network behind it, and one network for each chunk of the feature."""

    def __init__(self, settings: HacPlusSettings) -> None:
        dim = settings.feature_dim
        super().__init__(settings.grid, settings.hidden, dim, settings.num_offsets, further=dim)
        self.settings = settings
        self.contexts = nn.ModuleList(
            Mlp(3 * dim + part.start, settings.chunk_hidden, 3 * (part.stop - part.start)) for part in settings.chunks
        )

    @torch.no_grad()
    def calibrate(self, coords: Tensor, values: Tensor) -> None:
        """Start bounds and distributions; both Gaussians of a channel start equal, with equal weights."""
        super().calibrate(coords, values)
        for part, network in zip(self.settings.chunks, self.context_networks(), strict=True):
            width = part.stop - part.start
            start_distribution(values[:, part], self.predictor.exponents[part], network.second.bias[: 2 * width])
            network.second.bias[2 * width :] = 0

    def mixture(self, outputs: Tensor, prior: Prediction, features: Tensor) -> MixturePrediction:
        """Predict the distribution of n anchors' features.

        Args:
            outputs: outputs of :meth:`outputs`.
            prior: prediction of all C channels from ``outputs``.
            features: ``[n, D]`` in base steps; only the chunks before a channel's chunk predict it.
        """
        dim = self.settings.feature_dim
        unit = torch.exp2(self.predictor.exponents[:dim].to(features.dtype))
        prior_inputs, scaled = feature_outputs(outputs, dim, self.predictor.channels), features / unit
        parts = [
            network(torch.cat([prior_inputs, scaled[:, : part.start]], dim=1)).chunk(3, dim=1)
            for part, network in zip(self.settings.chunks, self.context_networks(), strict=True)
        ]
        mean, log2_scale, logit = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
        first = Prediction(prior.log2_step[:, :dim], prior.mean[:, :dim], prior.log2_scale[:, :dim])
        second = Prediction(first.log2_step, mean * unit, log2_scale + torch.log2(unit))
        return MixturePrediction(first, second, outputs[:, -dim:] - logit)

    def bits(self, outputs: Tensor, prior: Prediction, values: Tensor) -> Tensor:
        """Return the code length of all scalars of n anchors, ``[n, C]``; ``values`` are in base steps."""
        dim = self.settings.feature_dim
        features = self.mixture(outputs, prior, values[:, :dim]).bits(values[:, :dim])
        geometry = Prediction(prior.log2_step[:, dim:], prior.mean[:, dim:], prior.log2_scale[:, dim:])
        return torch.cat([features, geometry.bits(values[:, dim:])], dim=1)

    def context_networks(self) -> list[Mlp]:
        """Return the parameters of the chunks' networks."""
        return [network for network in self.contexts if isinstance(network, Mlp)]

    def networks(self) -> list[Mlp]:
        return [*super().networks(), *self.context_networks()]


def feature_outputs(outputs: Tensor, feature_dim: int, channels: int) -> Tensor:
    """Return the outputs of the network behind the grid for features, ``[n, 3 D]``, of floats or fixed-point integers.

    Args:
        outputs: all outputs of the network: C means, C log-scales, three steps, D logits.
        feature_dim: D.
        channels: C.
    """
    scales = outputs[:, channels : channels + feature_dim]
    return torch.cat([outputs[:, :feature_dim], scales, outputs[:, -feature_dim:]], dim=1)


class HacPlusAttributes(GridAttributes):
    """The attribute model that turns the training of Scaffold-GS into that of HAC++.

    Args:
        entropy, base_steps, settings, lmbda: as in :class:`GridAttributes`; the plan has ``masks_in_rate``.
        context_lr: first and last learning rate of the chunks' networks.
    """

    def __init__(
        self,
        entropy: HacPlusModel,
        base_steps: BaseSteps,
        settings: GridPhaseSettings,
        lmbda: float,
        context_lr: tuple[float, float],
    ) -> None:
        super().__init__(entropy, base_steps, settings, lmbda)
        self._context_lr = context_lr

    def parameter_groups(self) -> list[ParameterGroup]:
        contexts = [parameter for network in self.entropy.context_networks() for parameter in network.parameters()]
        grid, _ = super().parameter_groups()
        return [
            grid,
            ParameterGroup("entropy_networks", list(self.entropy.predictor.parameters()), *self.settings.network_lr),
            ParameterGroup("context_networks", contexts, *self._context_lr),
        ]

    def priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> Sample:
        _, _, noisy = self._noisy_values(anchors, visible, exact)
        features, geometry = noisy.split([anchors.feature_dim, noisy.shape[1] - anchors.feature_dim], dim=1)
        loss, figures = self._rate(iteration, anchors)
        return self.base_steps.multiply(features, geometry, masks), loss, figures

    def _rate(self, iteration: int, anchors: AnchorModel) -> tuple[Tensor, dict[str, float]]:
        """Price a sample of all anchors, with its own noise."""
        rows = self.sampled_rows(anchors)
        masks = binary_masks(anchors.mask_logits.index_select(0, rows))
        outputs, prediction, noisy = self._noisy_values(anchors, rows, anchors.attributes(rows))
        bits = self.entropy.bits(outputs, prediction, noisy)
        total = (bits * coded_weights(masks, anchors.feature_dim)).sum()
        kept = masks.detach().amax(dim=1) > 0
        return self.rate_loss(iteration, self.lmbda, total, len(rows), kept, anchors)

    def _noisy_values(
        self, anchors: AnchorModel, rows: Tensor, exact: AnchorAttributes
    ) -> tuple[Tensor, Prediction, Tensor]:
        """Return some anchors' network outputs, their prediction, and values in base steps with noise, ``[n, C]``."""
        outputs = self.entropy.outputs(anchors.coords.index_select(0, rows))
        prediction = self.entropy.predictor.interpret(outputs)
        return outputs, prediction, with_noise(torch.cat(self.base_steps.divide(exact), dim=1), prediction.step)
