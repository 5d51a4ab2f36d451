"""ContextGS: its part in training and its settings; for what all rivals have in common see ``test_rival_training``."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.context_gs.levels import levels_in_training
from baselines.context_gs.method import ContextGs
from baselines.context_gs.model import ContextAttributes, ContextModel, Order
from baselines.context_gs.params import ContextGsParams, ContextSettings
from hemgs.anchor_codec.settings import PhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.model import AnchorModel
from hemgs.bench.rates import rate_of
from hemgs.core.errors import ConfigError
from tests.narrowing import grad_of, present
from tests.tasks import task_on
from tests.unit.anchors.ball_scene import ball_scene
from tests.unit.baselines.rivals import trained_for
from tests.unit.baselines.toy_context_gs import LATENTS, SETTINGS, toy_anchors

PLAN = PhaseSettings(
    noise_start=10,
    growth_pause=5,
    entropy_start=20,
    rate_warmup=10,
    side_free=0,
    sample_share=1.0,
    mask_weight=5e-4,
    network_lr=(5e-3, 1e-5),
)
LMBDA, REFRESH = 0.002, 7


def attributes(model: AnchorModel, **plan: Any) -> ContextAttributes:
    torch.manual_seed(0)
    settings = PhaseSettings(**{**vars(PLAN), **plan})
    rates = (0.0075, 0.0075), (5e-3, 1e-5)
    hook = ContextAttributes(ContextModel(SETTINGS), BaseSteps(), settings, REFRESH, LMBDA, *rates)
    hook.start(model, 1.0)
    return hook


def everyone(model: AnchorModel) -> torch.Tensor:
    return torch.arange(model.num_anchors)


def kept_of(model: AnchorModel) -> torch.Tensor:
    return (torch.sigmoid(model.mask_logits.detach()) > 0.01).any(dim=1)


def test_defaults_are_the_published_settings() -> None:
    params = ContextGsParams()
    assert params.entropy == ContextSettings(50, 10, hidden=100, num_levels=3, latent_dim=12)
    networks = ContextModel(params.entropy).networks()
    assert [network.first.in_features for network in networks] == [15, 71, 71]
    assert all(network.second.out_features == 175 for network in networks)
    weights = [network.parameters() for network in (*networks, AnchorHeads(50, 10))]
    # 0.316 MiB as float32: the figure of HEMGS's table of complexities (arXiv 2411.18473).
    assert sum(parameter.numel() for each in weights for parameter in each) == 82_885
    plan = params.phases
    assert (plan.noise_start, plan.growth_pause, plan.entropy_start) == (3_001, 1_000, 10_001)
    assert (plan.sample_share, plan.mask_weight, plan.network_lr) == (0.15, 5e-4, (5e-3, 1e-5))
    assert (params.lr_latents, params.lr_density, params.lr_density_end) == (0.0075, 5e-3, 1e-5)
    assert BaseSteps.of(params) == BaseSteps(1.0, 0.001, 0.2)


def test_rendered_attributes_are_those_of_the_visible_anchors() -> None:
    model = toy_anchors(300)
    hook = attributes(model)
    visible = torch.arange(2, model.num_anchors, 3).flip(0)
    rendered, _, _ = hook.sample(30, model, visible)
    assert rendered.num_anchors == len(visible)
    assert (rendered.features - model.features[visible]).abs().max() <= 1.01
    assert (rendered.offsets - model.offsets[visible]).abs().max() <= 0.21
    assert torch.equal(present(rendered.masks).bool(), torch.sigmoid(model.mask_logits[visible]) > 0.01)


def test_price_reaches_anchors_that_the_camera_does_not_see() -> None:
    model = toy_anchors(300)
    attributes(model).sample(30, model, torch.arange(5))[1].backward()
    kept = kept_of(model)
    assert (grad_of(model.features)[kept].abs().sum(dim=1) > 0).all()
    assert (grad_of(model.latents)[kept].abs().sum(dim=1) > 0).all()
    # Anchors that no file will contain have no price, and are not the context of coded anchors.
    assert (~kept).sum() >= 20
    assert (grad_of(model.features)[~kept] == 0).all() and (grad_of(model.latents)[~kept] == 0).all()


def test_price_pushes_values_masks_latents_and_networks() -> None:
    model = toy_anchors(300)
    hook = attributes(model)
    hook.sample(30, model, everyone(model))[1].backward()
    masks = torch.sigmoid(model.mask_logits) > 0.01
    assert (grad_of(model.offsets)[~masks] == 0).all()
    assert (grad_of(model.mask_logits)[masks] > 0).all()
    for group in hook.parameter_groups():
        assert all(grad_of(parameter).abs().sum() > 0 for parameter in group.parameters), group.name


def test_a_share_of_all_anchors_is_priced() -> None:
    model = toy_anchors(2000)
    hook = attributes(model, sample_share=0.15, mask_weight=0.0)
    hook.sample(30, model, torch.arange(10))[1].backward()
    kept = kept_of(model)
    # Other anchors may be contexts of priced ones; their masks have no effect on this.
    priced = (grad_of(model.mask_logits)[kept].abs().sum(dim=1) > 0).float().mean().item()
    assert 0.12 < priced < 0.18


def test_latents_are_paid_for() -> None:
    """Bits rise as the density predicts when latents leave its middle, and the networks do not see this."""
    model = toy_anchors(300)
    hook = attributes(model, mask_weight=0.0)
    figures = []
    for value in (0.0, 6.0):
        hook.sample(20, model, everyone(model))
        with torch.no_grad():
            model.latents.fill_(value)
            for predictor in hook.entropy.predictors:
                predictor.first.weight[:, -LATENTS:] = 0
        torch.manual_seed(3)
        figures.append(hook.sample(40, model, everyone(model))[2]["bits_per_scalar"])
        torch.manual_seed(3)
        kept = kept_of(model)
        noise = torch.rand(len(kept)), torch.rand_like(model.latents) - 0.5
        bits = hook.entropy.density.bits(model.latents.detach() + noise[1])[kept].sum(dim=1).mean()
        figures.append(bits.item() * kept.float().mean().item() / (8 + 6 + 12))
    assert figures[2] - figures[0] == pytest.approx(figures[3] - figures[1], rel=1e-3)
    assert figures[2] > figures[0] + 0.1


def test_finer_anchors_see_the_noisy_values_of_their_coarse_one() -> None:
    model = toy_anchors(300)
    hook = attributes(model)
    hook.sample(20, model, everyone(model))
    order = hook.found(21, model)
    levels = levels_in_training(model.coords.numpy(), kept_of(model).numpy(), hook.entropy.scales.tolist())
    child = int(order.rows[1][0])
    parent = int(levels.representative[child])
    assert parent in order.rows[0].tolist()
    place = order.place
    with torch.no_grad():
        for predictor in hook.entropy.predictors:
            torch.nn.init.normal_(predictor.second.weight)

    def prediction(shift: float, row: int) -> torch.Tensor:
        torch.manual_seed(5)
        with torch.no_grad():
            model.features[row] += shift
            predictions, _ = hook._noisy_levels(model, order, model.latents)
            model.features[row] -= shift
        return torch.cat([each.mean for each in predictions])[place[child]]

    assert not torch.allclose(prediction(3.0, parent), prediction(0.0, parent))
    stranger = next(row for row in order.rows[0].tolist() if row != parent)
    assert torch.allclose(prediction(3.0, stranger), prediction(0.0, stranger))
    assert torch.allclose(prediction(3.0, child), prediction(0.0, child))


def test_order_finds_every_anchor() -> None:
    model = toy_anchors(200)
    kept = kept_of(model).numpy()
    levels = levels_in_training(model.coords.numpy(), kept, [4 * 256, 20 * 256])
    order = Order.of(levels, torch.device("cpu"))
    whole = torch.cat(order.rows)
    assert torch.equal(whole[order.place], everyone(model))
    for rows, parents in zip(order.rows[1:], order.parents, strict=True):
        assert torch.equal(whole[parents], torch.from_numpy(levels.representative)[rows])


def test_levels_are_found_again_when_anchors_or_masks_have_changed() -> None:
    model = toy_anchors(200)
    hook = attributes(model)
    hook.sample(20, model, everyone(model))
    first, scales = hook._found, hook.entropy.scales.clone()
    hook.sample(22, model, everyone(model))
    assert hook._found is first
    hook.sample(4 * REFRESH, model, everyone(model))
    second = hook._found
    assert second is not first
    hook.anchors_changed(model)
    hook.sample(4 * REFRESH + 1, model, everyone(model))
    assert hook._found is not second
    assert torch.equal(hook.entropy.scales, scales)


def test_locations_do_not_depend_on_where_or_how_large_the_scene_is() -> None:
    model = ContextModel(SETTINGS)
    coords = toy_anchors(200).coords
    values = torch.randn(len(coords), 26)
    found = []
    for moved in (coords, coords * 10 + 5000):
        model.calibrate(moved, values)
        found.append(model.locations(moved))
    first, second = found
    assert torch.allclose(first, second, atol=1e-6)
    assert 0.8 < first.abs().mean() < 1.2
    assert model.locations(coords * 10**6).abs().max() == 32


def test_training_has_latents_and_refreshes_of_its_length(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    params = {"iterations": 90, "feature_dim": 16}
    _, hook, _ = trained_for("context_gs", params, rate_of(0.004), monkeypatch, tmp_path)
    assert hook.latents is not None and (hook.latents.dim, hook.latents.lr_start) == (4, 0.0075)
    assert hook._refresh == 1000 * 90 // 30_000


@pytest.mark.parametrize("fields", [{"hidden": 0}, {"latents": 65}, {"num_levels": 0}, {"num_levels": 9}])
def test_settings_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        ContextGsParams(**fields)


def test_number_of_latents_follows_the_features_unless_given() -> None:
    assert ContextGsParams(feature_dim=16).entropy.latent_dim == 4
    assert ContextGsParams(feature_dim=2).entropy.latent_dim == 1
    assert ContextGsParams(feature_dim=1000).entropy.latent_dim == 64
    assert ContextGsParams(latents=7).entropy.latent_dim == 7


def test_latents_grow_and_are_pruned_with_their_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole training: it grows while latents are trained, its model contains them, and its file can be read."""
    params = {
        "iterations": 60, "voxel_size": 0.05, "feature_dim": 8, "num_offsets": 3, "noise_from": 1_000,
        "growth_pause": 1, "entropy_from": 5_000, "grow_factor": 4, "grow_interval": 10, "grow_threshold": 1e-5,
        "statistics_from": 500, "grow_from": 2_000, "grow_until": 25_000, "grow_success": 0.4, "min_opacity": 0.05,
    }  # fmt: skip
    method, rate, device, changes = ContextGs(), rate_of(0.001), torch.device("cpu"), []
    changed = ContextAttributes.anchors_changed

    def spy(hook: ContextAttributes, anchors: AnchorModel) -> None:
        changes.append((anchors.num_anchors, bool((anchors.latents != 0).any())))
        assert anchors.latents.shape == (anchors.num_anchors, 2)
        changed(hook, anchors)

    monkeypatch.setattr(ContextAttributes, "anchors_changed", spy)
    model = method.train(task_on(ball_scene(), tmp_path, params, rate=rate, seed=1))
    assert any(later > earlier and moved for (earlier, _), (later, moved) in itertools.pairwise(changes)), changes
    latents = model.tensors["latents"]
    assert latents.shape == (len(model.tensors["coords"]), 2)
    assert (latents != 0).any(dim=1).float().mean() > 0.5
    table = method.encode(model, rate, tmp_path / "ball.gsc", device=device)
    decoded = method.decode(tmp_path / "ball.gsc", device=device)
    assert table.figures["num_anchors"] == decoded.num_anchors
    assert math.isfinite(float(decoded.attributes.features.sum()))
