"""Torch's defaults for a process or thread, as callers of a method may have changed them.

Owns the list of defaults, and the return to those before. Does not own what must not depend on them (``conformance``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch


@contextlib.contextmanager
def _changed(setter: Callable[[Any], object], value: Any, before: Any) -> Iterator[None]:
    """Give a default of torch a value for the block, and then the one that it had before."""
    setter(value)
    try:
        yield
    finally:
        setter(before)


def _dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    return _changed(torch.set_default_dtype, dtype, torch.get_default_dtype())


def _deterministic_algorithms() -> AbstractContextManager[None]:
    return _changed(torch.use_deterministic_algorithms, True, torch.are_deterministic_algorithms_enabled())


def _other_threads() -> AbstractContextManager[None]:
    before = torch.get_num_threads()
    return _changed(torch.set_num_threads, 1 if before > 1 else 2, before)


#: Changes of a default, by their description. Each returns a context in which it holds.
TORCH_DEFAULTS: Mapping[str, Callable[[], AbstractContextManager[object]]] = {
    "with the default dtype float64": lambda: _dtype(torch.float64),
    "with the default dtype float16": lambda: _dtype(torch.float16),
    "with the default device meta": lambda: torch.device("meta"),
    "without gradients": torch.no_grad,
    "in inference mode": torch.inference_mode,
    "with deterministic algorithms": _deterministic_algorithms,
    "with another number of threads": _other_threads,
}
