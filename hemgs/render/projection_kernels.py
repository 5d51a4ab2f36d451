"""Compiled projection of 3D Gaussians to the image plane, forward and backward, one Gaussian at a time.

Owns the EWA projection (perspective camera, guard band, screen-space blur, opacity-aware extent) and its analytic
derivative. Does not own tiles, pixels or autograd; ``hemgs.render.cpu`` calls it.

    W  rotation of the world-to-camera matrix
    R  rotation of a Gaussian
    S  scale of a Gaussian (diagonal)
    V  W R S
    J  Jacobian of the perspective projection
    U  J V

The projected covariance is U U^T, plus the blur on its diagonal. Matrices are passed as flat tuples, row by row.

Arithmetic is float64 whatever the type of the arrays, so one kernel serves float32 and float64. Everything that decides
a result is an argument, because the disk cache of compiled code checks only the time stamp of this file.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from hemgs.core.jit import OPTIONS

#: Quotients may become products with reciprocals, and products and sums may be fused. Both change the last bit of a
#: float64 at most.
_FAST: dict[str, Any] = {**OPTIONS, "fastmath": {"arcp", "contract"}}


class ProjectionConstants(NamedTuple):
    """One camera's intrinsics (pixels) and the conventions of the projection (see ``hemgs.render.limits``)."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: float
    height: float
    near_plane: float
    far_plane: float
    radius_clip: float
    eps2d: float
    guard_band: float
    max_extent_sigma: float
    min_alpha: float
    max_radius: float
    min_compensation: float
    antialiased: bool


@njit(**_FAST)
def _camera_point(w, means, i):  # type: ignore[no-untyped-def]
    """Return the centre of Gaussian ``i`` in camera coordinates; ``w`` is the world-to-camera matrix."""
    x, y, z = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
    return (
        w[0, 0] * x + w[0, 1] * y + w[0, 2] * z + w[0, 3],
        w[1, 0] * x + w[1, 1] * y + w[1, 2] * z + w[1, 3],
        w[2, 0] * x + w[2, 1] * y + w[2, 2] * z + w[2, 3],
    )


@njit(**_FAST)
def _unit_quaternion(quats, i):  # type: ignore[no-untyped-def]
    """Return quaternion ``i`` at unit length, and its original length."""
    w, x, y, z = np.float64(quats[i, 0]), np.float64(quats[i, 1]), np.float64(quats[i, 2]), np.float64(quats[i, 3])
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    return w / norm, x / norm, y / norm, z / norm, norm


@njit(**_FAST)
def _rotation(w, x, y, z):  # type: ignore[no-untyped-def]
    """Return R of a unit quaternion."""
    return (
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y - w * z),
        2.0 * (x * z + w * y),
        2.0 * (x * y + w * z),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (y * z - w * x),
        2.0 * (x * z - w * y),
        2.0 * (y * z + w * x),
        1.0 - 2.0 * (x * x + y * y),
    )


@njit(**_FAST)
def _spread(w, r, s0, s1, s2):  # type: ignore[no-untyped-def]
    """Return V = W R S."""
    return (
        (w[0, 0] * r[0] + w[0, 1] * r[3] + w[0, 2] * r[6]) * s0,
        (w[0, 0] * r[1] + w[0, 1] * r[4] + w[0, 2] * r[7]) * s1,
        (w[0, 0] * r[2] + w[0, 1] * r[5] + w[0, 2] * r[8]) * s2,
        (w[1, 0] * r[0] + w[1, 1] * r[3] + w[1, 2] * r[6]) * s0,
        (w[1, 0] * r[1] + w[1, 1] * r[4] + w[1, 2] * r[7]) * s1,
        (w[1, 0] * r[2] + w[1, 1] * r[5] + w[1, 2] * r[8]) * s2,
        (w[2, 0] * r[0] + w[2, 1] * r[3] + w[2, 2] * r[6]) * s0,
        (w[2, 0] * r[1] + w[2, 1] * r[4] + w[2, 2] * r[7]) * s1,
        (w[2, 0] * r[2] + w[2, 1] * r[5] + w[2, 2] * r[8]) * s2,
    )


@njit(**_FAST)
def _clamped_slope(p, z, focal, centre, size, guard_band):  # type: ignore[no-untyped-def]
    """Return the ray slope ``p / z``, held within field of view and guard band, and 1 if it was inside, else 0."""
    margin = guard_band * 0.5 * size / focal
    high = (size - centre) / focal + margin
    low = -centre / focal - margin
    slope = p / z
    if slope > high:
        return high, 0.0
    if slope < low:
        return low, 0.0
    return slope, 1.0


@njit(**_FAST)
def _footprint(slope_x, slope_y, z, v, k):  # type: ignore[no-untyped-def]
    """Return U = J V with J = [[fx / z, 0, -fx slope_x / z], [0, fy / z, -fy slope_y / z]]."""
    jx, jy = k.fx / z, k.fy / z
    return (
        jx * (v[0] - slope_x * v[6]),
        jx * (v[1] - slope_x * v[7]),
        jx * (v[2] - slope_x * v[8]),
        jy * (v[3] - slope_y * v[6]),
        jy * (v[4] - slope_y * v[7]),
        jy * (v[5] - slope_y * v[8]),
    )


@njit(**_FAST)
def _covariance(u, eps2d):  # type: ignore[no-untyped-def]
    """Return xx, xy, yy of U U^T, its determinant, and the determinant after the blur.

    The determinant is the squared length of the cross product of U's rows, which does not cancel for thin Gaussians.
    """
    xx = u[0] * u[0] + u[1] * u[1] + u[2] * u[2]
    xy = u[0] * u[3] + u[1] * u[4] + u[2] * u[5]
    yy = u[3] * u[3] + u[4] * u[4] + u[5] * u[5]
    n0, n1, n2 = u[1] * u[5] - u[2] * u[4], u[2] * u[3] - u[0] * u[5], u[0] * u[4] - u[1] * u[3]
    sharp = n0 * n0 + n1 * n1 + n2 * n2
    return xx, xy, yy, sharp, sharp + eps2d * (xx + yy) + eps2d * eps2d


@njit(**_FAST)
def _project_block(  # type: ignore[no-untyped-def]
    first, last, means, quats, scales, opacities, w, k, means2d, depths, conics, compensations, extents, radii
):  # fmt: skip
    """Project the Gaussians ``first`` to ``last``. Comparisons are written so that one with a NaN is invisible."""
    for i in range(first, last):
        x, y, z = _camera_point(w, means, i)
        if not (z >= k.near_plane and z <= k.far_plane):
            continue
        qw, qx, qy, qz, _ = _unit_quaternion(quats, i)
        s0, s1, s2 = np.float64(scales[i, 0]), np.float64(scales[i, 1]), np.float64(scales[i, 2])
        v = _spread(w, _rotation(qw, qx, qy, qz), s0, s1, s2)
        slope_x, _ = _clamped_slope(x, z, k.fx, k.cx, k.width, k.guard_band)
        slope_y, _ = _clamped_slope(y, z, k.fy, k.cy, k.height, k.guard_band)
        xx, xy, yy, sharp, det = _covariance(_footprint(slope_x, slope_y, z, v, k), k.eps2d)
        xx += k.eps2d
        yy += k.eps2d
        if not (det > 0.0 and det < np.inf and xx < np.inf and yy < np.inf):
            continue
        compensation = math.sqrt(sharp / det)
        opacity = np.float64(opacities[i])
        if k.antialiased:
            opacity *= compensation
        if not (opacity >= k.min_alpha and opacity < np.inf):
            continue
        reach = min(k.max_extent_sigma, math.sqrt(2.0 * math.log(opacity / k.min_alpha)))
        extent_x, extent_y = reach * math.sqrt(xx), reach * math.sqrt(yy)
        radius_x, radius_y = np.ceil(extent_x), np.ceil(extent_y)
        if radius_x <= k.radius_clip and radius_y <= k.radius_clip:
            continue
        px, py = k.fx * x / z + k.cx, k.fy * y / z + k.cy
        if not (px + radius_x > 0.0 and px - radius_x < k.width and py + radius_y > 0.0 and py - radius_y < k.height):
            continue
        means2d[i, 0], means2d[i, 1] = px, py
        depths[i] = z
        conics[i, 0], conics[i, 1], conics[i, 2] = yy / det, -xy / det, xx / det
        compensations[i] = compensation
        extents[i, 0], extents[i, 1] = extent_x, extent_y
        radii[i, 0], radii[i, 1] = np.int32(min(radius_x, k.max_radius)), np.int32(min(radius_y, k.max_radius))


@njit(parallel=True, **_FAST)
def project_forward(  # type: ignore[no-untyped-def]
    means, quats, scales, opacities, viewmat, constants, block_size,
    means2d, depths, conics, compensations, extents, radii,
):  # fmt: skip
    """Fill the last six arrays for one camera; where a Gaussian is invisible they keep their values.

    Args:
        means, quats, scales, opacities: ``[N, 3]``, ``[N, 4]`` (w, x, y, z; any length), ``[N, 3]``, ``[N]``.
        viewmat: ``[4, 4] float64``.
        constants: ``ProjectionConstants``.
        block_size: Gaussians that a thread takes at once.
        means2d, depths, conics, compensations: ``[N, 2]``, ``[N]``, ``[N, 3]`` (xx, xy, yy of the inverse covariance),
            ``[N]`` (factor of the opacity that would keep a Gaussian's mass under the blur).
        extents: ``[N, 2]`` half sizes of the box in which alpha reaches its minimum, pixels.
        radii: ``[N, 2] int32``, the extents rounded up.
    """
    for block in prange(-(-means.shape[0] // block_size)):
        _project_block(
            block * block_size, min(means.shape[0], (block + 1) * block_size), means, quats, scales, opacities,
            viewmat, constants, means2d, depths, conics, compensations, extents, radii,
        )  # fmt: skip


@njit(**_FAST)
def _footprint_grad(u, grad_conics, grad_compensation, i, k):  # type: ignore[no-untyped-def]
    """Return d loss / d U. For a conic Q with gradient G the covariance's gradient is -Q G Q, which is symmetric."""
    xx, xy, yy, sharp, det = _covariance(u, k.eps2d)
    a, b, c = (yy + k.eps2d) / det, -xy / det, (xx + k.eps2d) / det
    ga, gb, gc = np.float64(grad_conics[i, 0]), 0.5 * grad_conics[i, 1], np.float64(grad_conics[i, 2])
    left_a, left_b = ga * a + gb * b, ga * b + gb * c
    right_a, right_b = gb * a + gc * b, gb * b + gc * c
    h_xx = -(a * left_a + b * right_a)
    h_xy = -(a * left_b + b * right_b)
    h_yy = -(b * left_b + c * right_b)
    compensation = math.sqrt(sharp / det)
    if compensation > k.min_compensation:
        half = 0.5 * compensation * grad_compensation[i]
        h_xx += half * (yy / sharp - a)
        h_xy += half * (-xy / sharp - b)
        h_yy += half * (xx / sharp - c)
    return (
        2.0 * (h_xx * u[0] + h_xy * u[3]),
        2.0 * (h_xx * u[1] + h_xy * u[4]),
        2.0 * (h_xx * u[2] + h_xy * u[5]),
        2.0 * (h_xy * u[0] + h_yy * u[3]),
        2.0 * (h_xy * u[1] + h_yy * u[4]),
        2.0 * (h_xy * u[2] + h_yy * u[5]),
    )


@njit(**_FAST)
def _axis_grad(grad_px, du0, du1, du2, va0, va1, va2, vz0, vz1, vz2, p, z, slope, free, focal):  # type: ignore[no-untyped-def]
    """Return the gradients of one image axis with respect to the camera-space coordinates ``p`` (x or y) and ``z``.

    ``du`` is the gradient of U's row, ``va`` and ``vz`` the rows of V for ``p`` and ``z``. The Jacobian's entries are
    f / z and -f slope / z, where slope is p / z if ``free`` is 1 and constant if it is 0.
    """
    d_diagonal = du0 * va0 + du1 * va1 + du2 * va2
    d_slant = du0 * vz0 + du1 * vz1 + du2 * vz2
    scale = focal / (z * z)
    grad_p = grad_px * focal / z - free * d_slant * scale
    grad_z = -grad_px * p * scale - d_diagonal * scale + (1.0 + free) * d_slant * scale * slope
    return grad_p, grad_z


@njit(**_FAST)
def _rotated_back(w, g0, g1, g2, r):  # type: ignore[no-untyped-def]
    """Return component ``r`` of W^T times a camera-space vector."""
    return w[0, r] * g0 + w[1, r] * g1 + w[2, r] * g2


@njit(**_FAST)
def _add_quaternion_grad(qw, qx, qy, qz, norm, d, grad_quats, i):  # type: ignore[no-untyped-def]
    """Add d loss / d quaternion, through the normalisation; ``d`` is d loss / d R."""
    gw = 2.0 * (qz * (d[3] - d[1]) + qy * (d[2] - d[6]) + qx * (d[7] - d[5]))
    gx = 2.0 * (qy * (d[1] + d[3]) + qz * (d[2] + d[6]) + qw * (d[7] - d[5]) - 2.0 * qx * (d[4] + d[8]))
    gy = 2.0 * (qx * (d[1] + d[3]) + qz * (d[5] + d[7]) + qw * (d[2] - d[6]) - 2.0 * qy * (d[0] + d[8]))
    gz = 2.0 * (qx * (d[2] + d[6]) + qy * (d[5] + d[7]) + qw * (d[3] - d[1]) - 2.0 * qz * (d[0] + d[4]))
    radial = gw * qw + gx * qx + gy * qy + gz * qz
    grad_quats[i, 0] += (gw - radial * qw) / norm
    grad_quats[i, 1] += (gx - radial * qx) / norm
    grad_quats[i, 2] += (gy - radial * qy) / norm
    grad_quats[i, 3] += (gz - radial * qz) / norm


@njit(**_FAST)
def _column_back(w, g0, g1, g2):  # type: ignore[no-untyped-def]
    """Return W^T times a column."""
    return _rotated_back(w, g0, g1, g2, 0), _rotated_back(w, g0, g1, g2, 1), _rotated_back(w, g0, g1, g2, 2)


@njit(**_FAST)
def _add_camera_row(camera, row, grad_p, dv, rs, means, i):  # type: ignore[no-untyped-def]
    """Add the gradient of a row of the world-to-camera matrix.

    The row acts through the camera-space centre and through V = W (R S).
    """
    for c in range(3):
        camera[row, c] += grad_p * means[i, c]
        camera[row, c] += dv[0] * rs[3 * c] + dv[1] * rs[3 * c + 1] + dv[2] * rs[3 * c + 2]
    camera[row, 3] += grad_p


@njit(**_FAST)
def _project_back_block(  # type: ignore[no-untyped-def]
    first, last, means, quats, scales, w, k, radii, grad_means2d, grad_depths, grad_conics, grad_compensations,
    grad_means, grad_quats, grad_scales, camera,
):  # fmt: skip
    """Add the gradients of the visible Gaussians among ``first`` to ``last``.

    Add those of the world-to-camera matrix to ``camera [3, 4]``.
    """
    for i in range(first, last):
        if radii[i, 0] <= 0 or radii[i, 1] <= 0:
            continue
        x, y, z = _camera_point(w, means, i)
        qw, qx, qy, qz, norm = _unit_quaternion(quats, i)
        r = _rotation(qw, qx, qy, qz)
        s0, s1, s2 = np.float64(scales[i, 0]), np.float64(scales[i, 1]), np.float64(scales[i, 2])
        v = _spread(w, r, s0, s1, s2)
        slope_x, free_x = _clamped_slope(x, z, k.fx, k.cx, k.width, k.guard_band)
        slope_y, free_y = _clamped_slope(y, z, k.fy, k.cy, k.height, k.guard_band)
        du = _footprint_grad(_footprint(slope_x, slope_y, z, v, k), grad_conics, grad_compensations, i, k)

        gu, gv = np.float64(grad_means2d[i, 0]), np.float64(grad_means2d[i, 1])
        dx, dz_x = _axis_grad(gu, du[0], du[1], du[2], v[0], v[1], v[2], v[6], v[7], v[8], x, z, slope_x, free_x, k.fx)
        dy, dz_y = _axis_grad(gv, du[3], du[4], du[5], v[3], v[4], v[5], v[6], v[7], v[8], y, z, slope_y, free_y, k.fy)
        dz = dz_x + dz_y + grad_depths[i]

        jx, jy = k.fx / z, k.fy / z
        dv_x = (jx * du[0], jx * du[1], jx * du[2])
        dv_y = (jy * du[3], jy * du[4], jy * du[5])
        dv_z = (
            -jx * slope_x * du[0] - jy * slope_y * du[3],
            -jx * slope_x * du[1] - jy * slope_y * du[4],
            -jx * slope_x * du[2] - jy * slope_y * du[5],
        )
        for row in range(3):
            grad_means[i, row] += _rotated_back(w, dx, dy, dz, row)
        # d loss / d (R S), column by column, then its split into R and S.
        m0, m3, m6 = _column_back(w, dv_x[0], dv_y[0], dv_z[0])
        m1, m4, m7 = _column_back(w, dv_x[1], dv_y[1], dv_z[1])
        m2, m5, m8 = _column_back(w, dv_x[2], dv_y[2], dv_z[2])
        grad_scales[i, 0] += r[0] * m0 + r[3] * m3 + r[6] * m6
        grad_scales[i, 1] += r[1] * m1 + r[4] * m4 + r[7] * m7
        grad_scales[i, 2] += r[2] * m2 + r[5] * m5 + r[8] * m8
        by_rotation = (m0 * s0, m1 * s1, m2 * s2, m3 * s0, m4 * s1, m5 * s2, m6 * s0, m7 * s1, m8 * s2)
        _add_quaternion_grad(qw, qx, qy, qz, norm, by_rotation, grad_quats, i)
        rs = (r[0] * s0, r[1] * s1, r[2] * s2, r[3] * s0, r[4] * s1, r[5] * s2, r[6] * s0, r[7] * s1, r[8] * s2)
        _add_camera_row(camera, 0, dx, dv_x, rs, means, i)
        _add_camera_row(camera, 1, dy, dv_y, rs, means, i)
        _add_camera_row(camera, 2, dz, dv_z, rs, means, i)


@njit(parallel=True, **_FAST)
def project_backward(  # type: ignore[no-untyped-def]
    means, quats, scales, viewmat, constants, radii, grad_means2d, grad_depths, grad_conics, grad_compensations,
    block_size, grad_means, grad_quats, grad_scales, grad_cameras,
):  # fmt: skip
    """Add one camera's gradients to ``grad_means [N, 3]``, ``grad_quats [N, 4]`` and ``grad_scales [N, 3]``.

    Invisible Gaussians (``radii`` zero) get none. ``grad_cameras [ceil(N / block_size), 3, 4] float64`` receives the
    gradient of the world-to-camera matrix, summed over each block of Gaussians. Blocks have a fixed size, so the total
    does not depend on the number of threads.
    """
    for block in prange(grad_cameras.shape[0]):
        grad_cameras[block] = 0.0
        _project_back_block(
            block * block_size, min(means.shape[0], (block + 1) * block_size), means, quats, scales, viewmat, constants,
            radii, grad_means2d, grad_depths, grad_conics, grad_compensations,
            grad_means, grad_quats, grad_scales, grad_cameras[block],
        )  # fmt: skip
