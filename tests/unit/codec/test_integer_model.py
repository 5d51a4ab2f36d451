"""The integer entropy model compared with its float original, and its independence of batches, threads and order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hemgs.anchor_codec.hash_grid import fixed_features
from hemgs.anchor_codec.networks import Mlp
from hemgs.anchor_codec.settings import HashGridSettings
from hemgs.anchor_codec.stored_networks import StoredParts
from hemgs.codec.integer_model import MEAN_BITS, FixedGroup, FixedPrediction
from hemgs.codec.model import EntropyModel
from hemgs.codec.settings import EntropySettings
from hemgs.coding import quantize
from hemgs.coding.fixed_point import ACTIVATION_BITS, ACTIVATION_LIMIT, FixedLayer, FixedMlp
from hemgs.core.errors import BitstreamError

ONE = 1 << ACTIVATION_BITS
SETTINGS = EntropySettings(6, 2, HashGridSettings((6, 12), (20,), 8, 8, 2), 12, 10, 12, 10, 8, 8)


def trained_like(seed: int = 0) -> EntropyModel:
    """A model whose outputs vary, with channels of very different spread."""
    torch.manual_seed(seed)
    model = EntropyModel(SETTINGS)
    torch.nn.init.uniform_(model.grid.table, -1, 1)
    spread = torch.tensor([0.03, 1.0, 2.0, 5.0, 60.0, 900.0])
    model.features.calibrate(torch.randn(400, 6) * spread + spread)
    model.geometry.calibrate(torch.randn(400, 12) * torch.linspace(0.3, 400, 12))
    for network in model.networks():
        torch.nn.init.normal_(network.second.weight, std=0.2)
    model.set_bounds(torch.tensor([[0, 0, 0], [500, 300, 100]]))
    return model


def coordinates(num: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.stack([torch.randint(0, top, (num,), generator=generator) for top in (501, 301, 101)], dim=1)


def predicted(group: FixedGroup, locations: torch.Tensor, previous: torch.Tensor | None, rate: int) -> FixedPrediction:
    prior = group.prior(locations, previous)
    return group.predict(group.prior_sums(prior, rate), group.step_index(prior, rate))


def hashed(model: EntropyModel, coords: torch.Tensor) -> torch.Tensor:
    return fixed_features(SETTINGS.grid, model.grid.signs(), coords, model.low, model.high)


def test_mlp_follows_its_float_original() -> None:
    torch.manual_seed(0)
    network = Mlp(20, 30, 10)
    inputs = torch.randint(-3 * ONE, 3 * ONE, (200, 20)).double()
    exact = network.fixed()(inputs) / ONE
    assert torch.equal(exact * ONE, (exact * ONE).round())
    with torch.no_grad():
        assert (exact - network((inputs / ONE).float())).abs().max() < 0.06


def test_layer_by_hand() -> None:
    # 2 * 1.5 - 1 * 0.25 + 0.5 = 3.25 and its negative, which the hidden ReLU cuts.
    weight = torch.tensor([[2.0, -1.0], [-2.0, 1.0]], dtype=torch.float64) * 256
    bias = torch.tensor([0.5, -0.5], dtype=torch.float64) * 256
    identity = FixedLayer(torch.eye(2, dtype=torch.float64) * 256, torch.zeros(2, dtype=torch.float64))
    inputs = torch.tensor([[1.5, 0.25]], dtype=torch.float64) * 256
    assert FixedMlp([FixedLayer(weight, bias)])(inputs).tolist() == [[3.25 * 256, -3.25 * 256]]
    assert FixedMlp([FixedLayer(weight, bias), identity])(inputs).tolist() == [[3.25 * 256, 0.0]]


def test_activations_saturate_and_inexact_weights_are_refused() -> None:
    big = FixedLayer(torch.full((1, 1), 2.0**20, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert FixedMlp([big])(torch.tensor([[2.0**40]], dtype=torch.float64)).item() == ACTIVATION_LIMIT
    with pytest.raises(ValueError, match="exact"):
        FixedLayer(torch.full((1, 1), 2.0**30, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("exact", [True, False])
def test_stored_networks_round_trip(exact: bool) -> None:
    model = trained_like()
    model.geometry.exact = exact
    group = FixedGroup.export(model.geometry)
    assert group.exact is exact
    again = FixedGroup.from_stored(StoredParts(group.stored(), "cpu"), 1.0, context_dim=0)
    inputs = torch.randint(-ONE, ONE, (50, SETTINGS.grid.output_dim)).double()
    previous = torch.randint(-ONE, ONE, (50, 6)).double()
    for name, value in vars(predicted(group, inputs, previous, 99)).items():
        assert np.array_equal(value, getattr(predicted(again, inputs, previous, 99), name))
    shapes = FixedGroup.shapes(model.geometry)
    assert [(part.shape, part.dtype == np.float16) for part in group.stored()] == [
        (each.shape, each.in_half) for each in shapes
    ]
    assert [each.in_half for each in shapes] == [not exact] * 12 + [False], "exponents are integers always"


def test_hostile_exponents_and_weights_are_refused() -> None:
    parts = FixedGroup.export(trained_like().features).stored()
    with pytest.raises(BitstreamError, match="exponents"):
        FixedGroup.from_stored(StoredParts([*parts[:-1], np.full(6, 60)], "cpu"), 1.0, context_dim=0)
    parts[0] = np.full_like(parts[0], 2**31 - 1)
    with pytest.raises(BitstreamError, match="exact"):
        FixedGroup.from_stored(StoredParts(parts, "cpu"), 1.0, context_dim=0)


def test_floats_of_a_hostile_file_are_refused() -> None:
    model = trained_like()
    model.features.exact = False
    parts = FixedGroup.export(model.features).stored()
    for value in (np.nan, np.inf):
        for place in (0, 1):
            forged = [part.copy() for part in parts]
            forged[place].flat[0] = value
            with pytest.raises(BitstreamError, match="networks"):
                FixedGroup.from_stored(StoredParts(forged, "cpu"), 1.0, context_dim=0)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("rate", [0, 128, 256])
def test_prediction_follows_the_float_model(rate: int, exact: bool) -> None:
    """Without rounding, the differences are those of inputs with eight bits and weights with eleven."""
    model = trained_like()
    model.features.exact = exact
    coords = coordinates()
    fixed = predicted(FixedGroup.export(model.features), hashed(model, coords), None, rate)
    with torch.no_grad():
        t = torch.full((len(coords), 1), rate / ONE)
        prior = model.features.prior(model.location_features(coords, None), None)
        log2_step = model.features.rate_predictor.log2_steps(prior, t)
        float_model = model.features.predict(prior, t, log2_step)
    unit = np.exp2(model.features.exponents.numpy())
    assert np.abs(fixed.step_index / quantize.STEP_FRACTION - log2_step.numpy()).max() < 0.1
    far = (np.abs(fixed.mean / (1 << MEAN_BITS) - float_model.mean.numpy()) / unit).max()
    assert far < 0.1 if exact else far < 0.01
    assert np.abs(fixed.log2_scale / ONE - float_model.log2_scale.numpy()).max() < (0.1 if exact else 0.015)


def test_rounding_the_networks_costs_almost_nothing() -> None:
    model = trained_like(3)
    coords = coordinates(2000)
    group = FixedGroup.export(model.features)
    fixed = predicted(group, hashed(model, coords), None, 128)
    with torch.no_grad():
        prior = model.features.prior(model.location_features(coords, None), None)
        t = torch.full((len(coords), 1), 0.5)
        exact = model.features.predict(prior, t, model.features.rate_predictor.log2_steps(prior, t))
        values = exact.mean + torch.randn_like(exact.mean) * torch.exp2(exact.log2_scale)
        symbols = quantize.quantize(values.numpy(), 1.0, fixed.step_index).astype(np.int64)
        restored = torch.from_numpy(quantize.dequantize(symbols, 1.0, fixed.step_index))
        float_bits = exact.bits(restored).sum().item()
    assert fixed.bits(symbols).sum() == pytest.approx(float_bits, rel=0.01)


def test_previous_attributes_are_the_scaled_decoded_values() -> None:
    model = trained_like()
    group = FixedGroup.export(model.features)
    symbols = np.random.default_rng(0).integers(-200, 200, (40, 6))
    step_index = np.random.default_rng(1).integers(-160, 161, (40, 6))
    decoded = quantize.dequantize(symbols, 1.0, step_index)
    expected = model.features.scaled(torch.from_numpy(decoded)).numpy()
    exact = group.scaled(symbols, step_index, "cpu").numpy() / ONE
    assert np.abs(exact - expected).max() <= 1 / ONE * max(1.0, float(np.exp2(-model.features.exponents.min().item())))


def test_predictions_depend_on_nothing_but_their_row() -> None:
    """Batch splits, thread counts, order of rows and of channels' summation: the same integers every time."""
    model = trained_like()
    coords = coordinates(257)
    group = FixedGroup.export(model.features)
    whole = predicted(group, hashed(model, coords), None, 77)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for size in (1, 17, 100):
                parts = [
                    predicted(group, hashed(model, coords[i : i + size]), None, 77) for i in range(0, len(coords), size)
                ]
                for name in ("step_index", "mean", "log2_scale"):
                    joined = np.concatenate([getattr(part, name) for part in parts])
                    assert np.array_equal(joined, getattr(whole, name)), (count, size, name)
    finally:
        torch.set_num_threads(threads)


def test_float32_would_not_do() -> None:
    """The reason for integers: the same networks in float32 differ between two orders of summation."""
    torch.manual_seed(0)
    network = Mlp(96, 64, 100)
    inputs = torch.randn(500, 96)
    order = torch.randperm(96)
    with torch.no_grad():
        plain = network(inputs)
        hidden = torch.relu(inputs[:, order] @ network.first.weight[:, order].T + network.first.bias)
        permuted = network.second(hidden)
    assert not torch.equal(plain, permuted)
    fixed = network.fixed()
    integers = torch.round(inputs.double() * ONE)
    first = fixed.layers[0]
    shuffled = FixedMlp([FixedLayer(first.weight[:, order], first.bias), fixed.layers[1]])
    assert torch.equal(fixed(integers), shuffled(integers[:, order]))
