"""HEMGS while anchors train: simulated quantisation, the price of the attributes, learned offset masks.

Three phases, as in HAC (arXiv 2403.14530, released code): attributes as they are; uniform noise with base steps;
uniform noise with predicted steps and the rate in the loss. In the last phase each step draws one λ, which has the same
expectation as the paper's mean over all of them (arXiv 2411.18473, equation 2).

Owns what happens in which phase. Does not own the anchors, their growth, or the rendering loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hemgs.anchors import AnchorAttributes, AnchorModel, AttributeModel, ParameterGroup
from hemgs.entropy.masks import binary_masks, keep_mask
from hemgs.entropy.model import SCALING_DIM, EntropyModel
from hemgs.entropy.rate_predictor import rate_input

#: Weight of the new value in the running mean behind the estimated size.
_ESTIMATE_MOMENTUM = 0.05
#: Bits of a stored location: 16 per axis.
_LOCATION_BITS = 48
#: No anchor has been priced yet; finite, because checkpoints must be.
_UNKNOWN = -1.0


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
        lmbda, entropy = self._draw_lmbda(iteration), self.entropy
        num = visible.numel()
        rate = exact.features.new_full((num, 1), rate_input(lmbda))
        hashed = entropy.hash_features(anchors.coords.index_select(0, visible))
        feature_prior = entropy.features.prior(hashed, None)
        feature_steps = entropy.features.rate_predictor.log2_steps(feature_prior, rate)
        features = _with_noise(exact.features / self.base_steps.features, torch.exp2(feature_steps))
        geometry_prior = entropy.geometry.prior(hashed, entropy.previous(features))
        geometry_steps = entropy.geometry.rate_predictor.log2_steps(geometry_prior, rate)
        base = self.base_steps.geometry(anchors.num_offsets, hashed.device)
        plain = torch.cat([exact.scalings, exact.offsets.flatten(1)], dim=1) / base
        geometry = _with_noise(plain, torch.exp2(geometry_steps))

        kept = masks.detach().amax(dim=1) > 0
        chosen = torch.nonzero(kept & (torch.rand(num, device=kept.device) < self.settings.sample_share)).squeeze(1)

        def rows(values: Tensor) -> Tensor:
            return values.index_select(0, chosen)

        feature_bits = entropy.features.predict(rows(feature_prior), rows(rate), rows(feature_steps))
        geometry_bits = entropy.geometry.predict(rows(geometry_prior), rows(rate), rows(geometry_steps))
        offset_masks = rows(masks).repeat_interleave(3, dim=1)
        weights = torch.cat([torch.ones_like(offset_masks[:, :1]).expand(-1, SCALING_DIM), offset_masks], dim=1)
        bits = feature_bits.bits(rows(features)).sum() + (geometry_bits.bits(rows(geometry)) * weights).sum()

        loss, figures = self._loss(iteration, lmbda, bits, chosen.numel(), kept, anchors)
        scalings, offsets = (geometry * base).split([SCALING_DIM, 3 * anchors.num_offsets], dim=1)
        attributes = AnchorAttributes(
            features * self.base_steps.features, scalings.clamp_min(0), offsets.view_as(exact.offsets), masks
        )
        return attributes, loss, figures

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
            **{name: value.clone() for name, value in self.entropy.named_buffers()},
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._calibrated = bool(tensors["calibrated"])
        self._bits_per_anchor = float(tensors["bits_per_anchor"])
        for name, value in self.entropy.named_buffers():
            value.copy_(tensors[name])


def _with_noise(values: Tensor, step: Tensor) -> Tensor:
    """``values`` plus uniform noise one step wide: rounding as training sees it."""
    return values + (torch.rand_like(values) - 0.5) * step
