"""Torch's defaults for a process or thread, as callers of a method may have changed them.

Owns the list of defaults, and the return to those before. Does not own what must not depend on them (``conformance``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import torch


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextlib.contextmanager
def _other_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


#: Changes of a default, by their description. Each returns a context in which it holds.
TORCH_DEFAULTS: Mapping[str, Callable[[], AbstractContextManager[object]]] = {
    "with the default dtype float64": lambda: _default_dtype(torch.float64),
    "with the default dtype float16": lambda: _default_dtype(torch.float16),
    "with the default device meta": lambda: torch.device("meta"),
    "without gradients": torch.no_grad,
    "in inference mode": torch.inference_mode,
    "with deterministic algorithms": _deterministic_algorithms,
    "with another number of threads": _other_threads,
}
