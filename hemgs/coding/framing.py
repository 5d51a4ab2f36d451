"""Framing of the entropy coder's streams, and checks of their inputs.

Owns the bytes around the words of a stream (see ``rans``), and the meaning of a kernel's return value. Does not own any
distribution.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding._rans_kernels import (
    BAD_INDEX,
    FIRST_STATE,
    NUM_LEVELS,
    NUM_MEAN_OFFSETS,
    OUT_OF_DATA,
    OUT_OF_RANGE,
)
from hemgs.core.errors import BitstreamError

#: Symbols coded per call of a kernel; bounds the scratch memory.
CHUNK_SYMBOLS = 1 << 16
_STATE_BYTES, _WORD_BYTES = 8, 4
_Kind = TypeVar("_Kind", bound=np.integer[Any])
_DAMAGED = "the file is damaged or was made by another version; encode again"


class StreamWriter:
    """State of an encoder, and the words that it has written."""

    def __init__(self, words_per_symbol: int) -> None:
        self.state = np.array([FIRST_STATE], np.uint64)
        self.scratch = np.empty(CHUNK_SYMBOLS * words_per_symbol, np.uint32)
        self._chunks: list[NDArray[np.uint32]] = []

    def add(self, num_words: int) -> None:
        """Append the words that a kernel has written to ``scratch``."""
        self._chunks.append(self.scratch[:num_words].copy())

    def stream(self) -> bytes:
        """Return the whole stream, after the first symbol has been coded."""
        state = int(self.state[0])
        words = np.concatenate(self._chunks)[::-1]
        head = np.array([state >> 32, state & 0xFFFFFFFF], np.uint32)
        return np.concatenate([head, words]).astype("<u4").tobytes()


class StreamReader:
    """State of a decoder. Turns a kernel's return value into an error, and repeats that error on every later call."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        if len(data) % _WORD_BYTES or 0 < len(data) < _STATE_BYTES:
            raise self._error(f"{len(data)} bytes are not a whole number of words")
        words = np.frombuffer(data, "<u4").astype(np.uint32)
        first = (int(words[0]) << 32 | int(words[1])) if len(words) else FIRST_STATE
        if first < FIRST_STATE:
            raise self._error("impossible first state")
        self.words = words[2:]
        self.state = np.array([first, 0], np.uint64)
        self._fault = ""

    def check(self, verdict: int) -> None:
        """Raise the error that a kernel's return value means: ValueError, BitstreamError or none."""
        if verdict == BAD_INDEX:
            raise ValueError(f"levels must lie in 0..{NUM_LEVELS - 1}, offsets in 0..{NUM_MEAN_OFFSETS - 1}")
        if verdict == OUT_OF_DATA:
            self._fault = "ends before its last symbol"
        elif verdict == OUT_OF_RANGE:
            self._fault = "holds a value beyond 32 bits"
        if self._fault:
            raise self._error(self._fault)

    def finish(self) -> None:
        """Raise BitstreamError unless the last symbol has been decoded and nothing else is left."""
        self.check(0)
        left = len(self.words) - int(self.state[1])
        if left or int(self.state[0]) != FIRST_STATE:
            raise self._error(f"does not end with its last symbol ({left} words left)")

    def _error(self, fault: str) -> BitstreamError:
        return BitstreamError(f"{self._name}: {fault}", _DAMAGED)


def chunks_backwards(num_symbols: int) -> list[slice]:
    """Return the pieces that a kernel codes in one call, in the encoder's order: the last piece first.

    >>> chunks_backwards(CHUNK_SYMBOLS + 1)
    [slice(65536, 65537, None), slice(0, 65536, None)]
    """
    starts = range(0, num_symbols, CHUNK_SYMBOLS)
    return [slice(start, min(start + CHUNK_SYMBOLS, num_symbols)) for start in reversed(starts)]


def integers(values: ArrayLike, kind: type[_Kind], name: str, high: int | None = None, low: int = 0) -> NDArray[_Kind]:
    """Check the range of ``values`` and return a flat contiguous copy as ``kind``; raise ValueError outside of it.

    >>> integers([[1, 2], [3, 4]], np.uint8, "levels", high=127)
    array([1, 2, 3, 4], dtype=uint8)
    """
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "biu":
        raise ValueError(f"{name} must be integers, not {array.dtype}")
    if array.size:
        limits = np.iinfo(kind)
        allowed = (limits.min, limits.max) if high is None else (low, high)
        found = (int(array.min()), int(array.max()))
        if found[0] < allowed[0] or found[1] > allowed[1]:
            raise ValueError(f"{name} must lie in {allowed[0]}..{allowed[1]}, not {found[0]}..{found[1]}")
    return array.astype(kind).ravel()


def same_shape(**arrays: ArrayLike) -> tuple[int, ...]:
    """Return the common shape of arrays; raise ValueError with their names if they have none.

    >>> same_shape(levels=[1, 2], offsets=[0, 0])
    (2,)
    """
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"shapes differ: {shapes}")
    return next(iter(shapes.values()))
