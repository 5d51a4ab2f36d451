"""Make the package file ``tables.npz``: ``python -m tools.make_tables [FILE]``.

Owns how frequencies are derived from Gaussians. Does not own their layout (``hemgs.coding.tables``). The result can
differ by one count where another platform's ``erf`` rounds otherwise. The file in the package is the one that counts:
``hemgs.coding.tables.TABLES_SHA256`` is its hash.
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemgs.coding import quantize, tables
from hemgs.core.files import atomic_path, sha256_of

#: Reach of a table in standard deviations. Values outside, with a probability of 6e-7, are escaped.
REACH = 5.0


def half_width_of(level: int) -> int:
    """Return the largest residual in the table of a level, which covers :data:`REACH` for every mean offset."""
    return math.ceil(REACH * float(tables.scale_of_level(level)) + 0.5)


def gaussian_masses(scale: float, mean: float, half_width: int) -> NDArray[np.float64]:
    """Return probabilities of residuals ``-half_width..half_width`` and of all others, ``[2 * half_width + 2]``."""
    unit = scale * math.sqrt(2.0)
    edges = [(residual - 0.5 - mean) / unit for residual in range(-half_width, half_width + 2)]
    # The difference of complementary error functions on the edge's own side keeps the tails exact.
    masses = [
        0.5 * (math.erfc(low) - math.erfc(high) if low > 0 else math.erfc(-high) - math.erfc(-low))
        for low, high in itertools.pairwise(edges)
    ]
    outside = 0.5 * (math.erfc(-edges[0]) + math.erfc(edges[-1]))
    return np.array([*masses, outside])


def make_integers() -> dict[str, NDArray[np.generic]]:
    """Return all arrays of the package file."""
    levels = range(tables.LAST_TABLE_LEVEL + 1)
    half_widths = [half_width_of(level) for level in levels]
    rows = [
        tables.integer_frequencies(
            gaussian_masses(float(tables.scale_of_level(level)), float(tables.mean_of_offset(offset)), half_width)
        )
        for level, half_width in zip(levels, half_widths, strict=True)
        for offset in range(tables.NUM_MEAN_OFFSETS)
    ]
    exponents = range(-quantize.MAX_STEP_INDEX, quantize.MAX_STEP_INDEX + 1)
    unit = 1 << quantize.MULTIPLIER_BITS
    multipliers = [round(2.0 ** (exponent / quantize.STEP_FRACTION) * unit) for exponent in exponents]
    return {
        "frequencies": np.concatenate(rows),
        "half_widths": np.array(half_widths, np.uint16),
        "step_multipliers": np.array(multipliers, np.uint32),
    }


def main() -> None:
    """Write the file and print its hash."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else tables.TABLES_FILE
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **make_integers())  # type: ignore[arg-type]
    sys.stdout.write(f"{path}: {path.stat().st_size} bytes, TABLES_SHA256 = {sha256_of(path)}\n")


if __name__ == "__main__":
    main()
