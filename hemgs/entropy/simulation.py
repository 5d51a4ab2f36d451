"""HEMGS while anchors train: simulated quantisation, the price of the attributes, learned offset masks.

Three phases, as in HAC (arXiv 2403.14530, released code): attributes as they are; uniform noise with base steps;
uniform noise with predicted steps and the rate in the loss. In the last phase each step draws one λ, which has the same
expectation as the paper's mean over all of them (arXiv 2411.18473, equation 2); near its end, networks see rounded
values in place of noisy ones, as they will when they code.

Owns what happens in which phase. Does not own the anchors, their growth, or the rendering loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hemgs.anchors import AnchorAttributes, AnchorModel, AttributeModel, ParameterGroup
from hemgs.entropy.context import Pairs, Seen
from hemgs.entropy.masks import binary_masks, keep_mask
from hemgs.entropy.model import SCALING_DIM, AttributeGroup, EntropyModel
from hemgs.entropy.rate_predictor import rate_input
from hemgs.entropy.surroundings import Surroundings

#: Weight of the new value in the running mean behind the estimated size.
_ESTIMATE_MOMENTUM = 0.05
#: Bits of a stored location: 16 per axis.
_LOCATION_BITS = 48
#: No anchor has been priced yet; finite, because checkpoints must be.
_UNKNOWN = -1.0
_KEPT = "kept_rows"


@dataclass(frozen=True)
class BaseSteps:
    """Quantisation steps before prediction (HAC, arXiv 2403.14530, released code).

    Attributes:
        features: of feature channels.
        scalings: of scalings, world units.
        offsets: of offsets, in units of the scaling.
    """

    features: float = 1.0
    scalings: float = 0.001
    offsets: float = 0.2

    def geometry(self, num_offsets: int, device: torch.device) -> Tensor:
        """Base steps of the geometry group's channels, ``[6 + 3K] float32``."""
        steps = [self.scalings] * SCALING_DIM + [self.offsets] * (3 * num_offsets)
        return torch.tensor(steps, device=device)


@dataclass(frozen=True)
class SimulationSettings:
    """When what is trained and how it is weighed.

    Attributes:
        noise_start: first iteration with noise.
        growth_pause: iterations after ``noise_start`` in which anchors neither grow nor are pruned.
        entropy_start: first iteration with predicted steps and the rate loss.
        rate_warmup: iterations over which the rate's weight rises from a tenth to one.
        grid_free: iterations after ``entropy_start`` in which the hash grid costs nothing; its price rises over as
            many more. While its signs are undecided the likelihood hardly moves them, and their price alone would
            make them all alike.
        rounding_start: from here on, networks see decoded values rounded instead of noisy.
        table_refresh: iterations after which the neighbours are found anew, because masks have changed.
        continuous_start: from here on every other step draws λ from the whole interval, not only the trained values.
        lmbdas: the trained values of λ.
        sample_share: share of the visible anchors that are priced in a step.
        mask_weight: weight of the mean mask probability.
        network_lr, grid_lr: first and last learning rate of the networks and of the hash grid.
    """

    noise_start: int
    growth_pause: int
    entropy_start: int
    rate_warmup: int
    grid_free: int
    continuous_start: int
    rounding_start: int
    table_refresh: int
    lmbdas: tuple[float, ...]
    sample_share: float
    mask_weight: float
    network_lr: tuple[float, float]
    grid_lr: tuple[float, float]


class HemgsAttributes(AttributeModel):
    """The attribute model that makes Scaffold-GS training HEMGS training.

    Args:
        entropy: the model to train.
        base_steps: steps before prediction.
        settings: the plan.
    """

    def __init__(self, entropy: EntropyModel, base_steps: BaseSteps, settings: SimulationSettings) -> None:
        self.entropy = entropy
        self.base_steps = base_steps
        self.settings = settings
        self._calibrated = False
        self._bits_per_anchor = _UNKNOWN
        # Rows that were kept when the surroundings were found; a resumed training finds the same ones from them.
        self._kept: Tensor | None = None
        self._surroundings: Surroundings | None = None

    def start(self, anchors: AnchorModel, extent: float) -> None:
        self.entropy.to(anchors.coords.device)

    def parameter_groups(self) -> list[ParameterGroup]:
        grid = list(self.entropy.grid.parameters())
        networks = [parameter for network in self.entropy.networks() for parameter in network.parameters()]
        return [
            ParameterGroup("hash_grid", grid, *self.settings.grid_lr),
            ParameterGroup("entropy_networks", networks, *self.settings.network_lr),
        ]

    def allows_growth(self, iteration: int) -> bool:
        return not 0 <= iteration - self.settings.noise_start < self.settings.growth_pause

    def anchors_changed(self, anchors: AnchorModel) -> None:
        self._kept, self._surroundings = None, None

    def sample(
        self, iteration: int, anchors: AnchorModel, visible: Tensor
    ) -> tuple[AnchorAttributes, Tensor, dict[str, float]]:
        exact = anchors.attributes(visible)
        masks = binary_masks(anchors.mask_logits.index_select(0, visible))
        if iteration < self.settings.noise_start or visible.numel() == 0:
            attributes = AnchorAttributes(exact.features, exact.scalings, exact.offsets, masks)
            return attributes, exact.features.new_zeros(()), {}
        if iteration < self.settings.entropy_start:
            return self._noisy(exact, masks), exact.features.new_zeros(()), {}
        if not self._calibrated:
            self._calibrate(anchors)
        return self._priced(iteration, anchors, visible, exact, masks)

    def _priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> tuple[AnchorAttributes, Tensor, dict[str, float]]:
        """Noise with predicted steps, and the loss that it buys."""
        lmbda, num = self._draw_lmbda(iteration), visible.numel()
        around = self._surroundings_at(iteration, anchors)
        kept = masks.detach().amax(dim=1) > 0
        drawn = torch.rand(num, device=kept.device) < self.settings.sample_share
        chosen = torch.nonzero(kept & around.known(visible) & drawn).squeeze(1)
        pairs, extra = around.pairs(visible, chosen)
        rows = torch.cat([visible, extra])
        batch = self._batch(anchors, rows, exact, masks)
        coded = self._code(batch, around.scene_agnostic(rows), lmbda, iteration >= self.settings.rounding_start)
        bits = self._bits(batch, coded, chosen, pairs, rate_input(lmbda))

        loss, figures = self._loss(iteration, lmbda, bits, chosen.numel(), kept, anchors)
        base = self.base_steps.geometry(anchors.num_offsets, visible.device)
        scalings, offsets = (coded.geometry.noisy[:num] * base).split([SCALING_DIM, 3 * anchors.num_offsets], dim=1)
        attributes = AnchorAttributes(
            coded.features.noisy[:num] * self.base_steps.features,
            scalings.clamp_min(0),
            offsets.view_as(exact.offsets),
            masks,
        )
        return attributes, loss, figures

    def _batch(self, anchors: AnchorModel, rows: Tensor, exact: AnchorAttributes, masks: Tensor) -> _Batch:
        """Attributes of some rows in base steps; ``exact`` and ``masks`` are those of the first rows."""
        if len(rows) > len(masks):
            exact = anchors.attributes(rows)
            masks = binary_masks(anchors.mask_logits.index_select(0, rows))
        base = self.base_steps.geometry(anchors.num_offsets, rows.device)
        plain = torch.cat([exact.scalings, exact.offsets.flatten(1)], dim=1) / base
        offset_masks = masks.repeat_interleave(3, dim=1)
        present = torch.cat([torch.ones_like(offset_masks[:, :1]).expand(-1, SCALING_DIM), offset_masks], dim=1)
        coords = anchors.coords.index_select(0, rows)
        return _Batch(coords, exact.features / self.base_steps.features, plain, present)

    def _code(self, batch: _Batch, scene_agnostic: Tensor | None, lmbda: float, rounded: bool) -> _Coded:
        """Priors, steps, and values with simulated quantisation."""
        entropy = self.entropy
        rate = batch.features.new_full((len(batch.coords), 1), rate_input(lmbda))
        locations = entropy.location_features(batch.coords, scene_agnostic)
        features = _CodedGroup.of(
            entropy.features, entropy.features.prior(locations, None), rate, batch.features, rounded
        )
        previous = entropy.features.scaled(features.seen)
        prior = entropy.geometry.prior(locations, previous)
        return _Coded(features, _CodedGroup.of(entropy.geometry, prior, rate, batch.geometry, rounded))

    def _bits(self, batch: _Batch, coded: _Coded, chosen: Tensor, pairs: Pairs | None, rate: float) -> Tensor:
        """Code length of the chosen rows."""
        weights = batch.present.index_select(0, chosen)
        features = coded.features.bits(self.entropy.features, None, chosen, pairs, rate)
        geometry = coded.geometry.bits(self.entropy.geometry, batch.present, chosen, pairs, rate)
        return features.sum() + (geometry * weights).sum()

    def _surroundings_at(self, iteration: int, anchors: AnchorModel) -> Surroundings:
        """Neighbours and scene-agnostic features, found anew where anchors or, after a while, masks have changed."""
        if iteration % self.settings.table_refresh == 0:
            self.anchors_changed(anchors)
        if self._kept is None:
            self._kept = torch.nonzero(keep_mask(anchors.mask_logits).any(dim=1)).squeeze(1)
        if self._surroundings is None:
            self._surroundings = Surroundings.of(anchors.coords, self._kept, self.entropy.settings)
        return self._surroundings

    def _loss(
        self, iteration: int, lmbda: float, bits: Tensor, num_priced: int, kept: Tensor, anchors: AnchorModel
    ) -> tuple[Tensor, dict[str, float]]:
        """λ times the mean bits per scalar, and the push on the masks (HAC, arXiv 2403.14530, equation 8)."""
        since = iteration - self.settings.entropy_start
        weight = lmbda * min(1.0, 0.1 + 0.9 * since / max(self.settings.rate_warmup, 1))
        scalars = self.entropy.settings.feature_dim + self.entropy.settings.geometry_dim
        share_kept = float(kept.float().mean())
        per_scalar = bits * (share_kept / (max(num_priced, 1) * scalars))
        grid_weight = min(max(since / max(self.settings.grid_free, 1) - 1, 0.0), 1.0)
        grid = grid_weight * self.entropy.grid.bits() / (anchors.num_anchors * scalars)
        masks = torch.sigmoid(anchors.mask_logits).mean()
        loss = weight * (per_scalar + grid) + self.settings.mask_weight * masks
        if num_priced:
            self._estimate(float(bits.detach()) / num_priced)
        figures = {"bits_per_scalar": float(per_scalar.detach()), "lmbda": lmbda, "kept": share_kept}
        return loss, figures

    def _noisy(self, exact: AnchorAttributes, masks: Tensor) -> AnchorAttributes:
        """Uniform noise as wide as the base steps."""
        steps = self.base_steps
        return AnchorAttributes(
            _with_noise(exact.features, exact.features.new_tensor(steps.features)),
            _with_noise(exact.scalings, exact.scalings.new_tensor(steps.scalings)).clamp_min(0),
            _with_noise(exact.offsets, exact.offsets.new_tensor(steps.offsets)),
            masks,
        )

    def _draw_lmbda(self, iteration: int) -> float:
        """One of the trained λ; later, half of the time, any between them."""
        trained = self.settings.lmbdas
        choice, position, anywhere = torch.rand(3).tolist()
        if iteration >= self.settings.continuous_start and anywhere < 0.5:
            return float(min(trained) * (max(trained) / min(trained)) ** position)
        return float(trained[int(choice * len(trained))])

    @torch.no_grad()
    def _calibrate(self, anchors: AnchorModel) -> None:
        """Starts grid bounds and distributions from the anchors as they are."""
        kept = torch.nonzero(keep_mask(anchors.mask_logits).any(dim=1)).squeeze(1)
        values = anchors.attributes(kept)
        self.entropy.set_bounds(anchors.coords[kept])
        self.entropy.features.calibrate(values.features / self.base_steps.features)
        base = self.base_steps.geometry(anchors.num_offsets, kept.device)
        self.entropy.geometry.calibrate(torch.cat([values.scalings, values.offsets.flatten(1)], dim=1) / base)
        self._calibrated = True

    def _estimate(self, bits_per_anchor: float) -> None:
        if self._bits_per_anchor < 0:
            self._bits_per_anchor = bits_per_anchor
        self._bits_per_anchor += _ESTIMATE_MOMENTUM * (bits_per_anchor - self._bits_per_anchor)

    @torch.no_grad()
    def estimated_bytes(self, anchors: AnchorModel) -> int | None:
        if self._bits_per_anchor < 0:
            return None
        num = int(keep_mask(anchors.mask_logits).any(dim=1).sum())
        fixed = sum(parameter.numel() for network in self.entropy.networks() for parameter in network.parameters())
        fixed += 2 * sum(parameter.numel() for parameter in anchors.heads.parameters())
        anchor_bits = self._bits_per_anchor + _LOCATION_BITS + anchors.num_offsets
        return fixed + int((num * anchor_bits + float(self.entropy.grid.bits())) / 8)

    def state(self) -> dict[str, Tensor]:
        return {
            "calibrated": torch.tensor(self._calibrated),
            "bits_per_anchor": torch.tensor(self._bits_per_anchor, dtype=torch.float64),
            **({} if self._kept is None else {_KEPT: self._kept}),
            **{name: value.clone() for name, value in self.entropy.named_buffers()},
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._calibrated = bool(tensors["calibrated"])
        self._bits_per_anchor = float(tensors["bits_per_anchor"])
        for name, value in self.entropy.named_buffers():
            value.copy_(tensors[name])
        kept = tensors.get(_KEPT)
        self._kept = None if kept is None else kept.to(self.entropy.low.device)


@dataclass(frozen=True)
class _Batch:
    """Attributes of n anchors in base steps, ``[n, 3]``, ``[n, D]``, ``[n, 6 + 3K]``; which geometry is not masked."""

    coords: Tensor
    features: Tensor
    geometry: Tensor
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
    def of(group: AttributeGroup, prior: Tensor, rate: Tensor, values: Tensor, rounded: bool) -> _CodedGroup:
        """Predicts steps from the prior and ``rate [n, 1]``, and quantises ``values [n, C]`` with them."""
        log2_step = group.rate_predictor.log2_steps(prior, rate)
        step = torch.exp2(log2_step)
        noisy = _with_noise(values, step)
        seen = values + (torch.round(values / step) * step - values).detach() if rounded else noisy
        return _CodedGroup(prior, log2_step, noisy, seen)

    def bits(
        self, group: AttributeGroup, present: Tensor | None, chosen: Tensor, pairs: Pairs | None, rate: float
    ) -> Tensor:
        """Code length of the ``chosen`` rows, ``[m, C]``; what is not ``present`` is zero to its neighbours."""
        seen = None
        if group.autoregressive is not None and pairs is not None:
            values = self.seen.index_select(0, pairs.neighbour)
            there = None if present is None else present.index_select(0, pairs.neighbour)
            seen = Seen(pairs, values if there is None else values * there, there)
        prior = self.prior.index_select(0, chosen)
        rates = prior.new_full((len(chosen), 1), rate)
        prediction = group.predict(prior, rates, self.log2_step.index_select(0, chosen), seen)
        return prediction.bits(self.noisy.index_select(0, chosen))


@dataclass(frozen=True)
class _Coded:
    """Both groups."""

    features: _CodedGroup
    geometry: _CodedGroup


def _with_noise(values: Tensor, step: Tensor) -> Tensor:
    """``values`` plus uniform noise one step wide: rounding as training sees it."""
    return values + (torch.rand_like(values) - 0.5) * step
