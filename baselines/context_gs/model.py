"""ContextGS's entropy model in float, and its part in training (arXiv 2405.20721, section 4).

Every level of anchors has a network. At the coarsest level its inputs are an anchor's location and latents. At finer
levels they include the decoded features and scalings of the anchor of the next coarser level in its cell. Latents have
a factorised prior.

Owns the model and the price of attributes. Does not own the phases of training (``hemgs.anchor_codec.phases``), the
levels of anchors (``levels``), or the model in integers (``codec``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from baselines.context_gs.density import FactorizedDensity
from baselines.context_gs.levels import ONE, Levels, choose_scales, levels_in_training
from baselines.context_gs.params import ContextSettings
from baselines.shared.predictor import AnchorPredictor
from hemgs.anchor_codec.masks import binary_masks, keep_mask
from hemgs.anchor_codec.phases import RefreshedAttributes, Sample, geometry_present, with_noise
from hemgs.anchor_codec.prediction import Prediction
from hemgs.anchor_codec.settings import PhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.attribute_model import LatentRows
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.model import AnchorModel
from hemgs.training.networks import ParameterGroup

#: Coordinates of an anchor's location.
LOCATION_DIM = 3
#: Locations are clamped to this many mean distances from the middle, so that stray anchors do not dominate sums.
LOCATION_LIMIT = 32


class ContextModel(nn.Module):
    """One network a level, and the density of the latents.

    Attributes:
        predictors: networks of the coarsest level, the next finer one, and so on.
        scales: ``[num_levels - 1] int64``, widths of cells from the finest level up, in ``1 / ONE`` lattice unit.
        centre: ``[3] int64``, lattice coordinates of the middle of the scene.
        unit: scalar ``float64``, mean distance of anchors from it along an axis, in lattice units.
    """

    scales: Tensor
    centre: Tensor
    unit: Tensor

    def __init__(self, settings: ContextSettings) -> None:
        super().__init__()
        self.settings = settings
        dims = settings.hidden, settings.feature_dim, settings.num_offsets
        own, known = LOCATION_DIM + settings.latent_dim, settings.context_dim
        inputs = [own] + [own + known] * (settings.num_levels - 1)
        self.predictors = nn.ModuleList(AnchorPredictor(width, *dims) for width in inputs)
        self.density = FactorizedDensity(settings.latent_dim)
        self.register_buffer("scales", ONE << (2 * torch.arange(1, settings.num_levels)))
        self.register_buffer("centre", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def calibrate(self, coords: Tensor, values: Tensor) -> None:
        """Choose the levels' scales, which then stay, and start locations and distributions.

        Args:
            coords: ``[n, 3] int64`` lattice coordinates of anchors.
            values: ``[n, C]`` their attributes in base steps.
        """
        chosen = choose_scales(coords.cpu().numpy(), self.settings.num_levels)
        self.scales.copy_(torch.tensor(chosen, dtype=torch.int64))
        self.centre.copy_(coords.median(dim=0).values)
        self.unit.copy_((coords - self.centre).abs().double().mean().clamp_min(1))
        for predictor in self.networks():
            predictor.calibrate(values)

    def locations(self, coords: Tensor) -> Tensor:
        """Convert lattice coordinates ``[n, 3] int64`` to network inputs, ``[n, 3] float32``."""
        return ((coords - self.centre) / self.unit).clamp(-LOCATION_LIMIT, LOCATION_LIMIT).float()

    def networks(self) -> list[AnchorPredictor]:
        """See :class:`hemgs.anchor_codec.phases.CodecModel`; a file stores frequencies, not the density."""
        return [cast(AnchorPredictor, predictor) for predictor in self.predictors]

    def side_bits(self) -> Tensor:
        """See :class:`hemgs.anchor_codec.phases.CodecModel`; latents are priced with their anchors."""
        return torch.zeros((), device=self.unit.device)


def inputs_of(locations: Tensor, context: Tensor | None, latents: Tensor) -> Tensor:
    """Return the input of a level's network, of floats or of fixed-point integers.

    Args:
        locations: ``[n, 3]``.
        context: ``[n, D + 6]`` features and scalings of the coarse anchors; ``None`` at the coarsest level.
        latents: ``[n, L]``.
    """
    return torch.cat([locations, latents] if context is None else [locations, context, latents], dim=1)


@dataclass(frozen=True)
class Order:
    """All N anchors in coding order, for training.

    Attributes:
        rows: by level, the coarsest first: ``[n] int64`` its anchors.
        parents: by level but the coarsest: ``[n] int64``, places of the anchors' coarse anchors in coding order.
        place: ``[N] int64``, place of each anchor in coding order.
    """

    rows: list[Tensor]
    parents: list[Tensor]
    place: Tensor

    @staticmethod
    def of(levels: Levels, device: torch.device) -> Order:
        """Return the order of some levels."""
        rows = [torch.from_numpy(part).to(device) for part in levels.coarse_to_fine()]
        order = torch.cat(rows)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=device)
        representative = torch.from_numpy(levels.representative).to(device)
        return Order(rows, [place[representative[part]] for part in rows[1:]], place)


class ContextAttributes(RefreshedAttributes[Order]):
    """The attribute model that turns the training of Scaffold-GS into that of ContextGS.

    Args:
        entropy: the model to train.
        base_steps: steps before prediction.
        settings: the plan.
        refresh: iterations after which the levels are found again.
        lmbda: weight of the mean bits per scalar.
        latent_lr, density_lr: first and last learning rates of latents and density.
    """

    def __init__(
        self,
        entropy: ContextModel,
        base_steps: BaseSteps,
        settings: PhaseSettings,
        refresh: int,
        lmbda: float,
        latent_lr: tuple[float, float],
        density_lr: tuple[float, float],
    ) -> None:
        super().__init__(entropy, base_steps, settings, refresh)
        self.lmbda, self.density_lr = lmbda, density_lr
        self.latents = LatentRows(entropy.settings.latent_dim, *latent_lr)

    def parameter_groups(self) -> list[ParameterGroup]:
        density = ParameterGroup("latent_density", list(self.entropy.density.parameters()), *self.density_lr)
        return [density, *super().parameter_groups()]

    @torch.no_grad()
    def calibrate(self, anchors: AnchorModel, kept: Tensor) -> None:
        values = torch.cat(self.base_steps.divide(anchors.attributes(kept)), dim=1)
        self.entropy.calibrate(anchors.coords[kept], values)

    def find(self, anchors: AnchorModel, kept: Tensor) -> Order:
        is_kept = torch.zeros(anchors.num_anchors, dtype=torch.bool, device=kept.device)
        is_kept[kept] = True
        levels = levels_in_training(anchors.coords.cpu().numpy(), is_kept.cpu().numpy(), self.entropy.scales.tolist())
        return Order.of(levels, anchors.coords.device)

    def priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> Sample:
        """Add noise to all anchors, since any may be another's context; return those in sight, price a sample."""
        order = self.found(iteration, anchors)
        kept = keep_mask(anchors.mask_logits).any(dim=1)
        chosen = kept & self.drawn(len(kept), kept.device)
        latents = with_noise(anchors.latents, anchors.latents.new_ones(()))
        predictions, noisy = self._noisy_levels(anchors, order, latents)

        bits = self.entropy.density.bits(latents[chosen]).sum()
        for rows, prediction, values in zip(order.rows, predictions, noisy, strict=True):
            priced = torch.nonzero(chosen[rows]).squeeze(1)
            each = prediction.select(priced).bits(values.index_select(0, priced))
            present = geometry_present(binary_masks(anchors.mask_logits.index_select(0, rows[priced])))
            bits = bits + each[:, : anchors.feature_dim].sum() + (each[:, anchors.feature_dim :] * present).sum()
        loss, figures = self.rate_loss(iteration, self.lmbda, bits, int(chosen.sum()), kept, anchors)
        seen = torch.cat(noisy).index_select(0, order.place[visible])
        features, geometry = seen.split([anchors.feature_dim, seen.shape[1] - anchors.feature_dim], dim=1)
        return self.base_steps.multiply(features, geometry, masks), loss, figures

    def _noisy_levels(
        self, anchors: AnchorModel, order: Order, latents: Tensor
    ) -> tuple[list[Prediction], list[Tensor]]:
        """Return predictions of all anchors, and their attributes ``[n, C]`` in base steps with noise; by level."""
        exact = torch.cat(self.base_steps.divide(anchors.attributes()), dim=1)
        locations = self.entropy.locations(anchors.coords)
        predictions: list[Prediction] = []
        noisy: list[Tensor] = []
        for predictor, rows, parents in zip(self.entropy.networks(), order.rows, [None, *order.parents], strict=True):
            context = None
            if parents is not None:
                known = self.entropy.settings.context_dim
                coarse = torch.cat(noisy)[:, :known].index_select(0, parents)
                context = coarse * torch.exp2(-predictor.exponents[:known].to(coarse.dtype))
            inputs = inputs_of(locations[rows], context, latents.index_select(0, rows))
            predictions.append(predictor.predict(inputs))
            noisy.append(with_noise(exact.index_select(0, rows), predictions[-1].step))
        return predictions, noisy
