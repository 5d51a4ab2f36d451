"""Stages of repeated work, and calls of functions timed as stages without a change to the functions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol
from unittest import mock

from hemgs.core.timing import Stopwatch


class Timer(Protocol):
    """What measures a stage while its context lasts."""

    def stage(self, name: str) -> AbstractContextManager[None]: ...


class StageTimer:
    """Time per named stage of work that is repeated, such as a training step.

    Calls of one stage within a repetition add up.
    """

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize
        self._repetitions: list[dict[str, float]] = []

    @contextmanager
    def repetition(self) -> Iterator[None]:
        """Time one repetition; the block contains the stages."""
        self._repetitions.append({})
        yield

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as part of stage ``name``."""
        with Stopwatch(self._synchronize) as watch:
            yield
        current = self._repetitions[-1]
        current[name] = current.get(name, 0.0) + watch.seconds

    def clear(self) -> None:
        """Discard all times so far, such as those of a warm-up."""
        self._repetitions.clear()

    def typical(self, whole: str) -> dict[str, float]:
        """Seconds by stage, in order of first use: means over the half of the repetitions that took least.

        Unlike medians of each stage, these add up where the stages do, and a busy machine hardly shows in them.

        Args:
            whole: the stage that covers a whole repetition.
        """
        ordered = sorted(self._repetitions, key=lambda entry: entry.get(whole, 0.0))
        kept = ordered[: (len(ordered) + 1) // 2]
        names = dict.fromkeys(name for entry in self._repetitions for name in entry)
        return {name: statistics.fmean(entry.get(name, 0.0) for entry in kept) for name in names}


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
