"""Interruption of a training between two steps.

Owns the handlers of SIGINT and SIGTERM while a training runs, and restores the former ones. Does not write anything.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(KeyboardInterrupt):
    """A signal stopped a training after its checkpoint was written; the same call continues it.

    Attributes:
        exit_code: the code that a shell expects after this signal (130 for SIGINT, 143 for SIGTERM).
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}; run again to continue")
        self.exit_code = 128 + signal_number


class StopRequest:
    """Turns the first SIGINT or SIGTERM into a flag; a second one raises :class:`KeyboardInterrupt` immediately.

    Python allows handlers only in the main thread. In other threads the flag is never set.
    """

    def __init__(self) -> None:
        self._signal_number: int | None = None
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        return self._signal_number is not None

    def raise_interrupted(self) -> NoReturn:
        """Raise :class:`TrainingInterrupted` for the signal received."""
        raise TrainingInterrupted(self._signal_number or signal.SIGINT)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signal_number is not None:
            raise KeyboardInterrupt
        self._signal_number = number
