"""Adaptive quantisation with integer step indices.

Owns the steps and the value of a symbol. Does not own how indices and means are predicted (``hemgs.anchor_codec``) or
how symbols are coded (``rans``).

A step is a base step times ``2^(k / 64)``, ``k`` in -256..256, that is 1/16 to 16 base steps. The decoder multiplies
integers from a package table. Each of its two floating-point operations rounds once and correctly, so every IEEE 754
device restores the same float32 values.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding.tables import CENTRED_OFFSET, MEAN_FRACTION_BITS, NUM_MEAN_OFFSETS, package_integers

#: Step indices per octave.
STEP_FRACTION = 64
#: Largest absolute step index: four octaves either way.
MAX_STEP_INDEX = 256
#: Fractional bits of the step multipliers.
MULTIPLIER_BITS = 16


@functools.cache
def step_multipliers() -> NDArray[np.int64]:
    """Return ``round(2^(k/64) * 2^16)`` for ``k`` from -256 to 256, ``[513] int64``, read-only.

    Raises:
        AssetError: see ``tables.package_integers``.

    >>> step_multipliers()[[0, 256, 512]].tolist()
    [4096, 65536, 1048576]
    """
    multipliers = package_integers()["step_multipliers"].astype(np.int64)
    multipliers.setflags(write=False)
    return multipliers


def reciprocals() -> NDArray[np.int64]:
    """Return ``round(2^16 * 2^(-k/64))`` for ``k`` from -256 to 256, ``[513] int64``, read-only.

    >>> reciprocals()[[0, 256, 512]].tolist()
    [1048576, 65536, 4096]
    """
    return step_multipliers()[::-1]


def quantize(values: ArrayLike, base_step: float, step_index: ArrayLike) -> NDArray[np.int32]:
    """Return the nearest symbol of each value, ties to even. It computes in float64, so only encoders may use it.

    Args:
        values: finite numbers of any shape.
        base_step: positive.
        step_index: integers in -256..256, broadcast against ``values``.

    Raises:
        ValueError: a value is not finite or is 2^31 steps or more, the base step is not positive, or an index is out
            of range.

    >>> quantize([0.9, -3.1], base_step=0.5, step_index=0).tolist()
    [2, -6]
    """
    steps = _steps(step_index) * (_checked(base_step) / (1 << MULTIPLIER_BITS))
    symbols = np.rint(np.asarray(values, np.float64) / steps)
    if not np.all(np.abs(symbols) < 2.0**31):  # NaN also fails.
        raise ValueError("values to quantise must be finite and less than 2^31 steps in size")
    return symbols.astype(np.int32)


def dequantize(symbols: ArrayLike, base_step: float, step_index: ArrayLike) -> NDArray[np.float32]:
    """Return the values of symbols: one exact integer product, one float64 multiplication, one rounding to float32.

    Args:
        symbols: integers of any shape, less than 2^33 in size.
        base_step: positive; exactly the encoder's number.
        step_index: integers in -256..256, broadcast against ``symbols``.

    Raises:
        ValueError: symbols are not integers, the base step is not positive, or an index is out of range.

    >>> dequantize([2, -6], base_step=0.5, step_index=64).tolist()
    [2.0, -6.0]
    """
    integers = np.asarray(symbols)
    if integers.dtype.kind not in "iu":
        raise ValueError(f"symbols must be integers, not {integers.dtype}")
    unit = _checked(base_step) / (1 << MULTIPLIER_BITS)
    # Less than 2^33 * 2^20, so the conversion to float64 is exact.
    products = integers.astype(np.int64) * _steps(step_index)
    return (products.astype(np.float64) * unit).astype(np.float32)


def split_mean(mean_fixed: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Split means into the integer centres of residuals and the indices of the mean offsets.

    Args:
        mean_fixed: integers of any shape, means in 1/32 step.

    Returns:
        ``centre`` int64 and ``offset`` uint8 in 0..31, such that ``mean_fixed = 32 * centre + offset - 16``.

    >>> centre, offset = split_mean([33, -1])
    >>> centre.tolist(), offset.tolist()
    ([1, 0], [17, 15])
    """
    shifted = np.asarray(mean_fixed, np.int64) + CENTRED_OFFSET
    return shifted >> MEAN_FRACTION_BITS, (shifted & (NUM_MEAN_OFFSETS - 1)).astype(np.uint8)


def _checked(base_step: float) -> float:
    if not (math.isfinite(base_step) and base_step > 0):
        raise ValueError(f"the base step must be a positive number, not {base_step!r}")
    return float(base_step)


def _steps(step_index: ArrayLike) -> NDArray[np.int64]:
    """Return the multipliers of step indices."""
    index = np.asarray(step_index, np.int64)
    if index.size and not -MAX_STEP_INDEX <= int(index.min()) <= int(index.max()) <= MAX_STEP_INDEX:
        raise ValueError(
            f"step indices must lie in -{MAX_STEP_INDEX}..{MAX_STEP_INDEX}, not {int(index.min())}..{int(index.max())}"
        )
    multipliers: NDArray[np.int64] = step_multipliers()[index + MAX_STEP_INDEX]
    return multipliers
