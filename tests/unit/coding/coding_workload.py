"""Symbols that tests and benchmarks of the coder share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemgs.coding.quantize import split_mean
from hemgs.coding.tables import LOG2_FRACTION_BITS, MEAN_FRACTION_BITS, level_of_log2

#: Range of standard deviations in steps, and spread of means: from almost certain symbols to wide ones.
SCALES = (0.05, 25.0)
MEAN_SPREAD = 8.0
LIMIT = 127


@dataclass(frozen=True)
class Workload:
    """``[n]`` values with real-valued parameters, and the coder's inputs for them."""

    values: NDArray[np.int64]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    residuals: NDArray[np.int64]
    levels: NDArray[np.uint8]
    offsets: NDArray[np.uint8]


def workload(num_symbols: int, seed: int = 0) -> Workload:
    """Integers each drawn from a Gaussian of its own, standard deviation log-uniform, clipped to +-127."""
    random = np.random.default_rng(seed)
    lowest, highest = np.log(SCALES).tolist()
    scales = np.exp(random.uniform(lowest, highest, num_symbols))
    means = random.normal(0, MEAN_SPREAD, num_symbols)
    values = np.clip(np.rint(random.normal(means, scales)), -LIMIT, LIMIT).astype(np.int64)
    levels = level_of_log2(np.rint(np.log2(scales) * 2**LOG2_FRACTION_BITS).astype(np.int64))
    centres, offsets = split_mean(np.rint(means * 2**MEAN_FRACTION_BITS).astype(np.int64))
    return Workload(values, means, scales, values - centres, levels, offsets)
