"""HAC: its part in training and its settings; for what all rivals have in common see ``test_rival_training``."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from baselines.hac.model import HacAttributes, HacModel
from baselines.hac.params import HacParams, HacSettings
from hemgs.anchor_codec.likelihood import gaussian_bits
from hemgs.anchor_codec.settings import GridPhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.model import AnchorModel
from hemgs.core.errors import ConfigError
from tests.narrowing import grad_of, present
from tests.unit.baselines.toy_hac import SETTINGS, toy_anchors

PLAN = GridPhaseSettings(
    noise_start=10,
    growth_pause=5,
    entropy_start=20,
    rate_warmup=10,
    side_free=0,
    sample_share=1.0,
    mask_weight=5e-4,
    network_lr=(5e-3, 1e-5),
    grid_lr=(5e-3, 1e-5),
)
LMBDA = 0.002


def attributes(model: AnchorModel, lmbda: float = LMBDA, **plan: Any) -> HacAttributes:
    torch.manual_seed(0)
    hook = HacAttributes(HacModel(SETTINGS), BaseSteps(), GridPhaseSettings(**{**vars(PLAN), **plan}), lmbda)
    hook.start(model, 1.0)
    return hook


def everyone(model: AnchorModel) -> torch.Tensor:
    return torch.arange(model.num_anchors)


def test_defaults_are_the_published_settings() -> None:
    params = HacParams()
    assert params.entropy == HacSettings(50, 10, hidden=100)
    assert HacModel(params.entropy).grid.table.numel() == 1_766_272
    plan = params.phases
    assert (plan.noise_start, plan.growth_pause, plan.entropy_start) == (3_001, 1_000, 10_001)
    assert (plan.sample_share, plan.mask_weight) == (0.05, 5e-4)
    assert (plan.network_lr, plan.grid_lr) == ((5e-3, 1e-5), (5e-3, 1e-5))
    assert BaseSteps.of(params) == BaseSteps(1.0, 0.001, 0.2)
    assert (params.iterations, params.grow_until, params.lr_masks) == (30_000, 15_000, 0.01)


def test_price_is_that_of_the_values_rendered_under_the_prediction() -> None:
    model = toy_anchors(200)
    hook = attributes(model, mask_weight=0.0)
    rendered, loss, figures = hook.sample(40, model, everyone(model))
    masks = present(rendered.masks)
    kept = masks.amax(dim=1) > 0
    prediction = hook.entropy.predict(model.coords)
    exact = torch.cat([rendered.features, rendered.scalings / 0.001, rendered.offsets.flatten(1) / 0.2], dim=1)
    step = prediction.step
    bits = gaussian_bits(exact / step, prediction.mean / step, prediction.log2_scale - prediction.log2_step)
    offsets = masks.repeat_interleave(3, dim=1)
    wanted = torch.cat([torch.ones(len(offsets), 14), offsets], dim=1) * kept[:, None]
    scalars = exact.shape[1]
    per_scalar = (bits * wanted).sum() / (kept.sum() * scalars) * kept.float().mean()
    grid = hook.entropy.grid.bits() / (model.num_anchors * scalars)
    # A scaling below zero is rendered as zero, and priced as it is.
    assert figures["bits_per_scalar"] == pytest.approx(per_scalar.item(), rel=2e-3)
    assert loss.item() == pytest.approx(LMBDA * (figures["bits_per_scalar"] + grid.item()), rel=1e-5)


def test_noise_is_as_wide_as_the_predicted_step() -> None:
    model = toy_anchors(200)
    hook = attributes(model)
    hook.sample(20, model, everyone(model))
    with torch.no_grad():
        hook.entropy.predictor.second.weight.zero_()
        hook.entropy.predictor.second.bias[-3:] = torch.tensor([-1.0, 0.0, 1.0])
    rendered, _, _ = hook.sample(21, model, everyone(model))
    for value, exact, base, learned in (
        (rendered.features, model.features, 1.0, -1.0),
        (rendered.scalings, model.log_scalings.exp(), 0.001, 0.0),
        (rendered.offsets, model.offsets, 0.2, 1.0),
    ):
        half = 0.5 * base * (1 + math.tanh(learned))
        assert 0.97 * half < (value - exact).abs().max().item() <= half * 1.001 + 1e-6


def test_price_pushes_values_masks_and_networks() -> None:
    model = toy_anchors(100)
    hook = attributes(model)
    _, loss, _ = hook.sample(30, model, everyone(model))
    loss.backward()
    # Masked offsets and anchors that are not coded have no price.
    kept = torch.sigmoid(model.mask_logits) > 0.01
    assert (grad_of(model.features)[kept.any(dim=1)].abs().sum(dim=1) > 0).all()
    assert (grad_of(model.offsets)[~kept] == 0).all()
    assert (grad_of(model.mask_logits)[kept] > 0).all()
    for group in hook.parameter_groups():
        assert all(grad_of(parameter).abs().sum() > 0 for parameter in group.parameters), group.name


def test_share_of_the_anchors_is_priced() -> None:
    model = toy_anchors(2000)
    hook = attributes(model, sample_share=0.05)
    hook.sample(30, model, everyone(model))[1].backward()
    priced = (grad_of(model.features).abs().sum(dim=1) > 0).float().mean().item()
    assert 0.02 < priced < 0.08


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="hidden"):
        HacParams(hidden=0)
    with pytest.raises(ConfigError, match="sample_share"):
        HacParams(sample_share=0.0)
