"""Calls of functions timed as stages, without a change to the functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol
from unittest import mock


class Timer(Protocol):
    """What measures a stage while its context lasts."""

    def stage(self, name: str) -> AbstractContextManager[None]: ...


@contextmanager
def timed_calls(stages: Mapping[str, Sequence[tuple[Any, str]]], timer: Timer) -> Iterator[None]:
    """While it lasts, every call of what ``stages`` names, as owner and attribute by stage, is timed as that stage."""

    def watched(call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed_call(*arguments: Any, **named: Any) -> Any:
            with timer.stage(stage):
                return call(*arguments, **named)

        return timed_call

    with ExitStack() as patches:
        for stage, targets in stages.items():
            for owner, name in targets:
                patches.enter_context(mock.patch.object(owner, name, watched(getattr(owner, name), stage)))
        yield
