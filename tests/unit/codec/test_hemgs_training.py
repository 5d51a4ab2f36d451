"""HEMGS's part in training: phases, price, masks, and resumption."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hemgs.anchor_codec.masks import binary_masks, keep_mask
from hemgs.anchor_codec.settings import HashGridSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.model import AnchorModel
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import LMBDA_INTERVAL
from hemgs.codec.settings import AUTOMATIC, MAX_AUTOMATIC, ContextWindow, EntropySettings, SimulationSettings
from hemgs.codec.training import HemgsAttributes
from tests.narrowing import grad_of, present

NUM, FEATURES, OFFSETS = 60, 5, 3
SETTINGS = SimulationSettings(
    noise_start=10,
    growth_pause=5,
    entropy_start=20,
    rate_warmup=10,
    side_free=30,
    continuous_start=40,
    rounding_start=90,
    table_refresh=7,
    lmbdas=(1e-3, 4e-3),
    interval=LMBDA_INTERVAL,
    sample_share=1.0,
    mask_weight=5e-4,
    network_lr=(5e-3, 1e-5),
    grid_lr=(5e-3, 1e-5),
)


def anchors() -> AnchorModel:
    torch.manual_seed(0)
    coords = torch.unique(torch.randint(0, 50, (NUM, 3)), dim=0)
    num = len(coords)
    rows = {
        "features": 3 * torch.randn(num, FEATURES),
        "log_scalings": torch.randn(num, 6) - 3,
        "offsets": torch.randn(num, OFFSETS, 3),
        "mask_logits": torch.ones(num, OFFSETS),
    }
    return AnchorModel(coords, 0.1, AnchorHeads(FEATURES, OFFSETS), rows)


def attribute_model(model: AnchorModel, settings: SimulationSettings = SETTINGS) -> HemgsAttributes:
    entropy = EntropyModel(
        EntropySettings(FEATURES, OFFSETS, HashGridSettings((6, 12), (20,), 8, 8, 2), 8, 8, 8, 8, 8, 8)
    )
    hook = HemgsAttributes(entropy, BaseSteps(), settings)
    hook.start(model, 1.0)
    return hook


def everyone(model: AnchorModel) -> torch.Tensor:
    return torch.arange(model.num_anchors)


def test_masks_are_exact_bits_with_the_sigmoid_s_gradient() -> None:
    logits = torch.tensor([-9.0, -4.7, -4.5, 0.0, 3.0], requires_grad=True)
    masks = binary_masks(logits)
    assert masks.tolist() == [0, 0, 1, 1, 1]
    assert keep_mask(logits).tolist() == [False, False, True, True, True]
    masks.sum().backward()
    soft = torch.sigmoid(logits.detach())
    assert torch.allclose(grad_of(logits), soft * (1 - soft))


def test_first_phase_renders_attributes_as_they_are() -> None:
    model = anchors()
    attributes, loss, _ = attribute_model(model).sample(9, model, everyone(model))
    assert torch.equal(attributes.features, model.features)
    assert loss.item() == 0


def test_second_phase_adds_noise_as_wide_as_the_base_steps() -> None:
    model = anchors()
    attributes, loss, _ = attribute_model(model).sample(10, model, everyone(model))
    steps = BaseSteps()
    for noisy, exact, step in (
        (attributes.features, model.features, steps.features),
        (attributes.scalings, model.log_scalings.exp(), steps.scalings),
        (attributes.offsets, model.offsets, steps.offsets),
    ):
        difference = (noisy - exact).abs().max().item()
        assert 0.4 * step < difference <= 0.5 * step + 1e-6
    assert loss.item() == 0


def test_third_phase_prices_the_attributes() -> None:
    """At the first priced step the model is a Gaussian at each channel's own mean and spread."""
    model = anchors()
    hook = attribute_model(model)
    _, loss, figures = hook.sample(20, model, everyone(model))
    features = model.features.detach()
    # Differential entropy of a Gaussian over the step, averaged over channels; log2(sqrt(2 pi e)) = 2.047.
    expected = features.std(dim=0).log2().mean().item() + 2.047
    expected_step = math.log2(figures["lmbda"] / 1e-3) / 2 - 0.5
    assert figures["kept"] == 1.0
    priced = hook.entropy.features
    t = torch.full((model.num_anchors, 1), math.log(figures["lmbda"] / 1e-3) / math.log(4))
    prior = priced.prior(hook.entropy.location_features(model.coords, None), None)
    bits = priced.predict(prior, t, priced.rate_predictor.log2_steps(prior, t)).bits(features).mean().item()
    assert bits == pytest.approx(expected - expected_step, abs=0.1)
    assert loss.item() > 0
    assert present(hook.estimated_bytes(model)) > 6 * model.num_anchors


def test_price_pushes_values_masks_and_networks() -> None:
    model = anchors()
    hook = attribute_model(model)
    _, loss, _ = hook.sample(30, model, everyone(model))
    loss.backward()
    assert grad_of(model.features).abs().sum() > 0
    assert grad_of(model.offsets).abs().sum() > 0
    assert (grad_of(model.mask_logits) > 0).all()  # fewer offsets, fewer bits
    for group in hook.parameter_groups():
        assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in group.parameters)


def test_anchors_out_of_view_are_priced_like_all_others() -> None:
    """A file contains all anchors, also those that cameras rarely see. Only those in view are rendered."""
    model = anchors()
    hook = attribute_model(model, replace(SETTINGS, mask_weight=0.0))
    attributes, loss, _ = hook.sample(30, model, torch.arange(3))
    assert len(attributes.features) == 3
    loss.backward()
    for name in ("features", "log_scalings", "offsets", "mask_logits"):
        assert (grad_of(getattr(model, name)).flatten(1).abs().sum(dim=1) > 0).all(), name


def test_networks_learn_at_full_rate_until_the_price_begins() -> None:
    rates = {group.name: group for group in attribute_model(anchors()).parameter_groups()}
    assert rates["entropy_networks"].decay_from == SETTINGS.entropy_start
    assert (rates["entropy_networks"].lr_start, rates["entropy_networks"].lr_end) == SETTINGS.network_lr


def test_rate_weight_rises_from_a_tenth() -> None:
    model = anchors()
    losses = []
    for since in (0, 5, 10, 15):
        torch.manual_seed(1)
        hook = attribute_model(model, SimulationSettings(**{**vars(SETTINGS), "lmbdas": (2e-3,), "mask_weight": 0.0}))
        torch.manual_seed(1)
        hook.calibrate(model, everyone(model))
        losses.append(hook.sample(20 + since, model, everyone(model))[1].item())
    assert losses[0] / losses[2] == pytest.approx(0.1, rel=1e-3)
    assert losses[1] / losses[2] == pytest.approx(0.55, rel=1e-3)
    assert losses[3] == pytest.approx(losses[2], rel=1e-6)


def test_lmbdas_are_the_trained_ones_first_and_any_later() -> None:
    model = anchors()
    hook = attribute_model(model)
    early = {hook._draw_lmbda(30) for _ in range(200)}
    late = [hook._draw_lmbda(50) for _ in range(400)]
    assert early == {1e-3, 4e-3}
    between = [lmbda for lmbda in late if lmbda not in early]
    assert 120 < len(between) < 280
    assert all(1e-3 < lmbda < 4e-3 for lmbda in between)


def test_masked_anchors_and_offsets_cost_nothing() -> None:
    model = anchors()
    hook = attribute_model(model, SimulationSettings(**{**vars(SETTINGS), "mask_weight": 0.0}))
    with torch.no_grad():
        model.mask_logits[: model.num_anchors // 2] = -9.0
    attributes, _, figures = hook.sample(40, model, everyone(model))
    assert present(attributes.masks)[: model.num_anchors // 2].sum() == 0
    assert figures["kept"] == pytest.approx((model.num_anchors - model.num_anchors // 2) / model.num_anchors)


def test_growth_pauses_when_noise_begins() -> None:
    hook = attribute_model(anchors())
    assert [hook.allows_growth(iteration) for iteration in (9, 10, 14, 15)] == [True, False, False, True]


def test_no_visible_anchor_is_no_error() -> None:
    model = anchors()
    attributes, loss, _ = attribute_model(model).sample(40, model, torch.empty(0, dtype=torch.int64))
    assert attributes.num_anchors == 0
    assert loss.item() == 0


def test_state_round_trip_continues_in_the_same_way() -> None:
    model = anchors()
    first, second = attribute_model(model), attribute_model(model)
    first.sample(20, model, everyone(model))
    second.entropy.load_state_dict({**second.entropy.state_dict(), **dict(first.entropy.named_parameters())})
    second.restore(first.state())
    torch.manual_seed(7)
    one = first.sample(21, model, everyone(model))
    torch.manual_seed(7)
    two = second.sample(21, model, everyone(model))
    assert torch.equal(one[0].features, two[0].features)
    assert torch.equal(one[1], two[1])
    assert first.estimated_bytes(model) == second.estimated_bytes(model)


@pytest.mark.parametrize(("iteration", "share"), [(20, 0.0), (50, 0.0), (65, 0.5), (80, 1.0), (500, 1.0)])
def test_hash_grid_is_free_at_first_and_paid_for_later(iteration: int, share: float) -> None:
    """The price of the grid has its own weight; the rest of the loss does not change with it."""
    model = anchors()
    hook = attribute_model(model)
    hook.calibrate(model, everyone(model))
    kept = torch.ones(model.num_anchors, dtype=torch.bool)
    bits = torch.tensor(5e3)
    priced = hook.rate_loss(iteration, 2e-3, bits, 40, kept, model)[0]
    hook.entropy.grid.bits = lambda: torch.zeros(())  # type: ignore[method-assign]
    free = hook.rate_loss(iteration, 2e-3, bits, 40, kept, model)[0]
    scalars = FEATURES + 6 + 3 * OFFSETS
    weight = 2e-3 * min(1.0, 0.1 + 0.9 * (iteration - 20) / 10)
    grid_bits = EntropyModel(hook.entropy.settings).grid.bits().item()  # undecided signs: about one bit each
    expected = share * weight * grid_bits / (model.num_anchors * scalars)
    assert (priced - free).item() == pytest.approx(expected, rel=0.02, abs=1e-8)


def attribute_model_with_context(model: AnchorModel) -> HemgsAttributes:
    grid = HashGridSettings((6, 12), (20,), 8, 8, 2)
    settings = EntropySettings(
        FEATURES, OFFSETS, grid, 8, 8, 8, 8, 8, 8, 1.0, "pointnet2_bundled", 6, 6, window=ContextWindow(25, 5, 2)
    )
    hook = HemgsAttributes(EntropyModel(settings), BaseSteps(), SETTINGS)
    hook.start(model, 1.0)
    return hook


def test_price_reaches_neighbours_that_the_camera_does_not_see() -> None:
    model = anchors()
    hook = attribute_model_with_context(model)
    visible = torch.arange(0, model.num_anchors, 3)
    attributes, loss, _ = hook.sample(30, model, visible)
    assert len(attributes.features) == len(visible)
    loss.backward()
    hidden = torch.ones(model.num_anchors, dtype=torch.bool)
    hidden[visible] = False
    for group in (hook.entropy.features, hook.entropy.geometry):
        assert group.autoregressive is not None and group.autoregressive.gain.grad is not None
        assert group.autoregressive.gain.grad.abs().sum() > 0
    with torch.no_grad():
        present(hook.entropy.features.autoregressive).gain.fill_(1.0)
    model.features.grad = None
    hook.sample(30, model, visible)[1].backward()
    assert grad_of(model.features)[hidden].abs().sum() > 0


def test_neighbours_are_found_again_when_anchors_or_masks_have_changed() -> None:
    model = anchors()
    hook = attribute_model_with_context(model)
    hook.sample(30, model, everyone(model))
    first = hook._found
    hook.sample(31, model, everyone(model))
    assert hook._found is first
    with torch.no_grad():
        model.mask_logits[0] = -9.0
    hook.sample(5 * SETTINGS.table_refresh, model, everyone(model))
    assert hook._found is not None and not hook._found.contains(torch.tensor([0]))
    hook.anchors_changed(model)
    assert hook._found is None and "kept_rows" not in hook.state()


def test_resumed_training_has_the_neighbours_it_had() -> None:
    """Masks that changed since the neighbours were found do not change the neighbours before the next refresh."""
    model = anchors()
    hook = attribute_model_with_context(model)
    hook.sample(30, model, everyone(model))
    with torch.no_grad():
        model.mask_logits[0] = -9.0
    state = {name: value.clone() for name, value in hook.state().items()}
    resumed = attribute_model_with_context(model)
    resumed.anchors_changed(model)
    resumed.restore(state)
    resumed.sample(31, model, everyone(model))
    assert resumed._found is not None and hook._found is not None
    assert torch.equal(resumed._found.rows, hook._found.rows)
    assert resumed._found.contains(torch.tensor([0]))


def test_networks_see_rounded_values_at_the_end() -> None:
    model = anchors()
    hook = attribute_model_with_context(model)
    hook.sample(30, model, everyone(model))
    batch = hook._batch(model, everyone(model), model.attributes(everyone(model)), binary_masks(model.mask_logits))
    around = hook.found(31, model).scene_agnostic(everyone(model))
    for rounded in (False, True):
        coded = hook._code(batch, around, 0.002, rounded).features
        step = torch.exp2(coded.log2_step)
        on_lattice = (coded.seen / step - (coded.seen / step).round()).abs().max() < 1e-4
        assert on_lattice == rounded
        assert torch.equal(coded.seen, coded.noisy) != rounded


def test_masked_offsets_are_not_there_for_neighbours() -> None:
    losses = []
    for value in (0.0, 40.0):
        model = anchors()
        hook = attribute_model_with_context(model)
        hook.sample(30, model, everyone(model))
        with torch.no_grad():
            model.mask_logits[:, 1] = -9.0
            model.offsets[:, 1] = value
            hook.entropy.geometry.autoregressive.gain.fill_(1.0)
            torch.manual_seed(4)
            losses.append(hook.sample(95, model, everyone(model))[1].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_window_is_chosen_when_pricing_begins_and_kept_when_training_resumes() -> None:
    model = anchors()
    grid = HashGridSettings((6, 12), (20,), 8, 8, 2)
    window = ContextWindow(5, 5, AUTOMATIC)
    settings = EntropySettings(FEATURES, OFFSETS, grid, 8, 8, 8, 8, 8, 8, 1.0, "", 6, 6, window=window)
    hook, resumed = (HemgsAttributes(EntropyModel(settings), BaseSteps(), SETTINGS) for _ in range(2))
    with pytest.raises(ValueError, match="not been chosen"):
        _ = hook.entropy.settings.window.radius
    hook.sample(20, model, everyone(model))
    chosen = hook.entropy.settings.window.multiplier
    assert 1 < chosen < MAX_AUTOMATIC
    resumed.restore(hook.state())
    assert resumed.entropy.settings == hook.entropy.settings
    with torch.no_grad():
        model.mask_logits[::2] = -9.0
    hook.calibrate(model, everyone(model)[1::2])
    assert hook.entropy.settings.window.multiplier == chosen


def test_masks_in_the_rate_are_pushed_by_the_bits_that_they_save() -> None:
    """All sampled anchors are priced, visible or not; masked values cost nothing; the mean mask is not in the loss."""
    model = anchors()
    hook = attribute_model_with_context(model)
    hook.settings = replace(SETTINGS, masks_in_rate=True, mask_weight=1e3)
    visible = torch.arange(0, model.num_anchors, 3)
    hook.sample(30, model, visible)
    with torch.no_grad():
        model.mask_logits[:10] = -9.0
    attributes, loss, figures = hook.sample(31, model, visible)
    assert len(attributes.features) == len(visible) and attributes.masks_scale
    assert figures["kept"] == pytest.approx(1 - 10 / model.num_anchors)
    loss.backward()
    push = grad_of(model.mask_logits)
    assert (push[10:].sum(dim=1) > 0).all(), "unseen anchors are priced, too"
    assert loss.item() < 10
    assert (push[:10].abs() < push[10:].abs().mean()).all(), "a closed mask has a small slope"
    full = hook.sample(31, model, visible)[1].item()
    with torch.no_grad():
        model.mask_logits.fill_(-9.0)
    assert hook.sample(32, model, visible)[1].item() < 0.01 * full
