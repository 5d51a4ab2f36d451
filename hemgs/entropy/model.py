"""HEMGS's entropy model in float, as it is trained: two attribute groups over one hash grid.

Order of coding: locations, then features, then scalings and offsets together given the features
(arXiv 2411.18473, section 3.2). Each group has its own hyperprior, rate predictor and distribution network.

Owns the networks and their predictions. Does not own the integer form that codes (``hemgs.entropy.fixed``), nor when
what is trained (``hemgs.entropy.simulation``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hemgs.entropy.hashgrid import BinaryHashGrid, HashGridSettings
from hemgs.entropy.hyperprior import Hyperprior
from hemgs.entropy.likelihood import gaussian_bits
from hemgs.entropy.networks import Mlp
from hemgs.entropy.rate_predictor import RatePredictor

#: Scalars of an anchor's scaling: three for its offsets, three for its Gaussians.
SCALING_DIM = 6
#: Channel exponents stay within +- this, so that integer means cannot overflow.
MAX_EXPONENT = 12


@dataclass(frozen=True)
class EntropySettings:
    """Sizes of the entropy model, stored in every bitstream.

    Attributes:
        feature_dim: D, channels of the anchor feature.
        num_offsets: K.
        grid: the hash grid.
        feature_prior, geometry_prior: widths of the two prior features.
        feature_hidden, geometry_hidden: hidden widths of the distribution networks.
        feature_step_hidden, geometry_step_hidden: hidden widths of the rate predictors.
        rate_octaves: octaves between the steps of the smallest and the largest λ before anything is learned.
    """

    feature_dim: int = 50
    num_offsets: int = 10
    grid: HashGridSettings = field(default_factory=HashGridSettings)
    feature_prior: int = 64
    geometry_prior: int = 40
    feature_hidden: int = 64
    geometry_hidden: int = 40
    feature_step_hidden: int = 32
    geometry_step_hidden: int = 24
    rate_octaves: float = 1.0

    @property
    def geometry_dim(self) -> int:
        """Channels of scalings and offsets together."""
        return SCALING_DIM + 3 * self.num_offsets


@dataclass(frozen=True)
class Prediction:
    """What a group's networks say of n anchors with C channels; all ``[n, C] float32``.

    Attributes:
        log2_step: log2 of the step over the base step.
        mean: in base steps.
        log2_scale: log2 of the standard deviation over the base step.
    """

    log2_step: Tensor
    mean: Tensor
    log2_scale: Tensor

    @property
    def step(self) -> Tensor:
        """Step over base step."""
        return torch.exp2(self.log2_step)

    def bits(self, values: Tensor) -> Tensor:
        """Code length of values in base steps, ``[n, C]``."""
        inverse = torch.exp2(-self.log2_step)
        return gaussian_bits(values * inverse, self.mean * inverse, self.log2_scale - self.log2_step)


class AttributeGroup(nn.Module):
    """Hyperprior, rate predictor and distribution of C channels that are coded together.

    ``exponents`` scale each channel's prediction by a power of two near its spread, so that networks with outputs
    around one can serve channels that span three orders of magnitude, in float and in integers alike.
    """

    exponents: Tensor

    def __init__(
        self,
        channels: int,
        hash_dim: int,
        previous_dim: int,
        prior_dim: int,
        hidden: int,
        step_hidden: int,
        octaves: float,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.hyperprior = Hyperprior(hash_dim, previous_dim, prior_dim)
        self.rate_predictor = RatePredictor(prior_dim, step_hidden, channels, octaves)
        self.distribution = Mlp(prior_dim + 1, hidden, 2 * channels)
        self.register_buffer("exponents", torch.zeros(channels, dtype=torch.int64))

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Starts the distribution at the mean and spread of ``values`` (``[n, C]``, in base steps)."""
        mean, spread = values.mean(dim=0), values.std(dim=0).clamp_min(1e-6)
        self.exponents.copy_(torch.log2(spread).round().clamp(-MAX_EXPONENT, MAX_EXPONENT).to(torch.int64))
        unit = torch.exp2(self.exponents.to(values.dtype))
        self.distribution.second.bias[: self.channels] = mean / unit
        self.distribution.second.bias[self.channels :] = torch.log2(spread / unit)

    def prior(self, hash_features: Tensor, previous: Tensor | None) -> Tensor:
        """Prior feature ``[n, prior_dim]``.

        Args:
            hash_features: ``[n, hash_dim]``.
            previous: ``[n, previous_dim]`` decoded attributes scaled to around one, or ``None``.
        """
        return self.hyperprior(self.hyperprior.inputs(hash_features, previous))

    def predict(self, prior: Tensor, rate: Tensor, log2_step: Tensor) -> Prediction:
        """Distribution of n anchors, given their steps.

        Args:
            prior: ``[n, prior_dim]``.
            rate: ``[n, 1]`` in [0, 1].
            log2_step: ``[n, C]``, from the rate predictor.
        """
        mean, log2_scale = self.distribution(torch.cat([prior, rate], dim=1)).split(self.channels, dim=1)
        exponents = self.exponents.to(mean.dtype)
        return Prediction(log2_step, mean * torch.exp2(exponents), log2_scale + exponents)


class EntropyModel(nn.Module):
    """Hash grid and two attribute groups.

    Attributes:
        features: group of the D feature channels.
        geometry: group of the 6 scalings and 3K offsets.
        low, high: ``[3] int64`` lattice bounds of the hash grid.
    """

    low: Tensor
    high: Tensor

    def __init__(self, settings: EntropySettings) -> None:
        super().__init__()
        self.settings = settings
        self.grid = BinaryHashGrid(settings.grid)
        hash_dim = settings.grid.output_dim
        self.features = AttributeGroup(
            settings.feature_dim,
            hash_dim,
            0,
            settings.feature_prior,
            settings.feature_hidden,
            settings.feature_step_hidden,
            settings.rate_octaves,
        )
        self.geometry = AttributeGroup(
            settings.geometry_dim,
            hash_dim,
            settings.feature_dim,
            settings.geometry_prior,
            settings.geometry_hidden,
            settings.geometry_step_hidden,
            settings.rate_octaves,
        )
        self.register_buffer("low", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("high", torch.ones(3, dtype=torch.int64))

    def set_bounds(self, coords: Tensor) -> None:
        """Fits the hash grid's cube to lattice coordinates ``[N, 3] int64``."""
        self.low.copy_(coords.amin(dim=0))
        self.high.copy_(torch.maximum(coords.amax(dim=0), self.low + 1))

    def hash_features(self, coords: Tensor) -> Tensor:
        """``[n, hash_dim] float32`` of lattice coordinates ``[n, 3] int64``."""
        span = (self.high - self.low).to(torch.float64)
        points = ((coords - self.low).to(torch.float64) / span).clamp(0, 1)
        return self.grid(points.to(torch.float32))

    def previous(self, features: Tensor) -> Tensor:
        """Decoded features as the geometry group's input: scaled to around one."""
        return features * torch.exp2(-self.features.exponents.to(features.dtype))

    def networks(self) -> list[Mlp]:
        """All networks that a bitstream stores as integers, in coding order."""
        return [
            network
            for group in (self.features, self.geometry)
            for network in (group.hyperprior, group.rate_predictor, group.distribution)
        ]
