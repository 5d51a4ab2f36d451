"""λ as the networks see it, and steps in float against steps in integers."""

from __future__ import annotations

import pytest
import torch

from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.quantize import STEP_FRACTION
from hemgs.core.errors import ConfigError
from hemgs.entropy.rate_predictor import RatePredictor, fixed_step_index, lmbda_of, rate_input


def test_rate_input_is_logarithmic() -> None:
    assert rate_input(1e-3) == 0.0
    assert rate_input(2e-3) == pytest.approx(0.5)
    assert rate_input(4e-3) == pytest.approx(1.0)
    assert lmbda_of(rate_input(3e-3)) == pytest.approx(3e-3)


@pytest.mark.parametrize("lmbda", [9e-4, 4.1e-3, -1e-3, 0.0])
def test_untrained_lmbda_is_refused(lmbda: float) -> None:
    with pytest.raises(ConfigError, match="trained interval"):
        rate_input(lmbda)


def test_untrained_predictor_gives_the_high_rate_law() -> None:
    predictor = RatePredictor(4, 8, 3)
    prior = torch.randn(5, 4)
    steps = [predictor.log2_steps(prior, torch.full((5, 1), t)) for t in (0.0, 1.0)]
    assert torch.equal(steps[0], torch.full((5, 3), -0.5))
    assert torch.equal(steps[1] - steps[0], torch.ones(5, 3))  # four times the λ, twice the step


def test_step_index_rounds_the_sum_and_saturates_the_learned_part() -> None:
    one = 1 << ACTIVATION_BITS
    learned = torch.tensor([[0.0, 3.0 * one, -9.0 * one, 5.0, 6.0]], dtype=torch.float64)
    index = fixed_step_index(learned, one // 2)
    assert index.tolist() == [[0, 2 * STEP_FRACTION, -2 * STEP_FRACTION, 1, 2]]


def test_step_index_never_falls_as_lmbda_rises() -> None:
    learned = torch.randint(-600, 600, (1000, 1)).double()
    indices = [fixed_step_index(learned, rate) for rate in range(0, 257)]
    for smaller, larger in zip(indices, indices[1:], strict=False):
        assert (larger >= smaller).all()
    assert ((indices[-1] - indices[0]) == STEP_FRACTION).all()
