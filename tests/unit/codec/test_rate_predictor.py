"""λ as an input of networks, and steps in float compared with steps in integers."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import floor

import pytest
import torch

from hemgs.codec.params import LMBDA_INTERVAL
from hemgs.codec.rate_predictor import RatePredictor, fixed_rate_input, fixed_step_index, rate_input
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.quantize import STEP_FRACTION
from hemgs.core.errors import ConfigError
from hemgs.core.types import LmbdaInterval

ONE = 1 << ACTIVATION_BITS


def test_rate_input_is_logarithmic() -> None:
    assert rate_input(1e-3, LMBDA_INTERVAL) == 0.0
    assert rate_input(2e-3, LMBDA_INTERVAL) == pytest.approx(0.5)
    assert rate_input(4e-3, LMBDA_INTERVAL) == pytest.approx(1.0)
    assert rate_input(3e-3, LmbdaInterval(1e-3, 9e-3)) == pytest.approx(0.5)


def test_integer_form_is_the_float_rounded() -> None:
    for millionths in range(1000, 4001):
        lmbda = millionths / 1e6
        assert fixed_rate_input(lmbda, LMBDA_INTERVAL) == round(rate_input(lmbda, LMBDA_INTERVAL) * ONE)
    assert fixed_rate_input(3e-3, LmbdaInterval(1e-3, 9e-3)) == ONE // 2


@pytest.mark.parametrize("lmbda", [9e-4, 4.1e-3, -1e-3, 0.0])
def test_untrained_lmbda_is_refused(lmbda: float) -> None:
    for input_of in (rate_input, fixed_rate_input):
        with pytest.raises(ConfigError, match=r"outside the interval .* from 0.001 .* to 0.004"):
            input_of(lmbda, LMBDA_INTERVAL)


def test_untrained_predictor_gives_the_high_rate_law() -> None:
    predictor = RatePredictor(4, 8, 3, 1.0)
    prior = torch.randn(5, 4)
    steps = [predictor.log2_steps(prior, torch.full((5, 1), t)) for t in (0.0, 1.0)]
    assert torch.equal(steps[0], torch.full((5, 3), -0.5))
    assert torch.equal(steps[1] - steps[0], torch.ones(5, 3))  # four times the λ, twice the step


def test_step_index_rounds_the_sum_and_saturates_the_learned_part() -> None:
    one = 1 << ACTIVATION_BITS
    learned = torch.tensor([[0.0, 3.0 * one, -9.0 * one, 5.0, 6.0]], dtype=torch.float64)
    index = fixed_step_index(learned, one // 2, 1.0)
    assert index.tolist() == [[0, 2 * STEP_FRACTION, -2 * STEP_FRACTION, 1, 2]]


@pytest.mark.parametrize("octaves", [0.5, 1.0, 1.7, 3.0])
def test_step_index_never_falls_as_lmbda_rises(octaves: float) -> None:
    learned = torch.randint(-600, 600, (1000, 1)).double()
    indices = [fixed_step_index(learned, rate, octaves) for rate in range(257)]
    for smaller, larger in itertools.pairwise(indices):
        assert (larger >= smaller).all()
    assert ((indices[-1] - indices[0] - octaves * STEP_FRACTION).abs() <= 1).all()


@pytest.mark.parametrize("octaves", [0.3, 0.5, 1.0, 1.7, 3.0])
def test_step_index_is_that_of_exact_arithmetic(octaves: float) -> None:
    """Both sums are rounded to the nearest, halves up: what λ adds to units of the networks, the whole to steps.

    What λ adds is one product in float64, which every machine rounds in the same way.
    """
    one = 1 << ACTIVATION_BITS
    learned = list(range(-40, 41))
    for rate in range(one + 1):
        offset = floor(Fraction((rate - one // 2) * octaves) + Fraction(1, 2))
        expected = [floor(Fraction((value + offset) * STEP_FRACTION, one) + Fraction(1, 2)) for value in learned]
        found = fixed_step_index(torch.tensor(learned, dtype=torch.float64), rate, octaves)
        assert found.tolist() == expected, rate


@pytest.mark.parametrize("octaves", [0.5, 1.0, 1.7])
def test_integer_steps_are_the_float_steps(octaves: float) -> None:
    predictor = RatePredictor(4, 8, 3, octaves)
    torch.nn.init.normal_(predictor.second.weight)
    one = 1 << ACTIVATION_BITS
    prior = torch.randint(-2 * one, 2 * one, (50, 4)).double()
    for rate in (0, 100, 256):
        with torch.no_grad():
            exact = predictor.log2_steps((prior / one).float(), torch.full((50, 1), rate / one))
        learned = predictor.fixed()(torch.cat([prior, torch.full((50, 1), float(rate), dtype=torch.float64)], dim=1))
        assert (fixed_step_index(learned, rate, octaves) / STEP_FRACTION - exact).abs().max() < 0.1
