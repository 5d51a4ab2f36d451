"""The code length of integers under discretised Gaussians, by scipy: what coders are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hemgs.coding.tables import mean_of_offset, scale_of_level


def gaussian_bits(
    values: NDArray[np.integer], means: NDArray[np.float64] | float, scales: NDArray[np.float64] | float
) -> float:
    """Return ``-sum log2(Phi(b) - Phi(a))``, bits.

    Args:
        values: integers.  means: in steps.  scales: positive standard deviations in steps; all broadcast together.
    """
    distance = np.abs(values - means)  # the upper tail keeps its digits
    mass = stats.norm.sf((distance - 0.5) / scales) - stats.norm.sf((distance + 0.5) / scales)
    return float(-np.log2(mass).sum())


def ideal_bits(residuals: NDArray[np.integer], levels: ArrayLike, offsets: ArrayLike) -> float:
    """Return the code length under the Gaussians of levels and offsets, without the tables' rounding, bits."""
    return gaussian_bits(residuals, mean_of_offset(offsets), scale_of_level(levels))
