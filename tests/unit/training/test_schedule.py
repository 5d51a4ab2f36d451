from __future__ import annotations

import math

import pytest

from hemgs.training.schedule import Milestones, log_linear, scaled


def test_log_linear_hits_both_ends_and_the_geometric_mean() -> None:
    assert log_linear(1.6e-4, 1.6e-6, 0, 30_000) == pytest.approx(1.6e-4, rel=1e-12)
    assert log_linear(1.6e-4, 1.6e-6, 30_000, 30_000) == pytest.approx(1.6e-6, rel=1e-12)
    assert log_linear(1.6e-4, 1.6e-6, 15_000, 30_000) == pytest.approx(1.6e-5, rel=1e-12)
    assert log_linear(8e-3, 5e-5, 100, 400) == pytest.approx(math.exp(0.75 * math.log(8e-3) + 0.25 * math.log(5e-5)))


def test_log_linear_stays_at_its_ends_outside_the_run() -> None:
    assert log_linear(1.0, 0.1, 50, 10) == pytest.approx(0.1)
    assert log_linear(1.0, 0.1, -5, 10) == pytest.approx(1.0)


def test_a_rate_of_zero_is_zero_throughout() -> None:
    assert log_linear(0.0, 0.0, 3, 10) == 0.0


def test_scaling_is_exact_from_the_published_length_on_and_proportional_below() -> None:
    assert [scaled(number, 30_000) for number in (1, 500, 15_000)] == [1, 500, 15_000]
    assert scaled(15_000, 2_000) == 1_000
    assert scaled(500, 60_000) == 500
    assert scaled(1, 100) == 1


def test_due_at_multiples_only() -> None:
    milestones = Milestones(3_000)
    assert [i for i in range(1, 1001) if milestones.is_due(i, 3_000)] == [300, 600, 900]
