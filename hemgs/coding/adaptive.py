"""Adaptive binary coding: the stream's buffer, the tables of its arithmetic, its checks.

Owns what octrees and masks share. Does not own the inner loops or contexts (``_adaptive_kernels``), or framing. Integers
only: equal input gives equal bytes on every machine.

A stream is the range coder's bytes without zeros at its end, which the decoder supplies.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hemgs.coding import _adaptive_kernels as kernels
from hemgs.core.errors import BitstreamError

#: What every reader of a damaged section advises.
DAMAGED = "the file is damaged or was made by another version; encode again"

_FRACTION = 96
_UNITS = 256
_PROBABILITY_BITS = 16
_STRETCH_BITS = 12


class AdaptiveStream:
    """One stream being written or read, and the entries and weights that learn from it."""

    def __init__(self, num_entries: int, weights: int, data: bytes | None = None, name: str = "stream") -> None:
        """Args:
        num_entries: adaptive probabilities.
        weights: of the mixer, all sets together.
        data: the stream to read; None to write one.
        name: for messages.
        """
        self.entries = np.full(num_entries, kernels.FRESH_ENTRY, np.uint32)
        self.weights = np.full(weights, kernels.FIRST_WEIGHT, np.int32)
        self.stretch, self.squash, self.rates = _tables()
        self.coder = np.array([0, kernels.FULL_WIDTH, 0, data is not None, 0], np.int64)
        self.data = np.zeros(0, np.uint8)
        self._name = name
        if data is not None:
            self.data = np.frombuffer(data, np.uint8).copy()
            self.coder[kernels.LOW] = int.from_bytes(data[: kernels.AHEAD].ljust(kernels.AHEAD, b"\0"), "big")
            self.coder[kernels.POSITION], self.coder[kernels.SIZE] = kernels.AHEAD, len(data)

    def reserve(self, num_bytes: int) -> None:
        """Makes room for that many more bytes; nothing to do when reading."""
        if not self.coder[kernels.DECODING]:
            written = int(self.coder[kernels.POSITION])
            self.data = np.concatenate([self.data[:written], np.zeros(num_bytes, np.uint8)])

    def finish(self) -> bytes:
        """Ends writing; the stream."""
        low, width = int(self.coder[kernels.LOW]), int(self.coder[kernels.WIDTH])
        # The value of the interval with the most zeros at its end.
        bits = width.bit_length() - 1
        value = (low + (1 << bits) - 1) >> bits << bits
        number = int.from_bytes(self.data[: int(self.coder[kernels.POSITION])].tobytes(), "big")
        size = int(self.coder[kernels.POSITION]) + kernels.AHEAD
        return ((number << 8 * kernels.AHEAD) + value).to_bytes(size, "big").rstrip(b"\0")

    def check(self) -> None:
        """Checks that the stream being read reaches this far.

        Raises:
            BitstreamError: it ends before.
        """
        if self.coder[kernels.POSITION] > self.coder[kernels.SIZE] + kernels.AHEAD:
            raise BitstreamError(f"{self._name}: ends before its last symbol", DAMAGED)

    def close(self) -> None:
        """Checks that the stream being read ends here.

        Raises:
            BitstreamError: it ends before or goes on.
        """
        self.check()
        left = int(self.coder[kernels.SIZE] - self.coder[kernels.POSITION])
        if left > 0:
            raise BitstreamError(f"{self._name}: does not end with its last symbol ({left} bytes left)", DAMAGED)


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """``stretch``, ``squash`` and ``rates``, from integers alone.

    ``squash[i + limit]`` is 2^16 / (1 + exp(-i / 256)); ``stretch[j]`` the least i that reaches (j + 1/2) / 2^12;
    ``rates[n]`` is 2^16 / (n + 1.5).
    """
    one = 1 << _FRACTION
    ratio, term = one, one
    for number in range(1, 16):
        term = -term // (_UNITS * number)
        ratio += term
    limit = kernels.LOGIT_LIMIT
    powers = [one]
    for _ in range(limit):
        powers.append(powers[-1] * ratio >> _FRACTION)
    total = 1 << (_PROBABILITY_BITS + _FRACTION)
    upper = [total // (one + power) for power in powers]
    squash = np.array([(1 << _PROBABILITY_BITS) - value for value in upper[:0:-1]] + upper, np.int64)
    middles = (2 * np.arange(1 << _STRETCH_BITS) + 1) << (_PROBABILITY_BITS - _STRETCH_BITS - 1)
    stretch = np.searchsorted(squash, middles).clip(0, 2 * limit) - limit
    rates = (2 << _PROBABILITY_BITS) // (2 * np.arange(1 << 10) + 3)
    return stretch.astype(np.int64), squash, rates.astype(np.int64)
