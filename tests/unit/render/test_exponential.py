"""The exponential of the blending kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from hemgs.render.raster_kernels import exponential


@njit
def _exponentials(values):
    results = np.empty_like(values)
    for i in range(len(values)):
        results[i] = exponential(values[i])
    return results


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2.5e-7), (np.float64, 4e-16)])
def test_exponential_is_accurate_where_it_is_used(dtype: type[np.floating[Any]], tolerance: float) -> None:
    values = np.linspace(-20, 0, 200_001).astype(dtype)
    exact = np.exp(values.astype(np.longdouble))
    error = np.abs(_exponentials(values).astype(np.longdouble) / exact - 1)
    assert error.max() <= tolerance
    assert _exponentials(np.zeros(1, dtype))[0] == 1
