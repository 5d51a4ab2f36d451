"""Prices of quantised Gaussians against scipy, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from hemgs.anchor_codec.likelihood import MIN_PROBABILITY, gaussian_bits


@pytest.mark.parametrize(
    ("value", "mean", "scale"), [(0.0, 0.0, 1.0), (3.0, -0.4, 2.0), (-7.0, 1.0, 1.5), (0.3, 0.2, 40.0)]
)
def test_price_is_that_of_the_bin(value: float, mean: float, scale: float) -> None:
    expected = -np.log2(norm.cdf((value + 0.5 - mean) / scale) - norm.cdf((value - 0.5 - mean) / scale))
    bits = gaussian_bits(*(torch.tensor(x, dtype=torch.float64) for x in (value, mean, np.log2(scale))))
    assert bits.item() == pytest.approx(expected, rel=1e-9)


def test_probabilities_of_all_integers_add_up_to_one() -> None:
    symbols = torch.arange(-200, 201, dtype=torch.float64)
    bits = gaussian_bits(symbols, torch.full_like(symbols, 0.3), torch.full_like(symbols, 2.0))
    assert torch.exp2(-bits).sum().item() == pytest.approx(1.0, abs=1e-6)


def test_far_tail_is_floored_and_near_tail_is_exact() -> None:
    near = gaussian_bits(torch.tensor(5.0), torch.tensor(0.0), torch.tensor(0.0)).item()
    assert near == pytest.approx(-np.log2(norm.sf(4.5) - norm.sf(5.5)), rel=1e-3)  # float32 keeps the tail's digits
    far = gaussian_bits(torch.tensor(1e4), torch.tensor(0.0), torch.tensor(0.0)).item()
    assert far == pytest.approx(-np.log2(MIN_PROBABILITY), rel=1e-6)


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(20, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(gaussian_bits, inputs)
