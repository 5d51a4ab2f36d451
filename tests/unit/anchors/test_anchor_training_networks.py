"""The optimiser of networks: schedule, saved state, errors."""

from __future__ import annotations

import math

import pytest
import torch

from hemgs.core.errors import TrainingError
from hemgs.training.networks import NetworkOptimizer, ParameterGroup


def layer(seed: int = 0) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 2)


def weight_of(net: torch.nn.Linear) -> list[torch.nn.Parameter]:
    return [net.get_parameter("weight")]


def bias_of(net: torch.nn.Linear) -> list[torch.nn.Parameter]:
    return [net.get_parameter("bias")]


def optimizer(net: torch.nn.Linear) -> NetworkOptimizer:
    groups = [
        ParameterGroup("weight", weight_of(net), 1e-2, 1e-4),
        ParameterGroup("bias", bias_of(net), 1e-3, 1e-3),
        ParameterGroup("none", [], 1.0, 1.0),
    ]
    return NetworkOptimizer(groups, iterations=10)


def train(net: torch.nn.Linear, adam: NetworkOptimizer, first: int, last: int) -> None:
    for iteration in range(first, last + 1):
        adam.set_iteration(iteration)
        (net(torch.ones(3)) - iteration).square().sum().backward()
        adam.step()


def test_learning_rates_are_log_linear() -> None:
    """Adam's first step moves every parameter by its learning rate."""
    for iteration, rate in ((1, 1e-2 * 10**-0.2), (5, 1e-3), (10, 1e-4)):
        net = layer()
        before = [p.detach().clone() for p in net.parameters()]
        train(net, optimizer(net), iteration, iteration)
        moved = [(p - b).abs().mean().item() for p, b in zip(net.parameters(), before, strict=True)]
        assert moved == pytest.approx([rate, 1e-3], rel=1e-3)


@pytest.mark.parametrize(("iteration", "rate"), [(1, 1e-2), (6, 1e-2), (8, 1e-3), (10, 1e-4), (12, 1e-4)])
def test_a_rate_may_decay_from_a_later_iteration_on(iteration: int, rate: float) -> None:
    net = layer()
    before = net.weight.detach().clone()
    adam = NetworkOptimizer([ParameterGroup("weight", weight_of(net), 1e-2, 1e-4, decay_from=6)], iterations=10)
    train(net, adam, iteration, iteration)
    assert (net.weight - before).abs().mean().item() == pytest.approx(rate, rel=1e-3)


def test_a_restored_optimiser_goes_on_as_if_never_stopped() -> None:
    whole, first, second = layer(), layer(), layer(1)
    train(whole, optimizer(whole), 1, 8)
    adam = optimizer(first)
    train(first, adam, 1, 5)
    other, parameters = optimizer(second), list(second.parameters())
    other.restore({name: tensor.clone() for name, tensor in adam.state().items()})
    train(second, other, 6, 8)
    assert all(a is b for a, b in zip(parameters, second.parameters(), strict=True))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_parameters_without_gradient_stay() -> None:
    net = layer()
    adam = optimizer(net)
    net.bias.sum().backward()
    before = net.weight.detach().clone()
    adam.step()
    assert torch.equal(net.weight, before)
    assert net.bias.grad is None


def test_faults() -> None:
    net = layer()
    with pytest.raises(ValueError, match="repeat"):
        NetworkOptimizer(
            [
                ParameterGroup("a", weight_of(net), 1, 1),
                ParameterGroup("a", bias_of(net), 1, 1),
            ],
            3,
        )
    adam = optimizer(net)
    with pytest.raises(TrainingError, match="does not fit"):
        adam.restore({"weight.0": torch.zeros(2, 3)})
    with pytest.raises(TrainingError, match="does not fit"):
        adam.restore({"weight.0": torch.zeros(5, 3), "bias.0": torch.zeros(2)})
    assert math.isfinite(net.weight.sum().item())
