"""HAC++: its part in training and its settings; for what all rivals have in common see ``test_rival_training``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.hac_plus.method import HacPlus
from baselines.hac_plus.model import HacPlusAttributes, HacPlusModel
from baselines.hac_plus.params import HacPlusParams, HacPlusSettings
from hemgs.anchor_codec.prediction import Prediction
from hemgs.anchor_codec.settings import GridPhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.model import AnchorModel
from hemgs.bench.rates import rate_of
from hemgs.core.errors import ConfigError
from tests.narrowing import grad_of
from tests.unit.baselines.rivals import trained_for
from tests.unit.baselines.toy_hac_plus import SETTINGS, toy_anchors, toy_model

PLAN = GridPhaseSettings(
    noise_start=10,
    growth_pause=5,
    entropy_start=20,
    rate_warmup=0,
    side_free=0,
    sample_share=1.0,
    mask_weight=5e-4,
    network_lr=(5e-3, 1e-5),
    grid_lr=(5e-3, 1e-5),
    masks_in_rate=True,
)
LMBDA = 0.002


def attributes(model: AnchorModel, **plan: Any) -> HacPlusAttributes:
    torch.manual_seed(0)
    settings = GridPhaseSettings(**{**vars(PLAN), **plan})
    hook = HacPlusAttributes(HacPlusModel(SETTINGS), BaseSteps(), settings, LMBDA, (5e-3, 5e-4))
    hook.start(model, 1.0)
    return hook


def everyone(model: AnchorModel) -> torch.Tensor:
    return torch.arange(model.num_anchors)


def test_defaults_are_the_published_settings() -> None:
    params = HacPlusParams()
    assert params.entropy == HacPlusSettings(50, 10, hidden=100, chunk_channels=10, chunk_hidden=40)
    model = HacPlusModel(params.entropy)
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in model.networks()]
    assert (sizes[0], sum(sizes[1:])) == (32_425, 40_350)
    plan = params.phases
    assert (plan.noise_start, plan.growth_pause, plan.entropy_start) == (3_001, 1_000, 10_001)
    assert plan.masks_in_rate and plan.sample_share == 0.05
    assert (params.location_codec, params.mask_codec) == ("octree", "adaptive")
    assert (params.lr_contexts, params.lr_contexts_end) == (5e-3, 5e-4)


@pytest.mark.parametrize(("lmbda", "last"), [(0.0005, 2.5e-4), (0.001, 5e-4), (0.003, 1.5e-3), (0.004, 1.5e-3)])
def test_masks_learn_slower_at_the_end_for_smaller_rates(lmbda: float, last: float) -> None:
    assert HacPlus().for_rate(HacPlusParams(), rate_of(lmbda)).lr_masks_end == pytest.approx(last)


def test_training_has_the_settings_of_its_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    params = {"grid_resolutions_3d": "8", "grid_resolutions_2d": "8"}
    settings, _, _ = trained_for("hac_plus", params, rate_of(0.003), monkeypatch, tmp_path)
    assert settings.lr_masks_end == pytest.approx(1.5e-3)
    assert math.isclose(settings.lr_masks, 0.01)


def test_chunks_depend_on_those_before_only() -> None:
    """Decoding goes chunk by chunk, so no chunk may see itself or a later one."""
    anchors = toy_anchors(50)
    model = toy_model(anchors)
    features = anchors.features.detach().clone().requires_grad_(True)
    outputs = model.outputs(anchors.coords)
    mixture = model.mixture(outputs, model.predictor.interpret(outputs), features)
    starts = [0, 0, 0, 3, 3, 3, 6, 6]
    for channel, start in enumerate(starts):
        predicted = mixture.second.mean[:, channel].sum() + mixture.second.log2_scale[:, channel].sum()
        predicted = predicted + mixture.logit[:, channel].sum()
        (gradient,) = torch.autograd.grad(
            predicted, features, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        seen = gradient.abs().sum(dim=0) > 0
        assert seen.tolist() == [number < start for number in range(len(starts))]


def test_price_is_that_of_the_mixture_by_its_definition() -> None:
    anchors = toy_anchors(60)
    model = toy_model(anchors)
    values = torch.cat(BaseSteps().divide(anchors.attributes()), dim=1).detach()
    outputs = model.outputs(anchors.coords)
    prior = model.predictor.interpret(outputs)
    bits = model.bits(outputs, prior, values)
    mixture = model.mixture(outputs, prior, values[:, :8])
    step, weight, mass = prior.step[:, :8], torch.sigmoid(mixture.logit), torch.zeros(len(values), 8)
    for part, share in ((mixture.first, weight), (mixture.second, 1 - weight)):
        normal = torch.distributions.Normal(part.mean.double(), torch.exp2(part.log2_scale).double())
        mass = mass + share * (normal.cdf(values[:, :8] + step / 2) - normal.cdf(values[:, :8] - step / 2))
    likely = mass > 1e-6
    assert likely.float().mean() > 0.7
    torch.testing.assert_close(bits[:, :8][likely].double(), -mass.log2()[likely], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(bits[:, 8:], prior.bits(values)[:, 8:])


def test_rate_is_of_all_anchors_and_rendering_of_the_visible_ones() -> None:
    model = toy_anchors(300)
    hook = attributes(model)
    few = torch.arange(5)
    rendered, loss, figures = hook.sample(30, model, few)
    assert len(rendered.features) == 5 and rendered.masks_scale
    loss.backward()
    kept = torch.sigmoid(model.mask_logits.detach()) > 0.01
    assert figures["kept"] == pytest.approx(kept.any(dim=1).float().mean().item())
    # Masked values have no price, but unmasked ones have: the gradient of every mask of every anchor lowers it.
    assert (grad_of(model.features)[kept.any(dim=1)].abs().sum(dim=1) > 0).all()
    assert (grad_of(model.features)[~kept.any(dim=1)] == 0).all()
    assert (grad_of(model.offsets)[~kept] == 0).all()
    assert (grad_of(model.mask_logits) > 0).all()
    for group in hook.parameter_groups():
        assert all(grad_of(parameter).abs().sum() > 0 for parameter in group.parameters), group.name


def test_loss_is_lmbda_times_bits_alone() -> None:
    model = toy_anchors(200)
    hook = attributes(model)
    _, loss, figures = hook.sample(40, model, everyone(model))
    grid = hook.entropy.grid.bits().item() / (model.num_anchors * 26)
    assert loss.item() == pytest.approx(LMBDA * (figures["bits_per_scalar"] + grid), rel=1e-5)


def test_noise_of_rendering_and_of_the_rate_is_drawn_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_anchors(100)
    hook = attributes(model)
    hook.sample(20, model, everyone(model))
    seen: list[torch.Tensor] = []
    bits = hook.entropy.bits

    def watched(outputs: torch.Tensor, prior: Prediction, values: torch.Tensor) -> torch.Tensor:
        seen.append(values)
        return bits(outputs, prior, values)

    monkeypatch.setattr(hook.entropy, "bits", watched)
    rendered, _, _ = hook.sample(21, model, everyone(model))
    assert seen[0].shape == (model.num_anchors, 26)
    assert (seen[0][:, :8] - rendered.features).abs().mean() > 0.1


def test_context_networks_learn_at_their_own_rate() -> None:
    groups = {group.name: group for group in attributes(toy_anchors(50)).parameter_groups()}
    assert (groups["context_networks"].lr_start, groups["context_networks"].lr_end) == (5e-3, 5e-4)
    assert (groups["entropy_networks"].lr_start, groups["entropy_networks"].lr_end) == (5e-3, 1e-5)
    assert len(groups["context_networks"].parameters) == 4 * 3


def test_settings_that_cannot_be_are_refused() -> None:
    zeros: list[dict[str, Any]] = [{"hidden": 0}, {"chunk_channels": 0}, {"chunk_hidden": 0}]
    for zero in zeros:
        with pytest.raises(ConfigError, match=next(iter(zero))):
            HacPlusParams(**zero)
    with pytest.raises(ConfigError, match="masks_in_rate"):
        HacPlusParams(masks_in_rate=False)
    assert HacPlusParams(feature_dim=4).entropy.chunks == [slice(0, 4)]
