"""HAC's network: steps and all other predictions in integers are those of training."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from baselines.shared.predictor import AnchorPredictor, FixedPredictor
from baselines.shared.tanh_steps import GREATEST_INDEX, LEAST_INDEX, log2_factors, step_indices, thresholds
from hemgs.anchor_codec.prediction import MAX_EXPONENT, MEAN_BITS
from hemgs.anchor_codec.stored_networks import StoredParts
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.quantize import STEP_FRACTION
from hemgs.core.errors import BitstreamError

ONE = 1 << ACTIVATION_BITS
FEATURES, OFFSETS, INPUTS = 5, 3, 7
CHANNELS = FEATURES + 6 + 3 * OFFSETS


def test_step_factor_is_one_plus_tanh() -> None:
    learned = torch.linspace(-1.7, 4, 400, dtype=torch.float64)
    assert torch.allclose(log2_factors(learned), torch.log2(1 + torch.tanh(learned)))
    assert log2_factors(torch.tensor([0.0, 100.0, -100.0])).tolist() == [0.0, 1.0, -4.0]


def test_step_index_is_the_nearest_to_one_plus_tanh() -> None:
    learned = np.arange(-(1 << 12), 1 << 12)
    exact = [STEP_FRACTION * math.log2(2 / (1 + math.exp(-2 * number / ONE))) for number in learned]
    expected = np.rint(np.maximum(exact, LEAST_INDEX))
    assert np.array_equal(step_indices(learned), expected)
    assert (expected.min(), expected.max()) == (LEAST_INDEX, GREATEST_INDEX)


def test_borders_of_steps_never_change() -> None:
    """Files depend on these thresholds."""
    digest = hashlib.sha256(thresholds().astype("<i8").tobytes()).hexdigest()
    assert digest == "55a439aff9fd2477f1ddc413b1091325d1d190ea008141bffc449ee6563b2fad"
    assert (thresholds()[0], thresholds()[-1], len(thresholds())) == (-438, 668, 320)
    assert (np.diff(thresholds()) >= 0).all()


def predictor() -> AnchorPredictor:
    torch.manual_seed(0)
    made = AnchorPredictor(INPUTS, 11, FEATURES, OFFSETS)
    spread = torch.exp2(torch.linspace(-9, 9, CHANNELS))
    made.calibrate(spread * (torch.randn(300, CHANNELS) + 2))
    torch.nn.init.normal_(made.second.weight, std=0.3)
    return made


def test_network_has_hac_s_size() -> None:
    published = AnchorPredictor(96, 100, 50, 10)
    assert published.second.out_features == 175
    assert sum(parameter.numel() for parameter in published.parameters()) == 27_375


def test_prediction_starts_at_the_anchors_statistics_and_base_steps() -> None:
    made = predictor()
    torch.nn.init.zeros_(made.second.weight)
    prediction = made.predict(torch.randn(4, INPUTS))
    spread = torch.exp2(torch.linspace(-9, 9, CHANNELS))
    assert torch.allclose(prediction.mean, (2 * spread).expand(4, -1), rtol=0.2)
    assert torch.allclose(prediction.log2_scale, torch.log2(spread).expand(4, -1), atol=0.2)
    assert prediction.log2_step.abs().max() == 0


def test_one_step_for_each_attribute() -> None:
    log2_step = predictor().predict(torch.randn(6, INPUTS)).log2_step
    first, second, third = log2_step.split([FEATURES, 6, 3 * OFFSETS], dim=1)
    for part in (first, second, third):
        assert (part == part[:, :1]).all()
        assert part.std(dim=0).min() > 0
    assert not torch.equal(first[:, 0], second[:, 0]) and not torch.equal(second[:, 0], third[:, 0])


def test_integers_say_what_floats_say() -> None:
    made = predictor()
    inputs = torch.randint(-ONE, ONE, (500, INPUTS))
    floats = made.predict(inputs.float() / ONE)
    exact = FixedPredictor.export(made).predict(inputs.double())
    unit = torch.exp2(made.exponents.float())
    assert ((torch.from_numpy(exact.mean) / 2.0**MEAN_BITS - floats.mean) / unit).abs().max() < 0.1
    assert (torch.from_numpy(exact.log2_scale) / ONE - floats.log2_scale).abs().max() < 0.1
    assert (torch.from_numpy(exact.step_index) / STEP_FRACTION - floats.log2_step).abs().max() < 0.1


def test_integers_go_through_a_file() -> None:
    made = predictor()
    fixed = FixedPredictor.export(made)
    parts = fixed.stored()
    assert [part.shape for part in parts] == [stored.shape for stored in FixedPredictor.shapes(made)]
    again = FixedPredictor.from_stored(StoredParts(parts, "cpu"), made.widths)
    inputs = torch.randint(-ONE, ONE, (50, INPUTS)).double()
    for one, two in zip(vars(fixed.predict(inputs)).values(), vars(again.predict(inputs)).values(), strict=True):
        assert np.array_equal(one, two)


def test_integers_that_no_encoder_writes_are_refused() -> None:
    made = predictor()
    parts = FixedPredictor.export(made).stored()
    with pytest.raises(BitstreamError, match="exponents"):
        FixedPredictor.from_stored(StoredParts([*parts[:-1], parts[-1] + 2 * MAX_EXPONENT], "cpu"), made.widths)
    with pytest.raises(BitstreamError, match="too large"):
        FixedPredictor.from_stored(StoredParts([parts[0] + (1 << 30), *parts[1:]], "cpu"), made.widths)
