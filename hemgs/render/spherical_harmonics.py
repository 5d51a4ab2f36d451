"""View-dependent colour from real spherical harmonics up to degree 3, compiled, forward and backward.

Owns the basis in the order (coefficient ``l^2 + l + m``) and the sign convention of 3DGS (arXiv 2308.04079), which
keeps the Condon-Shortley phase. Does not know cameras. Only visible Gaussians get a colour. Arithmetic is float64.
Kernels take the constants as an argument, as those of other files do.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hemgs.core.jit import OPTIONS

MAX_DEGREE = 3

#: Normalisation of the real spherical harmonics Y_lm, from their definition. The factors of degree 0 and 1 are those of
#: Y_00 and Y_1m. Those of degree 2 are for the products xy, yz and xz, then Y_20, then Y_22. Those of degree 3 are for
#: Y_3(+-3), Y_3(-2), Y_3(+-1), Y_30 and Y_32.
NORMALISATION = (
    math.sqrt(1 / (4 * math.pi)),
    math.sqrt(3 / (4 * math.pi)),
    math.sqrt(15 / (4 * math.pi)),
    math.sqrt(5 / (16 * math.pi)),
    math.sqrt(15 / (16 * math.pi)),
    math.sqrt(35 / (32 * math.pi)),
    math.sqrt(105 / (4 * math.pi)),
    math.sqrt(21 / (32 * math.pi)),
    math.sqrt(7 / (16 * math.pi)),
    math.sqrt(105 / (16 * math.pi)),
)

#: The colour is 0.5 where all coefficients are zero (3DGS).
COLOR_OFFSET = 0.5


@njit(**OPTIONS)
def _basis(degree, x, y, z, n, b):  # type: ignore[no-untyped-def]
    """Fill ``b`` with the values of the basis functions in a unit direction; ``n`` is :data:`NORMALISATION`."""
    b[0] = n[0]
    if degree >= 1:
        b[1], b[2], b[3] = -n[1] * y, n[1] * z, -n[1] * x
    if degree >= 2:
        b[4], b[5], b[7] = n[2] * x * y, -n[2] * y * z, -n[2] * x * z
        b[6] = n[3] * (2 * z * z - x * x - y * y)
        b[8] = n[4] * (x * x - y * y)
    if degree >= 3:
        b[9] = -n[5] * y * (3 * x * x - y * y)
        b[10] = n[6] * x * y * z
        b[11] = -n[7] * y * (4 * z * z - x * x - y * y)
        b[12] = n[8] * z * (2 * z * z - 3 * x * x - 3 * y * y)
        b[13] = -n[7] * x * (4 * z * z - x * x - y * y)
        b[14] = n[9] * z * (x * x - y * y)
        b[15] = -n[5] * x * (x * x - 3 * y * y)


@njit(**OPTIONS)
def _direction_grad(degree, x, y, z, n, g):  # type: ignore[no-untyped-def]
    """Return the sum over the basis functions of ``g`` times their gradient with respect to x, y and z."""
    gx = gy = gz = 0.0
    if degree >= 1:
        gx, gy, gz = -n[1] * g[3], -n[1] * g[1], n[1] * g[2]
    if degree >= 2:
        gx += n[2] * (y * g[4] - z * g[7]) + 2 * x * (n[4] * g[8] - n[3] * g[6])
        gy += n[2] * (x * g[4] - z * g[5]) - 2 * y * (n[4] * g[8] + n[3] * g[6])
        gz += 4 * n[3] * z * g[6] - n[2] * (y * g[5] + x * g[7])
    if degree >= 3:
        xx, yy, zz = x * x, y * y, z * z
        gx += -6 * n[5] * x * y * g[9] + n[6] * y * z * g[10] + 2 * n[7] * x * y * g[11] - 6 * n[8] * x * z * g[12]
        gx += -n[7] * (4 * zz - 3 * xx - yy) * g[13] + 2 * n[9] * x * z * g[14] - 3 * n[5] * (xx - yy) * g[15]
        gy += -3 * n[5] * (xx - yy) * g[9] + n[6] * x * z * g[10] - n[7] * (4 * zz - xx - 3 * yy) * g[11]
        gy += -6 * n[8] * y * z * g[12] + 2 * n[7] * x * y * g[13] - 2 * n[9] * y * z * g[14] + 6 * n[5] * x * y * g[15]
        gz += n[6] * x * y * g[10] - 8 * n[7] * z * (y * g[11] + x * g[13]) + n[9] * (xx - yy) * g[14]
        gz += 3 * n[8] * (2 * zz - xx - yy) * g[12]
    return gx, gy, gz


@njit(**OPTIONS)
def _view_direction(means, center, i):  # type: ignore[no-untyped-def]
    x, y, z = means[i, 0] - center[0], means[i, 1] - center[1], means[i, 2] - center[2]
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length, length


@njit(parallel=True, **OPTIONS)
def sh_forward(means, coefficients, center, radii, degree, constants, offset, block_size, colors):  # type: ignore[no-untyped-def]
    """Fill ``colors [N, 3]`` of the Gaussians whose ``radii [N, 2]`` are positive; the others keep their values.

    Args:
        means, coefficients: ``[N, 3]`` and ``[N, K, 3]``.
        center: ``[3] float64`` of the camera.
        constants, offset: normalisation of the basis, and the colour of zero coefficients.
        block_size: Gaussians that a thread takes at once.
    """
    for block in prange(-(-means.shape[0] // block_size)):
        b = np.empty(16)
        used = (degree + 1) ** 2
        for i in range(block * block_size, min(means.shape[0], (block + 1) * block_size)):
            if radii[i, 0] <= 0 or radii[i, 1] <= 0:
                continue
            x, y, z, _ = _view_direction(means, center, i)
            _basis(degree, x, y, z, constants, b)
            red = green = blue = offset
            for k in range(used):
                red += b[k] * coefficients[i, k, 0]
                green += b[k] * coefficients[i, k, 1]
                blue += b[k] * coefficients[i, k, 2]
            # In this form NaN stays NaN, as in torch's clamp.
            colors[i, 0] = 0.0 if red < 0.0 else red
            colors[i, 1] = 0.0 if green < 0.0 else green
            colors[i, 2] = 0.0 if blue < 0.0 else blue


@njit(parallel=True, **OPTIONS)
def sh_backward(  # type: ignore[no-untyped-def]
    means, coefficients, center, radii, degree, constants, block_size, colors, grad_colors,
    grad_means, grad_coefficients, grad_centers,
):  # fmt: skip
    """Add to ``grad_means [N, 3]`` and ``grad_coefficients [N, K, 3]``; ``colors`` are the forward's output.

    ``grad_centers [ceil(N / block_size), 3] float64`` receives the camera centre's gradient, summed block by block.
    """
    for block in prange(grad_centers.shape[0]):
        b, g = np.empty(16), np.empty(16)
        used = (degree + 1) ** 2
        total_x = total_y = total_z = 0.0
        for i in range(block * block_size, min(means.shape[0], (block + 1) * block_size)):
            if radii[i, 0] <= 0 or radii[i, 1] <= 0:
                continue
            x, y, z, length = _view_direction(means, center, i)
            _basis(degree, x, y, z, constants, b)
            red = np.float64(grad_colors[i, 0]) if colors[i, 0] > 0 else 0.0
            green = np.float64(grad_colors[i, 1]) if colors[i, 1] > 0 else 0.0
            blue = np.float64(grad_colors[i, 2]) if colors[i, 2] > 0 else 0.0
            for k in range(used):
                g[k] = red * coefficients[i, k, 0] + green * coefficients[i, k, 1] + blue * coefficients[i, k, 2]
                grad_coefficients[i, k, 0] += b[k] * red
                grad_coefficients[i, k, 1] += b[k] * green
                grad_coefficients[i, k, 2] += b[k] * blue
            gx, gy, gz = _direction_grad(degree, x, y, z, constants, g)
            radial = gx * x + gy * y + gz * z
            gx, gy, gz = (gx - radial * x) / length, (gy - radial * y) / length, (gz - radial * z) / length
            grad_means[i, 0] += gx
            grad_means[i, 1] += gy
            grad_means[i, 2] += gz
            total_x, total_y, total_z = total_x - gx, total_y - gy, total_z - gz
        grad_centers[block, 0], grad_centers[block, 1], grad_centers[block, 2] = total_x, total_y, total_z
