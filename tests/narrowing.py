"""Narrowing of declared types to those that a test expects; each function fails if the expectation is wrong."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return a value that may be absent elsewhere."""
    assert value is not None
    return value


def grad_of(tensor: Tensor) -> Tensor:
    """Return the gradient that a backward pass has left."""
    return present(tensor.grad)


def linear(layers: nn.Module, index: int) -> nn.Linear:
    """Return a linear layer of a sequence."""
    assert isinstance(layers, nn.Sequential)
    found = layers[index]
    assert isinstance(found, nn.Linear)
    return found
