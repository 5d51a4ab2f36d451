"""HAC++'s entropy model in float, and its part in training (arXiv 2501.12255, section 4).

Given a location, the hash grid and one network tell steps, means and scales of all of an anchor's scalars, as in HAC.
Features are decoded chunk by chunk; from what that network says of them and from the chunks before, a network for each
chunk tells a second Gaussian, and both networks how to mix the two.

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
from hemgs.entropy.masks import binary_masks
from hemgs.entropy.mixture import MixturePrediction
from hemgs.entropy.networks import Mlp
from hemgs.entropy.phases import GridPhaseSettings, PhasedAttributes, Sample, coded_weights, with_noise
from hemgs.entropy.prediction import Prediction, start_distribution
from hemgs.entropy.steps import BaseSteps


@dataclass(frozen=True)
class HacPlusSettings:
    """Sizes of the entropy model, stored in every bitstream.

    Attributes:
        feature_dim: D, channels of the anchor feature.
        num_offsets: K.
        hidden: width of the hidden layer of the network behind the hash grid.
        chunk_channels: channels of a feature that are decoded at once.
        chunk_hidden: width of the hidden layers of the chunks' networks.
        grid: the hash grid.
    """

    feature_dim: int = 50
    num_offsets: int = 10
    hidden: int = 100
    chunk_channels: int = 10
    chunk_hidden: int = 40
    grid: HashGridSettings = field(default_factory=HashGridSettings)

    @property
    def chunks(self) -> list[slice]:
        """The feature's channels in coding order."""
        starts = range(0, self.feature_dim, self.chunk_channels)
        return [slice(first, min(first + self.chunk_channels, self.feature_dim)) for first in starts]


class HacPlusModel(nn.Module):
    """Hash grid, the network behind it, and one network for each chunk of the feature.

    Attributes:
        low, high: ``[3] int64`` lattice bounds of the hash grid.
    """

    low: Tensor
    high: Tensor

    def __init__(self, settings: HacPlusSettings) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.feature_dim
        self.grid = BinaryHashGrid(settings.grid)
        self.predictor = AnchorPredictor(
            settings.grid.output_dim, settings.hidden, dim, settings.num_offsets, further=dim
        )
        self.contexts = nn.ModuleList(
            Mlp(3 * dim + part.start, settings.chunk_hidden, 3 * (part.stop - part.start)) for part in settings.chunks
        )
        self.register_buffer("low", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("high", torch.ones(3, dtype=torch.int64))

    @torch.no_grad()
    def calibrate(self, coords: Tensor, values: Tensor) -> None:
        """Starts bounds and distributions; both Gaussians of a channel start as one, with equal weights.

        Args:
            coords: ``[n, 3] int64`` lattice coordinates of anchors.
            values: ``[n, C]`` their attributes in base steps.
        """
        fit_bounds(coords, self.low, self.high)
        self.predictor.calibrate(values)
        for part, network in zip(self.settings.chunks, self.context_networks(), strict=True):
            width = part.stop - part.start
            start_distribution(values[:, part], self.predictor.exponents[part], network.second.bias[: 2 * width])
            network.second.bias[2 * width :] = 0

    def outputs(self, coords: Tensor) -> Tensor:
        """What the network behind the grid puts out for anchors at ``coords`` (``[n, 3] int64``)."""
        outputs: Tensor = self.predictor(self.grid(unit_points(coords, self.low, self.high)))
        return outputs

    def mixture(self, outputs: Tensor, prior: Prediction, features: Tensor) -> MixturePrediction:
        """Distribution of n anchors' features.

        Args:
            outputs: of :meth:`outputs`.
            prior: of all C channels, what ``outputs`` say.
            features: ``[n, D]`` in base steps; channels are told by those of the chunks before alone.
        """
        dim = self.settings.feature_dim
        unit = torch.exp2(self.predictor.exponents[:dim].to(features.dtype))
        told, scaled = told_of_features(outputs, dim, self.predictor.channels), features / unit
        parts = [
            network(torch.cat([told, scaled[:, : part.start]], dim=1)).chunk(3, dim=1)
            for part, network in zip(self.settings.chunks, self.context_networks(), strict=True)
        ]
        mean, log2_scale, logit = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
        first = Prediction(prior.log2_step[:, :dim], prior.mean[:, :dim], prior.log2_scale[:, :dim])
        second = Prediction(first.log2_step, mean * unit, log2_scale + torch.log2(unit))
        return MixturePrediction(first, second, outputs[:, -dim:] - logit)

    def bits(self, outputs: Tensor, prior: Prediction, values: Tensor) -> Tensor:
        """Code length of all scalars of n anchors, ``[n, C]``; ``values`` are in base steps, others as above."""
        dim = self.settings.feature_dim
        features = self.mixture(outputs, prior, values[:, :dim]).bits(values[:, :dim])
        geometry = Prediction(prior.log2_step[:, dim:], prior.mean[:, dim:], prior.log2_scale[:, dim:])
        return torch.cat([features, geometry.bits(values[:, dim:])], dim=1)

    def context_networks(self) -> list[Mlp]:
        """The chunks' networks."""
        return [network for network in self.contexts if isinstance(network, Mlp)]

    def networks(self) -> list[Mlp]:
        """See :class:`hemgs.entropy.phases.CodecModel`."""
        return [self.predictor, *self.context_networks()]

    def side_bits(self) -> Tensor:
        """Code length of the hash grid; see :class:`hemgs.entropy.phases.CodecModel`."""
        return self.grid.bits()


def told_of_features(outputs: Tensor, feature_dim: int, channels: int) -> Tensor:
    """What the network behind the grid says of features, ``[n, 3 D]``, of floats or of fixed-point integers alike.

    Args:
        outputs: of the network: C means, C log-scales, three steps, D logits.
        feature_dim: D.
        channels: C.
    """
    scales = outputs[:, channels : channels + feature_dim]
    return torch.cat([outputs[:, :feature_dim], scales, outputs[:, -feature_dim:]], dim=1)


class HacPlusAttributes(PhasedAttributes):
    """The attribute model that makes Scaffold-GS training HAC++ training.

    Args:
        entropy: the model to train.
        base_steps: steps before prediction.
        settings: the plan, with ``masks_in_rate``.
        lmbda: weight of the mean bits per scalar.
        context_lr: first and last learning rate of the chunks' networks.
    """

    settings: GridPhaseSettings

    def __init__(
        self,
        entropy: HacPlusModel,
        base_steps: BaseSteps,
        settings: GridPhaseSettings,
        lmbda: float,
        context_lr: tuple[float, float],
    ) -> None:
        super().__init__(entropy, base_steps, settings)
        self.lmbda, self._context_lr = lmbda, context_lr

    def parameter_groups(self) -> list[ParameterGroup]:
        contexts = [parameter for network in self.entropy.context_networks() for parameter in network.parameters()]
        return [
            ParameterGroup("hash_grid", list(self.entropy.grid.parameters()), *self.settings.grid_lr),
            ParameterGroup("entropy_networks", list(self.entropy.predictor.parameters()), *self.settings.network_lr),
            ParameterGroup("context_networks", contexts, *self._context_lr),
        ]

    @torch.no_grad()
    def calibrate(self, anchors: AnchorModel, kept: Tensor) -> None:
        values = torch.cat(self.base_steps.divide(anchors.attributes(kept)), dim=1)
        self.entropy.calibrate(anchors.coords[kept], values)

    def priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> Sample:
        _, _, noisy = self._noisy_values(anchors, visible, exact)
        features, geometry = noisy.split([anchors.feature_dim, noisy.shape[1] - anchors.feature_dim], dim=1)
        loss, figures = self._rate(iteration, anchors)
        return self.base_steps.multiply(features, geometry, masks), loss, figures

    def _rate(self, iteration: int, anchors: AnchorModel) -> tuple[Tensor, dict[str, float]]:
        """The price of a sample of all anchors, with noise of its own."""
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
        """Of some anchors: the network's outputs, what they say, and values in base steps with noise, ``[n, C]``."""
        outputs = self.entropy.outputs(anchors.coords.index_select(0, rows))
        prediction = self.entropy.predictor.interpret(outputs)
        return outputs, prediction, with_noise(torch.cat(self.base_steps.divide(exact), dim=1), prediction.step)
