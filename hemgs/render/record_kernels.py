"""Compiled work per Gaussian: gather what the blending reads, and add up what its backward pass writes.

Owns the decision which Gaussians are drawn. Does not touch pixels. The layout of the rows is that of
``hemgs.render.raster_kernels``. Constants are arguments or follow from the arrays' shapes, because the on-disk cache of
compiled code looks at this file's time stamp only.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hemgs.core.jit import OPTIONS


@njit(parallel=True, **OPTIONS)
def pack_records(means2d, conics, opacities, colors, radii, min_alpha, records, drawn):  # type: ignore[no-untyped-def]
    """Write one record for each Gaussian that the blending reads, and decide which Gaussians are drawn.

    ``records [N, 7 + D]``: 2D mean, conic, opacity, exponent at which alpha falls to ``min_alpha``, colour. ``drawn
    [N]``: whether a Gaussian is visible (``radii [N, 2]`` positive), has an opacity of at least ``min_alpha``, and
    contains only finite values. Records of Gaussians that are invisible or too faint do not change.
    """
    for i in prange(records.shape[0]):
        drawn[i] = False
        if not (radii[i, 0] > 0 and radii[i, 1] > 0 and opacities[i] >= min_alpha):
            continue
        records[i, 0] = means2d[i, 0]
        records[i, 1] = means2d[i, 1]
        records[i, 2] = conics[i, 0]
        records[i, 3] = conics[i, 1]
        records[i, 4] = conics[i, 2]
        records[i, 5] = opacities[i]
        records[i, 6] = math.log(min_alpha / opacities[i])
        finite = True
        first_color = records.shape[1] - colors.shape[1]
        for channel in range(colors.shape[1]):
            records[i, first_color + channel] = colors[i, channel]
        for field in range(records.shape[1]):
            finite = finite and math.isfinite(records[i, field])
        drawn[i] = finite


@njit(parallel=True, **OPTIONS)
def sum_per_gaussian(starts, grads, num_shape_grads, block_size, means2d, absolute, conics, opacities, colors):  # type: ignore[no-untyped-def]
    """Add the rows of ``grads`` (see ``raster_kernels.raster_backward``) of each Gaussian in their order, in float64.

    The rows of Gaussian ``i`` are ``starts[i]`` to ``starts[i + 1] - 1``. The last five arguments are outputs.
    ``num_shape_grads`` is the number of columns before the colours. A thread takes ``block_size`` Gaussians at once.
    """
    total = len(starts) - 1
    for block in prange(-(-total // block_size)):
        first, last = block * block_size, min(total, (block + 1) * block_size)
        _sum_block(first, last, starts, grads, num_shape_grads, means2d, absolute, conics, opacities, colors)


@njit(**OPTIONS)
def _sum_block(first, last, starts, grads, num_shape_grads, means2d, absolute, conics, opacities, colors):  # type: ignore[no-untyped-def]
    sums = np.empty(grads.shape[1], np.float64)
    for i in range(first, last):
        sums[:] = 0.0
        for entry in range(starts[i], starts[i + 1]):
            for column in range(grads.shape[1]):
                sums[column] += grads[entry, column]
        means2d[i, 0], means2d[i, 1] = sums[0], sums[1]
        absolute[i, 0], absolute[i, 1] = sums[2], sums[3]
        conics[i, 0], conics[i, 1], conics[i, 2] = sums[4], sums[5], sums[6]
        opacities[i] = sums[7]
        for channel in range(colors.shape[1]):
            colors[i, channel] = sums[num_shape_grads + channel]
