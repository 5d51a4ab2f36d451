"""Adaptive binary coding: a stream's buffer, the tables of its arithmetic, its checks.

Owns the parts that octrees and masks share. Does not own the coder and its contexts (``_adaptive_kernels``), or
framing. It uses integers only, so equal input gives equal bytes on every machine.

A stream contains the range coder's bytes. The decoder reads four bytes ahead and adds zeros beyond the end. The encoder
ends with the number that has the most trailing zeros, and leaves them out.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hemgs.coding import _adaptive_kernels as kernels
from hemgs.core.errors import BitstreamError

#: The advice of every reader that finds a damaged section.
DAMAGED = "the file is damaged or was made by another version; encode again"

#: Fractional bits of the exponentials from which ``squash`` is made.
_FRACTION = 96
#: Probabilities in ``squash`` and rates are integers over 2^16.
_PROBABILITY_BITS = 16


class AdaptiveStream:
    """One stream being written or read, and the entries and weights that learn from it."""

    def __init__(self, num_entries: int, num_weights: int, data: bytes | None = None, name: str = "stream") -> None:
        """Start a stream.

        Args:
            num_entries: number of adaptive probabilities.
            num_weights: number of the mixer's weights, all sets together.
            data: the stream to read; None to write one.
            name: the stream's name in messages.
        """
        entries = np.full(num_entries, kernels.FRESH_ENTRY, np.uint32)
        self.model = (entries, np.full(num_weights, kernels.FIRST_WEIGHT, np.int32), *_tables())
        self._coder = np.array([0, kernels.FULL_WIDTH, 0, 0, 0], np.int64)
        self._data = np.zeros(0, np.uint8)
        self._name = name
        if data is not None:
            # A copy, because numba compiles another version for arrays that cannot be written.
            self._data = np.frombuffer(data, np.uint8).copy()
            ahead = int.from_bytes(data[: kernels.AHEAD].ljust(kernels.AHEAD, b"\0"), "big")
            self._coder[:] = ahead, kernels.FULL_WIDTH, kernels.AHEAD, 1, len(data)

    def room(self, num_bytes: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return the kernels' form of the stream, with room for ``num_bytes`` more if it is written."""
        if not self._coder[kernels.DECODING]:
            written = int(self._coder[kernels.POSITION])
            self._data = np.concatenate([self._data[:written], np.zeros(num_bytes, np.uint8)])
        return self._coder, self._data

    def check(self, result: int) -> int:
        """Return a kernel's return value, unless it is a failure.

        Raises:
            BitstreamError: the stream being read has ended.
        """
        if result == kernels.OUT_OF_DATA:
            raise BitstreamError(f"{self._name}: ends before its last symbol", DAMAGED)
        return result

    def finish(self, least_bytes: int = 0) -> bytes:
        """End writing; return the stream, with zeros appended up to ``least_bytes``."""
        low, written = int(self._coder[kernels.LOW]), int(self._coder[kernels.POSITION])
        step = self._last_step()
        value = -(-low // step) * step
        number = (int.from_bytes(self._data[:written].tobytes(), "big") << 8 * kernels.AHEAD) + value
        data = number.to_bytes(written + kernels.AHEAD, "big")
        return (data[:written] + data[written:].rstrip(b"\0")).ljust(least_bytes, b"\0")

    def close(self, least_bytes: int = 0) -> None:
        """Check that the stream being read ends here, as :meth:`finish` ends it.

        Raises:
            BitstreamError: it does not.
        """
        needed = int(self._coder[kernels.POSITION]) - kernels.AHEAD
        tail = self._data[needed : needed + kernels.AHEAD].tobytes()
        step = self._last_step()
        chosen = int.from_bytes(tail.ljust(kernels.AHEAD, b"\0"), "big")
        # The first multiple of the step in the interval, as the encoder chose it.
        intact = chosen % step == 0 and int(self._coder[kernels.LOW]) < step
        size = max(needed + len(tail.rstrip(b"\0")), least_bytes)
        if not intact or len(self._data) != size or self._data[needed + len(tail) :].any():
            raise BitstreamError(f"{self._name}: does not end with its last symbol", DAMAGED)

    def _last_step(self) -> int:
        """Return the greatest power of two that is sure to have a multiple in the interval."""
        return 1 << (int(self._coder[kernels.WIDTH]).bit_length() - 1)


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Compute the tables ``stretch``, ``squash`` and ``rates``, from integers alone.

    ``squash[i + limit]`` is 2^16 / (1 + exp(-i / 256)). ``stretch[j]`` is the least i whose ``squash`` reaches
    (j + 1/2) / 2^12. ``rates[n]`` is 2^16 / (n + 1.5).
    """
    one = 1 << _FRACTION
    ratio, term = one, one
    for number in range(1, 16):
        term = -term // (kernels.LOGIT_UNITS * number)
        ratio += term
    limit = kernels.LOGIT_LIMIT
    powers = [one]
    for _ in range(limit):
        powers.append(powers[-1] * ratio >> _FRACTION)
    total = 1 << (_PROBABILITY_BITS + _FRACTION)
    upper = [total // (one + power) for power in powers]
    squash = np.array([(1 << _PROBABILITY_BITS) - value for value in upper[:0:-1]] + upper, np.int64)
    middles = (2 * np.arange(1 << kernels.STRETCH_BITS) + 1) << (_PROBABILITY_BITS - kernels.STRETCH_BITS - 1)
    stretch = np.searchsorted(squash, middles).clip(0, 2 * limit) - limit
    rates = (2 << _PROBABILITY_BITS) // (2 * np.arange(1 << 10) + 3)
    return stretch.astype(np.int64), squash, rates.astype(np.int64)
