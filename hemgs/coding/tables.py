"""Integer frequency tables of discretised Gaussians, and the scale of their indices.

Owns the meaning of *level* and *mean offset*, the package file ``tables.npz`` and its check. Does not own the coder
(``rans``), the program that writes the file (``tools/make_tables``) or quantisation (``quantize``).

A symbol is coded as its residual ``r``, the distance in quantisation steps from the rounded predicted mean. Two small
integers name its distribution:

* level ``L`` in 0..127: the standard deviation is ``2^((L - 48) / 8)`` steps, 1/64 of a step to 939 steps;
* mean offset ``o`` in 0..31: the mean is ``(o - 16) / 32`` of a step above the rounded mean.

Each pair with ``L <= 80`` (up to 16 steps) has a table of 16-bit frequencies and an escape. The table covers
``|r| <= half_width[L]``, which is five standard deviations, and every frequency is at least 1.

Wider levels are coded in two stages. The table of level ``L - 8 s`` in 73..80 codes bins of ``2^s`` steps, with the
mean offset ``16 + (o >> s)``. Then follow the ``s`` low bits, uncoded. At 9 to 16 bins per standard deviation that
costs less than 0.001 bit a symbol.

The package contains the tables as integers. They are never computed where they are used, since ``erf`` differs between
platforms.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding import _rans_kernels as kernels
from hemgs.core.errors import AssetError
from hemgs.core.files import sha256_of

LEVELS_PER_OCTAVE = kernels.LEVELS_PER_OCTAVE
NUM_LEVELS = kernels.NUM_LEVELS
#: Level whose standard deviation is one step.
LEVEL_OF_UNIT_SCALE = 48
#: Widest level with tables of its own; wider ones are coded in two stages.
LAST_TABLE_LEVEL = kernels.LAST_TABLE_LEVEL
MEAN_FRACTION_BITS = kernels.MEAN_FRACTION_BITS
NUM_MEAN_OFFSETS = kernels.NUM_MEAN_OFFSETS
#: Mean offset index of a mean that is itself an integer number of steps.
CENTRED_OFFSET = kernels.CENTRED_OFFSET
PROBABILITY_BITS = kernels.PROBABILITY_BITS
#: Fractional bits of a scale's logarithm, as networks predict it: 1/64 octave.
LOG2_FRACTION_BITS = 6

TABLES_FILE = Path(__file__).with_name("tables.npz")
#: ``python -m tools.make_tables`` writes this file. With any other file, bitstreams do not decode.
TABLES_SHA256 = "ebd09ebe9b633bb03ed1593ee7a8f3ab4b79f0075cae6260e6b29fdcc8250f9c"

_LOG2_BITS_PER_LEVEL = LOG2_FRACTION_BITS - 3  # 8 levels an octave


@dataclass(frozen=True)
class GaussianTables:
    """The tables in the coder's layout.

    Attributes:
        cumulative: ``[T] uint32``; the row of (level, offset) starts at
            ``level_start[level] + offset * (2 * half_width + 3)`` and contains 0, the running sums over residuals
            ``-half_width..half_width``, and the sum with the escape (65536).
        level_start: ``[81] int64``.
        half_widths: ``[81] int64``.
        lookup: ``[81 * 32 * 256] uint8``; for the upper 8 bits of a slot, the row's first entry that can contain it.
    """

    cumulative: NDArray[np.uint32]
    level_start: NDArray[np.int64]
    half_widths: NDArray[np.int64]
    lookup: NDArray[np.uint8]

    @staticmethod
    def of(frequencies: NDArray[np.uint16], half_widths: NDArray[np.int64]) -> GaussianTables:
        """Build the layout from concatenated rows of ``2 * half_width + 2`` frequencies, by level, then offset."""
        cumulative: list[NDArray[np.uint32]] = []
        lookup: list[NDArray[np.intp]] = []
        level_start = np.zeros(len(half_widths), np.int64)
        slots = np.arange(1 << kernels.LOOKUP_BITS) << (PROBABILITY_BITS - kernels.LOOKUP_BITS)
        read = written = 0
        for level, half_width in enumerate(half_widths):
            width = int(2 * half_width + 2)
            rows = frequencies[read : read + NUM_MEAN_OFFSETS * width].reshape(NUM_MEAN_OFFSETS, width)
            sums = np.zeros((NUM_MEAN_OFFSETS, width + 1), np.uint32)
            np.cumsum(rows, axis=1, out=sums[:, 1:])
            level_start[level] = written
            read, written = read + rows.size, written + sums.size
            cumulative.append(sums.ravel())
            lookup.extend(np.searchsorted(row, slots, side="right") - 1 for row in sums)
        return GaussianTables(
            np.concatenate(cumulative), level_start, half_widths, np.concatenate(lookup).astype(np.uint8)
        )


@functools.cache
def package_integers() -> dict[str, NDArray[np.int64] | NDArray[np.uint16]]:
    """Read the arrays of the package file: ``frequencies``, ``half_widths``, ``step_multipliers``.

    Raises:
        AssetError: the file is missing, or does not belong to this version of the code.
    """
    fix = "install the package again"
    try:
        digest = sha256_of(TABLES_FILE)
    except OSError as fault:
        raise AssetError(f"{TABLES_FILE}: cannot be read ({fault.strerror})", fix) from fault
    if digest != TABLES_SHA256:
        raise AssetError(f"{TABLES_FILE}: SHA-256 is {digest}, not {TABLES_SHA256}", fix)
    with np.load(io.BytesIO(TABLES_FILE.read_bytes()), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@functools.cache
def gaussian_tables() -> GaussianTables:
    """Return the Gaussian tables of the package, loaded once.

    Raises:
        AssetError: see :func:`package_integers`.
    """
    integers = package_integers()
    return GaussianTables.of(integers["frequencies"].astype(np.uint16), integers["half_widths"].astype(np.int64))


def integer_frequencies(masses: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Round probabilities to frequencies of at least 1 that add up to 65536, by largest remainders.

    Args:
        masses: ``[n]`` probabilities, in any unit; n is less than 65536.

    >>> integer_frequencies(np.array([0.5, 0.5, 1e-9])).tolist()
    [32767, 32768, 1]
    """
    total = 1 << PROBABILITY_BITS
    rare = np.zeros(len(masses), bool)
    while True:
        share = masses * ((total - np.count_nonzero(rare)) / masses[~rare].sum())
        more = ~rare & (share < 1)
        if not more.any():
            break
        rare |= more
    frequencies = np.where(rare, 1, np.floor(share)).astype(np.int64)
    order = np.argsort(np.where(rare, -1.0, share - np.floor(share)), kind="stable")[::-1]
    frequencies[order[: total - frequencies.sum()]] += 1
    return frequencies.astype(np.uint16)


def level_of_log2(log2_scale: ArrayLike) -> NDArray[np.uint8]:
    """Return the level nearest to a scale, ties upwards, clipped to 0..127.

    Args:
        log2_scale: integers of any shape, binary logarithm of the standard deviation in steps, in 1/64 octave.

    >>> level_of_log2([0, 64, -10_000]).tolist()
    [48, 56, 0]
    """
    values = np.asarray(log2_scale, np.int64)
    levels: NDArray[np.int64] = LEVEL_OF_UNIT_SCALE + (
        (values + (1 << (_LOG2_BITS_PER_LEVEL - 1))) >> _LOG2_BITS_PER_LEVEL
    )
    return np.clip(levels, 0, NUM_LEVELS - 1).astype(np.uint8)


def scale_of_level(level: ArrayLike) -> NDArray[np.float64]:
    """Return the standard deviation of a level in steps; for estimates, not for coding.

    >>> scale_of_level([48, 56]).tolist()
    [1.0, 2.0]
    """
    return np.exp2((np.asarray(level, np.float64) - LEVEL_OF_UNIT_SCALE) / LEVELS_PER_OCTAVE)


def mean_of_offset(offset: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of the mean from its rounded value in steps, in [-1/2, 1/2); not for coding.

    >>> mean_of_offset([0, 16, 24]).tolist()
    [-0.5, 0.0, 0.25]
    """
    return (np.asarray(offset, np.float64) - CENTRED_OFFSET) / NUM_MEAN_OFFSETS
