"""HEMGS's part in the training of anchors: the last of the three phases that it shares with HAC (``phases``).

Each step draws one λ, which has the same expectation as the paper's mean over all of them (arXiv 2411.18473, equation
2). Near the end, networks see rounded values instead of noisy ones, as they do in the codec.

Owns HEMGS's steps, price and neighbours in training. Does not own the phases, the anchors, or the rendering loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hemgs.anchor_codec.masks import binary_masks, keep_mask
from hemgs.anchor_codec.phases import RefreshedAttributes, Sample, coded_weights, geometry_present, with_noise
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.model import AnchorModel
from hemgs.codec.context import Pairs, Seen
from hemgs.codec.model import AttributeGroup, EntropyModel
from hemgs.codec.rate_predictor import rate_input
from hemgs.codec.settings import SimulationSettings
from hemgs.codec.surroundings import Surroundings
from hemgs.coding.locations import raster_order, stored_locations
from hemgs.training.networks import ParameterGroup


class HemgsAttributes(RefreshedAttributes[Surroundings]):
    """The attribute model that turns the training of Scaffold-GS into that of HEMGS.

    Args:
        entropy: the model to train.
        base_steps: steps before prediction.
        settings: the plan.
    """

    settings: SimulationSettings

    def __init__(self, entropy: EntropyModel, base_steps: BaseSteps, settings: SimulationSettings) -> None:
        super().__init__(entropy, base_steps, settings, settings.table_refresh)

    def parameter_groups(self) -> list[ParameterGroup]:
        # Learning rates decay from the iteration at which learning begins, a third of the run. HAC's decay from the
        # first iteration, and are at an eighth by then.
        grid = ParameterGroup("hash_grid", list(self.entropy.grid.parameters()), *self.settings.grid_lr)
        networks = [replace(group, decay_from=self.settings.entropy_start) for group in super().parameter_groups()]
        return [grid, *networks]

    def priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> Sample:
        lmbda, num = self._draw_lmbda(iteration), visible.numel()
        around = self.found(iteration, anchors)
        # This samples all anchors, not those in view. The bytes of an anchor do not depend on how often cameras see it,
        # so its price must not, either.
        sampled = self.sampled_rows(anchors)
        kept = keep_mask(anchors.mask_logits[sampled]).any(dim=1)
        # Anchors that were masked when neighbours were found have no place in the order of coding.
        priced = around.contains(sampled) & (kept | self.settings.masks_in_rate)
        rows, chosen = _joined(visible, sampled[priced], anchors.num_anchors)
        num_priced = sampled.numel() if self.settings.masks_in_rate else chosen.numel()
        pairs, extra = around.pairs(rows, chosen)
        rows = torch.cat([rows, extra])
        batch = self._batch(anchors, rows, exact, masks)
        coded = self._code(batch, around.scene_agnostic(rows), lmbda, iteration >= self.settings.rounding_start)
        bits = self._bits(batch, coded, chosen, pairs, rate_input(lmbda, self.settings.interval))

        loss, figures = self.rate_loss(iteration, lmbda, bits, num_priced, kept, anchors)
        attributes = self.base_steps.multiply(coded.features.noisy[:num], coded.geometry.noisy[:num], masks)
        return attributes, loss, figures

    def _batch(self, anchors: AnchorModel, rows: Tensor, exact: AnchorAttributes, masks: Tensor) -> _Batch:
        """Return attributes of some rows in base steps; ``exact`` and ``masks`` are those of the first rows."""
        if len(rows) > len(masks):
            exact = anchors.attributes(rows)
            masks = binary_masks(anchors.mask_logits.index_select(0, rows))
        features, geometry = self.base_steps.divide(exact)
        coords = anchors.coords.index_select(0, rows)
        return _Batch(coords, features, geometry, masks, geometry_present(masks))

    def _code(self, batch: _Batch, scene_agnostic: Tensor | None, lmbda: float, rounded: bool) -> _Coded:
        """Compute priors, steps, and values with simulated quantisation."""
        entropy = self.entropy
        rate_inputs = batch.features.new_full((len(batch.coords), 1), rate_input(lmbda, self.settings.interval))
        locations = entropy.location_features(batch.coords, scene_agnostic)
        features = _CodedGroup.of(
            entropy.features, entropy.features.prior(locations, None), rate_inputs, batch.features, rounded
        )
        previous = entropy.features.scaled(features.seen)
        prior = entropy.geometry.prior(locations, previous)
        return _Coded(features, _CodedGroup.of(entropy.geometry, prior, rate_inputs, batch.geometry, rounded))

    def _bits(self, batch: _Batch, coded: _Coded, chosen: Tensor, pairs: Pairs | None, rate_input: float) -> Tensor:
        """Return the code length of the chosen rows."""
        features = coded.features.bits(self.entropy.features, None, chosen, pairs, rate_input)
        geometry = coded.geometry.bits(self.entropy.geometry, batch.present, chosen, pairs, rate_input)
        if not self.settings.masks_in_rate:
            return features.sum() + (geometry * batch.present.index_select(0, chosen)).sum()
        weights = coded_weights(batch.masks.index_select(0, chosen), features.shape[1])
        return (torch.cat([features, geometry], dim=1) * weights).sum()

    def find(self, anchors: AnchorModel, kept: Tensor) -> Surroundings:
        """Find neighbours and scene-agnostic features."""
        return Surroundings.of(anchors.coords, kept, self.entropy.settings, self.settings.storage.locations)

    def _draw_lmbda(self, iteration: int) -> float:
        """Draw one of the trained λ; later, in half of the steps, any λ between them."""
        trained = self.settings.lmbdas
        choice, position, anywhere = torch.rand(3).tolist()
        if iteration >= self.settings.continuous_start and anywhere < 0.5:
            return float(min(trained) * (max(trained) / min(trained)) ** position)
        return float(trained[int(choice * len(trained))])

    @torch.no_grad()
    def calibrate(self, anchors: AnchorModel, kept: Tensor) -> None:
        """Start grid bounds and distributions, and choose the window of neighbours if that is left to the model."""
        stored, _ = stored_locations(anchors.coords[kept].cpu().numpy(), self.settings.storage.locations)
        self.entropy.choose_window(stored[raster_order(stored)])
        features, geometry = self.base_steps.divide(anchors.attributes(kept))
        self.entropy.set_bounds(anchors.coords[kept])
        self.entropy.features.calibrate(features)
        self.entropy.geometry.calibrate(geometry)


@dataclass(frozen=True)
class _Batch:
    """Attributes of n anchors in base steps.

    Attributes:
        coords: ``[n, 3] int64``.
        features, geometry: ``[n, D]``, ``[n, 6 + 3K]``.
        masks: ``[n, K]``.
        present: ``[n, 6 + 3K]``, which geometry is not masked.
    """

    coords: Tensor
    features: Tensor
    geometry: Tensor
    masks: Tensor
    present: Tensor


@dataclass(frozen=True)
class _CodedGroup:
    """An attribute group after simulated quantisation: n anchors, C channels.

    Attributes:
        prior: ``[n, prior_dim]``.
        log2_step: ``[n, C]``.
        noisy: ``[n, C]`` values with noise, which are rendered and priced.
        seen: ``[n, C]`` values as networks see them.
    """

    prior: Tensor
    log2_step: Tensor
    noisy: Tensor
    seen: Tensor

    @staticmethod
    def of(group: AttributeGroup, prior: Tensor, rate_input: Tensor, values: Tensor, rounded: bool) -> _CodedGroup:
        """Predict steps from the prior and ``rate_input [n, 1]``, and quantise ``values [n, C]`` with them."""
        log2_step = group.rate_predictor.log2_steps(prior, rate_input)
        step = torch.exp2(log2_step)
        noisy = with_noise(values, step)
        seen = values + (torch.round(values / step) * step - values).detach() if rounded else noisy
        return _CodedGroup(prior, log2_step, noisy, seen)

    def bits(
        self, group: AttributeGroup, present: Tensor | None, chosen: Tensor, pairs: Pairs | None, rate_input: float
    ) -> Tensor:
        """Return the code length of the ``chosen`` rows, ``[m, C]``; neighbours see zero where ``present`` is zero."""
        seen = None
        if group.autoregressive is not None and pairs is not None:
            values = self.seen.index_select(0, pairs.neighbour)
            there = None if present is None else present.index_select(0, pairs.neighbour)
            seen = Seen(pairs, values if there is None else values * there, there)
        prior = self.prior.index_select(0, chosen)
        rate_inputs = prior.new_full((len(chosen), 1), rate_input)
        own = self.seen.index_select(0, chosen)
        prediction = group.predict(prior, rate_inputs, self.log2_step.index_select(0, chosen), seen, own)
        return prediction.bits(self.noisy.index_select(0, chosen))


@dataclass(frozen=True)
class _Coded:
    """Both groups."""

    features: _CodedGroup
    geometry: _CodedGroup


def _joined(rows: Tensor, others: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Append the rows of ``others`` that ``rows`` lacks; return the result, and the places of ``others`` in it.

    Args:
        rows, others: ``[n] int64``, ``[m] int64``, each distinct and below ``num``.
    """
    place = torch.full((num,), -1, dtype=torch.int64, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    joined = torch.cat([rows, others[place[others] < 0]])
    place[joined] = torch.arange(len(joined), device=rows.device)
    return joined, place[others]
