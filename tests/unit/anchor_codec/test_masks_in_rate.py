"""Masks that are learned from the bits they save: gradients, weights, the sample, the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hemgs.anchor_codec.masks import anchor_masks, binary_masks
from hemgs.anchor_codec.phases import PhasedAttributes, coded_weights
from hemgs.anchor_codec.settings import PhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.codec.params import HemgsParams
from tests.unit.codec.toy_anchors import FEATURES, OFFSETS, toy_anchors

SETTINGS = PhaseSettings(
    noise_start=10,
    growth_pause=5,
    entropy_start=20,
    rate_warmup=0,
    side_free=0,
    sample_share=0.05,
    mask_weight=5e-4,
    network_lr=(5e-3, 1e-5),
    masks_in_rate=True,
)
SCALARS = FEATURES + 6 + 3 * OFFSETS


class _Networks(nn.Module):
    """A codec without networks and side information."""

    def networks(self) -> Sequence[nn.Module]:
        return []

    def side_bits(self) -> Tensor:
        return torch.zeros(())


def phased(settings: PhaseSettings = SETTINGS) -> PhasedAttributes:
    return PhasedAttributes(_Networks(), BaseSteps(), settings)


def sigmoid_slope(logits: Tensor) -> Tensor:
    soft = torch.sigmoid(logits.detach())
    return soft * (1 - soft)


def test_anchor_masks_are_exact_bits_with_the_gradient_of_the_mean() -> None:
    logits = torch.tensor([[-9.0, -9.0], [-9.0, 1.0], [1.0, 2.0]], requires_grad=True)
    anchor = anchor_masks(binary_masks(logits))
    assert anchor.tolist() == [[0.0], [1.0], [1.0]]
    anchor.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, sigmoid_slope(logits) / 2)


def test_weights_are_the_anchor_s_mask_and_the_offset_s_own() -> None:
    """Expected: d(anchor * own) = d(anchor) * own + anchor * d(own), and anchors gain from each of their masks."""
    logits = torch.tensor([[-9.0, -9.0], [-9.0, 1.0]], requires_grad=True)
    weights = coded_weights(binary_masks(logits), feature_dim=4)
    assert weights[0].tolist() == [0.0] * 16
    assert weights[1].tolist() == [1.0] * 10 + [0.0] * 3 + [1.0] * 3
    bits = torch.arange(1.0, 17.0).expand(2, 16)
    (weights * bits).sum().backward()
    slope = sigmoid_slope(logits)
    alone, first, second = float(bits[0, :10].sum()), float(bits[0, 10:13].sum()), float(bits[0, 13:].sum())
    wanted = torch.stack([slope[0] * alone / 2, slope[1] * ((alone + second) / 2 + torch.tensor([first, second]))])
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, wanted)


def test_sample_is_of_all_anchors() -> None:
    model = toy_anchors(4000)
    torch.manual_seed(0)
    rows = phased().sampled_rows(model)
    assert 0.03 < len(rows) / model.num_anchors < 0.07
    assert rows.max() > 0.9 * model.num_anchors and torch.equal(rows, rows.unique())


@pytest.mark.parametrize("in_rate", [True, False])
def test_loss_is_the_mean_over_all_scalars_of_the_sample(in_rate: bool) -> None:
    """Masked anchors are in the denominator, and the loss contains only the rate."""
    model = toy_anchors(100)
    bits = torch.tensor(1000.0, requires_grad=True)
    kept = torch.tensor([True, False, True, True])
    hook = phased(replace(SETTINGS, masks_in_rate=in_rate))
    loss, figures = hook.rate_loss(21, 0.5, bits, 4, kept, model)
    per_scalar = 1000 / (4 * SCALARS) * (1 if in_rate else 0.75)
    push = 0.0 if in_rate else 5e-4 * torch.sigmoid(model.mask_logits).mean().item()
    assert figures["bits_per_scalar"] == pytest.approx(per_scalar)
    assert loss.item() == pytest.approx(0.5 * per_scalar + push)
    loss.backward()
    assert (model.mask_logits.grad is None) == in_rate
    # Both estimate the size from the bits of a coded anchor.
    assert float(hook.state()["bits_per_anchor"]) == pytest.approx(1000 / (3 if in_rate else 4))


def test_sample_of_nothing_costs_nothing() -> None:
    model = toy_anchors(100)
    hook = phased()
    loss, figures = hook.rate_loss(21, 0.5, torch.zeros(()), 0, torch.zeros(0, dtype=torch.bool), model)
    assert (loss.item(), figures["kept"], hook.estimated_bytes(model)) == (0.0, 0.0, None)


def test_rendered_masks_scale_in_every_phase_only_where_they_are_in_the_rate() -> None:
    model = toy_anchors(50)
    everyone = torch.arange(model.num_anchors)
    for iteration in (1, 15):
        for in_rate in (True, False):
            hook = phased(replace(SETTINGS, masks_in_rate=in_rate))
            assert hook.sample(iteration, model, everyone)[0].masks_scale == in_rate


def test_settings_reach_the_plan() -> None:
    assert not HemgsParams().phases.masks_in_rate
    assert HemgsParams(masks_in_rate=True).simulation.masks_in_rate
