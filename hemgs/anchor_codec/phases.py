"""Training of anchors under a codec of the HAC family: simulated quantisation, the price of attributes, learned masks.

There are three phases, as in HAC (arXiv 2403.14530, released code): unchanged attributes; uniform noise with base
steps; uniform noise with predicted steps and the rate in the loss.

Owns the phases, as far as all codecs share them. Does not own how a codec predicts and prices attributes, or the
anchors, their growth, or the rendering loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from hemgs.anchor_codec.masks import anchor_masks, binary_masks, keep_mask
from hemgs.anchor_codec.settings import HALF, PhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.attribute_model import AttributeModel
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.params import SCALING_DIM
from hemgs.coding.names import OCTREE, RAW16
from hemgs.training.networks import ParameterGroup

#: Result of :meth:`AttributeModel.sample`.
Sample = tuple[AnchorAttributes, Tensor, dict[str, float]]

#: Weight of the new value in the running mean behind the estimated size.
_ESTIMATE_MOMENTUM = 0.05
#: Bits of a stored location. Those of an octree depend on the scene and are slow to count at every report. Anchors of
#: captured and of synthetic scenes take about 10 (``results/measured``: bonsai 10.1, chair 10.0).
_LOCATION_BITS = {RAW16: 48, OCTREE: 10}
#: Value before any anchor has been priced. It is finite, because checkpoints must be finite.
_UNKNOWN = -1.0
_KEPT = "kept_rows"


class CodecModel(Protocol):
    """The part of a codec's networks, a :class:`torch.nn.Module`, that the phases use."""

    def networks(self) -> Sequence[nn.Module]:
        """Return the networks that a bitstream stores as integers."""
        ...

    def side_bits(self) -> Tensor:
        """Return the code length of the side information, a scalar; differentiable."""
        ...


class PhasedAttributes(AttributeModel):
    """Attributes in three phases. Codecs add :meth:`calibrate` and :meth:`priced`.

    Args:
        entropy: the codec's networks to train: a module that is a :class:`CodecModel`.
        base_steps: steps before prediction.
        settings: the plan.
    """

    settings: PhaseSettings

    def __init__(self, entropy: Any, base_steps: BaseSteps, settings: PhaseSettings) -> None:
        self.entropy = entropy
        self.base_steps = base_steps
        self.settings = settings
        self._calibrated = False
        self._bits_per_anchor = _UNKNOWN

    def calibrate(self, anchors: AnchorModel, kept: Tensor) -> None:
        """Start the networks from the present anchors, once, when the last phase begins.

        Args:
            anchors: all anchors.
            kept: ``[M] int64``, the anchors with an offset left.
        """
        raise NotImplementedError

    def priced(
        self, iteration: int, anchors: AnchorModel, visible: Tensor, exact: AnchorAttributes, masks: Tensor
    ) -> Sample:
        """Return attributes with noise of predicted steps, and their price: :meth:`sample` in the last phase.

        Args:
            iteration, anchors, visible: as in :meth:`sample`; at least one anchor is visible.
            exact: attributes of the visible anchors.
            masks: ``[M, K] float32`` of the visible anchors, with gradients.
        """
        raise NotImplementedError

    def start(self, anchors: AnchorModel, extent: float) -> None:
        self.entropy.to(anchors.coords.device)

    def parameter_groups(self) -> list[ParameterGroup]:
        networks = [parameter for network in self.entropy.networks() for parameter in network.parameters()]
        return [ParameterGroup("entropy_networks", networks, *self.settings.network_lr)]

    def allows_growth(self, iteration: int) -> bool:
        return not 0 <= iteration - self.settings.noise_start < self.settings.growth_pause

    def sample(self, iteration: int, anchors: AnchorModel, visible: Tensor) -> Sample:
        attributes, loss, figures = self._sample(iteration, anchors, visible)
        return replace(attributes, masks_scale=self.settings.masks_in_rate), loss, figures

    def _sample(self, iteration: int, anchors: AnchorModel, visible: Tensor) -> Sample:
        exact = anchors.attributes(visible)
        masks = binary_masks(anchors.mask_logits.index_select(0, visible))
        if iteration < self.settings.noise_start or visible.numel() == 0:
            attributes = AnchorAttributes(exact.features, exact.scalings, exact.offsets, masks)
            return attributes, exact.features.new_zeros(()), {}
        if iteration < self.settings.entropy_start:
            return self._noisy(exact, masks), exact.features.new_zeros(()), {}
        if not self._calibrated:
            self.calibrate(anchors, kept_rows(anchors))
            self._calibrated = True
        return self.priced(iteration, anchors, visible, exact, masks)

    def drawn(self, num: int, device: torch.device) -> Tensor:
        """Draw which of ``num`` anchors are in a step's sample, ``[num] bool``."""
        return torch.rand(num, device=device) < self.settings.sample_share

    def sampled_rows(self, anchors: AnchorModel) -> Tensor:
        """Draw the anchors to price in a step from all of them, ``[m] int64``."""
        return torch.nonzero(self.drawn(anchors.num_anchors, anchors.coords.device)).squeeze(1)

    def rate_loss(
        self, iteration: int, lmbda: float, bits: Tensor, num_priced: int, kept: Tensor, anchors: AnchorModel
    ) -> tuple[Tensor, dict[str, float]]:
        """Return λ times the mean bits per scalar, and the loss of the masks (HAC, arXiv 2403.14530, equation 8).

        With ``masks_in_rate`` the bits have a gradient on the masks, and there is no loss of the masks.

        Args:
            iteration: the step.
            lmbda: weight of the mean bits per scalar.
            bits: scalar, code length of the priced anchors; with ``masks_in_rate`` weighed by the masks.
            num_priced: number of priced anchors; with ``masks_in_rate`` of all sampled ones, masked or not.
            kept: ``[M] bool``, which of the anchors that the sample was drawn from, or that were drawn, have an offset
                left.
            anchors: all anchors.

        Returns:
            the loss, and figures for the progress line.
        """
        since = iteration - self.settings.entropy_start
        weight = lmbda * min(1.0, 0.1 + 0.9 * since / max(self.settings.rate_warmup, 1))
        scalars = anchors.feature_dim + SCALING_DIM + 3 * anchors.num_offsets
        share_kept = float(kept.float().mean()) if len(kept) else 0.0
        # Bits of masked anchors are zero, so the mean over all sampled anchors contains the share of the kept ones.
        masks_priced = self.settings.masks_in_rate
        per_scalar = bits * ((1.0 if masks_priced else share_kept) / (max(num_priced, 1) * scalars))
        side_weight = min(max(since / max(self.settings.side_free, 1) - 1, 0.0), 1.0)
        side = side_weight * self.entropy.side_bits() / (anchors.num_anchors * scalars)
        loss = weight * (per_scalar + side)
        if not masks_priced:
            loss = loss + self.settings.mask_weight * torch.sigmoid(anchors.mask_logits).mean()
        num_coded = num_priced * (share_kept if masks_priced else 1)
        if num_coded:
            self._estimate(float(bits.detach()) / num_coded)
        return loss, {"bits_per_scalar": float(per_scalar.detach()), "lmbda": lmbda, "kept": share_kept}

    def _noisy(self, exact: AnchorAttributes, masks: Tensor) -> AnchorAttributes:
        """Add uniform noise as wide as the base steps."""
        steps = self.base_steps
        return AnchorAttributes(
            with_noise(exact.features, exact.features.new_tensor(steps.features)),
            with_noise(exact.scalings, exact.scalings.new_tensor(steps.scalings)).clamp_min(0),
            with_noise(exact.offsets, exact.offsets.new_tensor(steps.offsets)),
            masks,
        )

    def _estimate(self, bits_per_anchor: float) -> None:
        if self._bits_per_anchor < 0:
            self._bits_per_anchor = bits_per_anchor
        self._bits_per_anchor += _ESTIMATE_MOMENTUM * (bits_per_anchor - self._bits_per_anchor)

    @torch.no_grad()
    def estimated_bytes(self, anchors: AnchorModel) -> int | None:
        if self._bits_per_anchor < 0:
            return None
        num = len(kept_rows(anchors))
        fixed = sum(parameter.numel() for network in self.entropy.networks() for parameter in network.parameters())
        storage = self.settings.storage
        heads = sum(
            parameter.numel() * (storage.head_bits if parameter.ndim == 2 else HALF)
            for parameter in anchors.heads.parameters()
        )
        anchor_bits = self._bits_per_anchor + _LOCATION_BITS[storage.locations] + anchors.num_offsets
        return fixed + int((heads + num * anchor_bits + float(self.entropy.side_bits())) / 8)

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


Found = TypeVar("Found")


class RefreshedAttributes(PhasedAttributes, Generic[Found]):
    """Attributes whose prediction uses other anchors. Codecs add :meth:`find`.

    The result of :meth:`find` is computed again when rows change, and after some iterations, because masks change.

    Args:
        entropy, base_steps, settings: as in :class:`PhasedAttributes`.
        refresh: iterations after which it is computed again.
    """

    def __init__(self, entropy: Any, base_steps: BaseSteps, settings: PhaseSettings, refresh: int) -> None:
        super().__init__(entropy, base_steps, settings)
        self._refresh = refresh
        # Rows that were kept when it was found; a resumed training finds the same from them.
        self._kept: Tensor | None = None
        self._found: Found | None = None

    def find(self, anchors: AnchorModel, kept: Tensor) -> Found:
        """Find the properties of all anchors that predictions need.

        Args:
            anchors: all anchors.
            kept: ``[M] int64``, the anchors with an offset left.
        """
        raise NotImplementedError

    def found(self, iteration: int, anchors: AnchorModel) -> Found:
        """Return the result of :meth:`find`, computed now or before."""
        if iteration % self._refresh == 0:
            self.anchors_changed(anchors)
        if self._kept is None:
            self._kept = kept_rows(anchors)
        if self._found is None:
            self._found = self.find(anchors, self._kept)
        return self._found

    def anchors_changed(self, anchors: AnchorModel) -> None:
        self._kept, self._found = None, None

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **({} if self._kept is None else {_KEPT: self._kept})}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        super().restore(tensors)
        kept = tensors.get(_KEPT)
        device = next(buffer.device for buffer in self.entropy.buffers())
        self._kept = None if kept is None else kept.to(device)


def kept_rows(anchors: AnchorModel) -> Tensor:
    """Return the anchors with an offset left, ``[M] int64``."""
    return torch.nonzero(keep_mask(anchors.mask_logits).any(dim=1)).squeeze(1)


def geometry_present(masks: Tensor) -> Tensor:
    """Return which geometry channels are coded, ``[M, 6 + 3K] float32``: all scalings, and offsets by ``masks``."""
    offset_masks = masks.repeat_interleave(3, dim=1)
    return torch.cat([torch.ones_like(offset_masks[:, :1]).expand(-1, SCALING_DIM), offset_masks], dim=1)


def coded_weights(masks: Tensor, feature_dim: int) -> Tensor:
    """Return the factors of each scalar's bits with ``masks_in_rate``, ``[n, D + 6 + 3K]``, with gradients.

    The factor of features and scalings is their anchor's mask; that of offsets also contains their own mask. Masking a
    whole anchor therefore saves all of its bits (HAC++, arXiv 2501.12255, section 4.4).

    Args:
        masks: ``[n, K]``, from :func:`hemgs.anchor_codec.masks.binary_masks`.
        feature_dim: D.
    """
    anchor = anchor_masks(masks)
    return torch.cat([anchor.expand(-1, feature_dim), anchor * geometry_present(masks)], dim=1)


def with_noise(values: Tensor, step: Tensor) -> Tensor:
    """Add uniform noise one step wide to ``values``, which simulates rounding in training."""
    return values + (torch.rand_like(values) - 0.5) * step
