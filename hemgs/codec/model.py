"""HEMGS's entropy model in float, as it is trained: two attribute groups over one hash grid.

Order of coding: locations, then features, then scalings and offsets together given the features
(arXiv 2411.18473, section 3.2). Each group has its own hyperprior, rate predictor, autoregressive network and
distribution network.

Owns the networks and their predictions. Does not own the integer form that codes
(``hemgs.codec.integer_model``), or the phases of training (``hemgs.codec.training``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemgs.anchor_codec.channels import ChannelContext
from hemgs.anchor_codec.hash_grid import BinaryHashGrid
from hemgs.anchor_codec.location_grid import fit_bounds, unit_points
from hemgs.anchor_codec.networks import Mlp
from hemgs.anchor_codec.prediction import Prediction, start_distribution
from hemgs.codec.context import ContextNetwork, Seen
from hemgs.codec.neighbours import chosen_multiplier
from hemgs.codec.rate_predictor import RatePredictor
from hemgs.codec.settings import AUTOMATIC, EntropySettings

#: Number of neighbours that the networks see as one (arXiv 2411.18473, section 4.2).
FULL_CONTEXT = 20


class Hyperprior(Mlp):
    """Network of the prior feature of an attribute group (arXiv 2411.18473, section 3.3.2).

    It joins the scene-specific prior (hash grid), the scene-agnostic one (frozen PointNet++) and the attributes decoded
    before.

    Args:
        location_dim: width of the features of locations: hash-grid feature and scene-agnostic feature.
        previous_dim: channels of the attributes decoded before this group; 0 for the first.
        prior_dim: width of the prior feature.
    """

    def __init__(self, location_dim: int, previous_dim: int, prior_dim: int) -> None:
        super().__init__(location_dim + previous_dim, prior_dim, prior_dim)

    @staticmethod
    def inputs(locations: Tensor, previous: Tensor | None) -> Tensor:
        """Return the network's input, of floats or of fixed-point integers."""
        return locations if previous is None else torch.cat([locations, previous], dim=1)


class AttributeGroup(nn.Module):
    """Hyperprior, rate predictor, autoregressive network and distribution of C channels that are coded together.

    ``exponents`` scale each channel's prediction by a power of two near its spread. Networks with outputs around one
    can therefore serve channels that span three orders of magnitude, in float and in integers.

    Args:
        channels: C.
        location_dim: width of the features of locations.
        previous_dim: channels decoded before this group.
        prior_dim: width of the prior feature.
        hidden, step_hidden: hidden widths of the distribution network and the rate predictor.
        context_dim: width of the context feature; 0 for no autoregressive network.
        octaves: octaves of the rate predictor.
        chunks: number of chunks in which the channels are coded.
        exact: whether the networks code in integers.
    """

    exponents: Tensor

    def __init__(
        self,
        channels: int,
        location_dim: int,
        previous_dim: int,
        prior_dim: int,
        hidden: int,
        step_hidden: int,
        context_dim: int,
        octaves: float,
        chunks: int = 1,
        exact: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.exact = channels, exact
        self.hyperprior = Hyperprior(location_dim, previous_dim, prior_dim)
        self.rate_predictor = RatePredictor(prior_dim, step_hidden, channels, octaves)
        self.autoregressive = ContextNetwork(channels, context_dim) if context_dim else None
        context_outputs = self.autoregressive.outputs if self.autoregressive is not None else 0
        self.distribution = Mlp(prior_dim + 1 + context_outputs, hidden, 2 * channels)
        self.channel_context = ChannelContext(channels, chunks) if chunks > 1 else None
        self.register_buffer("exponents", torch.zeros(channels, dtype=torch.int64))

    def networks(self) -> list[Mlp]:
        """Return all networks, in the order of a bitstream."""
        context = [] if self.autoregressive is None else [self.autoregressive]
        chunks = [] if self.channel_context is None else self.channel_context.mlps()
        return [self.hyperprior, self.rate_predictor, *context, self.distribution, *chunks]

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Start the distribution at the mean and spread of ``values`` (``[n, C]``, in base steps)."""
        start_distribution(values, self.exponents, self.distribution.second.bias)

    def scaled(self, values: Tensor) -> Tensor:
        """Scale values in base steps, ``[n, C]``, to network inputs around one."""
        return values * torch.exp2(-self.exponents.to(values.dtype))

    def prior(self, locations: Tensor, previous: Tensor | None) -> Tensor:
        """Compute the prior feature ``[n, prior_dim]``.

        Args:
            locations: ``[n, location_dim]``.
            previous: ``[n, previous_dim]`` decoded attributes, :meth:`scaled` by their group, or ``None``.
        """
        return self.hyperprior(self.hyperprior.inputs(locations, previous))

    def predict(
        self,
        prior: Tensor,
        rate_input: Tensor,
        log2_step: Tensor,
        seen: Seen | None = None,
        own: Tensor | None = None,
    ) -> Prediction:
        """Predict the distribution of n anchors, given their steps and their neighbours.

        Args:
            prior: ``[n, prior_dim]``.
            rate_input: ``[n, 1]`` in [0, 1].
            log2_step: ``[n, C]``, from the rate predictor.
            seen: neighbours, with values in base steps; only with an autoregressive network.
            own: ``[n, C]``, the anchors' own values in base steps; only where channels are coded in chunks. A chunk
                sees the values of the chunks before it.
        """
        inputs, expected = [prior, rate_input], prior.new_zeros(())
        if self.autoregressive is not None:
            assert seen is not None
            scaled = replace(seen, values=self.scaled(seen.values))
            context, expected = self.autoregressive.context(scaled, FULL_CONTEXT)
            inputs.append(context)
        mean, log2_scale = self.distribution(torch.cat(inputs, dim=1)).split(self.channels, dim=1)
        mean = mean + expected
        if self.channel_context is not None:
            assert own is not None
            mean_change, scale_change = self.channel_context.corrections(self.scaled(own) - mean)
            mean, log2_scale = mean + mean_change, log2_scale + scale_change
        exponents = self.exponents.to(mean.dtype)
        return Prediction(log2_step, mean * torch.exp2(exponents), log2_scale + exponents)


class EntropyModel(nn.Module):
    """Hash grid and two attribute groups.

    Attributes:
        features: group of the D feature channels.
        geometry: group of the 6 scalings and 3K offsets.
        low, high: ``[3] int64`` lattice bounds of the hash grid.
        multiplier: of the window of neighbours, scalar ``int64``; only where settings leave its choice to the model.
    """

    low: Tensor
    high: Tensor
    multiplier: Tensor

    def __init__(self, settings: EntropySettings) -> None:
        super().__init__()
        self._settings = settings
        self.grid = BinaryHashGrid(settings.grid)
        self.features = AttributeGroup(
            settings.feature_dim,
            settings.location_dim,
            0,
            settings.feature_prior,
            settings.feature_hidden,
            settings.feature_step_hidden,
            settings.feature_context,
            settings.rate_octaves,
            settings.feature_chunks,
            exact=not settings.float_networks,
        )
        self.geometry = AttributeGroup(
            settings.geometry_dim,
            settings.location_dim,
            settings.feature_dim,
            settings.geometry_prior,
            settings.geometry_hidden,
            settings.geometry_step_hidden,
            settings.geometry_context,
            settings.rate_octaves,
            exact=not settings.float_networks,
        )
        self.register_buffer("low", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("high", torch.ones(3, dtype=torch.int64))
        if settings.has_context and settings.window.multiplier == AUTOMATIC:
            self.register_buffer("multiplier", torch.tensor(AUTOMATIC))

    @property
    def settings(self) -> EntropySettings:
        """The sizes, with the chosen window if there is one."""
        if "multiplier" not in self._buffers:
            return self._settings
        return replace(self._settings, window=replace(self._settings.window, multiplier=int(self.multiplier)))

    def choose_window(self, coords: NDArray[np.int64]) -> None:
        """Choose the window of neighbours for stored locations ``[N, 3]`` in raster order, if it is not chosen yet."""
        if self.settings.has_context and self.settings.window.multiplier == AUTOMATIC:
            self.multiplier.fill_(chosen_multiplier(coords, self.settings.window))

    def set_bounds(self, coords: Tensor) -> None:
        """Fit the hash grid's cube to lattice coordinates ``[N, 3] int64``."""
        fit_bounds(coords, self.low, self.high)

    def location_features(self, coords: Tensor, scene_agnostic: Tensor | None) -> Tensor:
        """Return the features of locations, ``[n, location_dim] float32``.

        Args:
            coords: ``[n, 3] int64`` lattice coordinates.
            scene_agnostic: ``[n, A] float32`` features of the frozen network, where the settings name one.
        """
        specific = self.grid(unit_points(coords, self.low, self.high))
        return specific if scene_agnostic is None else torch.cat([specific, scene_agnostic], dim=1)

    def networks(self) -> list[Mlp]:
        """Return all networks that a bitstream stores as integers, in coding order."""
        return [*self.features.networks(), *self.geometry.networks()]

    def side_bits(self) -> Tensor:
        """Return the code length of the hash grid; see :class:`hemgs.anchor_codec.phases.CodecModel`."""
        return self.grid.bits()
