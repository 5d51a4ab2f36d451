"""Compiled projection of 3D Gaussians to the image plane, forward and backward, one Gaussian at a time.

Owns the EWA projection (perspective camera, guard band, screen-space blur, opacity-aware extent) and its analytic
derivative. Does not know of tiles, pixels or autograd; ``hemgs.render.cpu`` calls it.

Arithmetic is float64 whatever the type of the arrays, so one kernel serves float32 and float64. Everything that
decides a result is passed as an argument: the on-disk cache of compiled code looks at this file's time stamp only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from hemgs.render.jit import CACHE

_OPTIONS: dict[str, Any] = {"cache": CACHE, "error_model": "numpy", "nogil": True}


@njit(inline="always", **_OPTIONS)
def _rotation(w, x, y, z):  # type: ignore[no-untyped-def]
    """Rows of the rotation matrix of a unit quaternion, flattened."""
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


@njit(inline="always", **_OPTIONS)
def _clamped_ray(p, z, focal, centre, size, guard_band):  # type: ignore[no-untyped-def]
    """Ray slope ``p / z`` held within the field of view plus its guard band, and whether it was inside."""
    margin = guard_band * 0.5 * size / focal
    high = (size - centre) / focal + margin
    low = -centre / focal - margin
    slope = p / z
    if slope > high:
        return high, False
    if slope < low:
        return low, False
    return slope, True


@njit(parallel=True, **_OPTIONS)
def project_forward(  # type: ignore[no-untyped-def]
    means,
    quats,
    scales,
    opacities,
    viewmat,
    intrinsics,
    width,
    height,
    eps2d,
    near_plane,
    far_plane,
    radius_clip,
    guard_band,
    max_extent_sigma,
    min_alpha,
    max_radius,
    antialiased,
    means2d,
    depths,
    conics,
    compensations,
    extents,
    radii,
):
    """Fills the last six arrays for one camera; invisible Gaussians (non-finite ones too) get zeros.

    Args:
        means, quats, scales, opacities: ``[N, 3]``, ``[N, 4]`` (w, x, y, z; any length), ``[N, 3]``, ``[N]``.
        viewmat, intrinsics: ``[4, 4]`` and ``[3, 3]`` float64.
        guard_band: the Jacobian is evaluated at most this fraction of half the field of view outside the image.
        max_extent_sigma, min_alpha: the extent is where alpha falls to ``min_alpha``, at most so many sigma.
        max_radius: radii are capped here, pixels.
        means2d, depths, conics, compensations: ``[N, 2]``, ``[N]``, ``[N, 3]`` (xx, xy, yy of the inverse), ``[N]``.
        extents: ``[N, 2]`` half sizes of the box in which alpha reaches ``min_alpha``, pixels.
        radii: ``[N, 2] int32``, the extents rounded up.
    """
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    for i in prange(means.shape[0]):
        means2d[i, 0] = 0.0
        means2d[i, 1] = 0.0
        depths[i] = 0.0
        conics[i, 0] = 0.0
        conics[i, 1] = 0.0
        conics[i, 2] = 0.0
        compensations[i] = 0.0
        extents[i, 0] = 0.0
        extents[i, 1] = 0.0
        radii[i, 0] = 0
        radii[i, 1] = 0

        mx, my, mz = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
        z = viewmat[2, 0] * mx + viewmat[2, 1] * my + viewmat[2, 2] * mz + viewmat[2, 3]
        if not (z >= near_plane and z <= far_plane):
            continue
        x = viewmat[0, 0] * mx + viewmat[0, 1] * my + viewmat[0, 2] * mz + viewmat[0, 3]
        y = viewmat[1, 0] * mx + viewmat[1, 1] * my + viewmat[1, 2] * mz + viewmat[1, 3]
        u = fx * x / z + cx
        v = fy * y / z + cy

        qw, qx, qy, qz = np.float64(quats[i, 0]), np.float64(quats[i, 1]), np.float64(quats[i, 2]), np.float64(quats[i, 3])
        norm = math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(qw / norm, qx / norm, qy / norm, qz / norm)
        slope_x, _ = _clamped_ray(x, z, fx, cx, width, guard_band)
        slope_y, _ = _clamped_ray(y, z, fy, cy, height, guard_band)
        # Rows of (Jacobian x world-to-camera rotation), then times rotation and scale: covariance = U U^T.
        jx, jxz, jy, jyz = fx / z, -fx * slope_x / z, fy / z, -fy * slope_y / z
        a0 = jx * viewmat[0, 0] + jxz * viewmat[2, 0]
        a1 = jx * viewmat[0, 1] + jxz * viewmat[2, 1]
        a2 = jx * viewmat[0, 2] + jxz * viewmat[2, 2]
        b0 = jy * viewmat[1, 0] + jyz * viewmat[2, 0]
        b1 = jy * viewmat[1, 1] + jyz * viewmat[2, 1]
        b2 = jy * viewmat[1, 2] + jyz * viewmat[2, 2]
        s0, s1, s2 = np.float64(scales[i, 0]), np.float64(scales[i, 1]), np.float64(scales[i, 2])
        u00 = (a0 * r00 + a1 * r10 + a2 * r20) * s0
        u01 = (a0 * r01 + a1 * r11 + a2 * r21) * s1
        u02 = (a0 * r02 + a1 * r12 + a2 * r22) * s2
        u10 = (b0 * r00 + b1 * r10 + b2 * r20) * s0
        u11 = (b0 * r01 + b1 * r11 + b2 * r21) * s1
        u12 = (b0 * r02 + b1 * r12 + b2 * r22) * s2
        cov_xx = u00 * u00 + u01 * u01 + u02 * u02
        cov_xy = u00 * u10 + u01 * u11 + u02 * u12
        cov_yy = u10 * u10 + u11 * u11 + u12 * u12
        # Squared length of the cross product of U's rows: the determinant without cancellation.
        n0, n1, n2 = u01 * u12 - u02 * u11, u02 * u10 - u00 * u12, u00 * u11 - u01 * u10
        det_sharp = n0 * n0 + n1 * n1 + n2 * n2
        det = det_sharp + eps2d * (cov_xx + cov_yy) + eps2d * eps2d
        cov_xx += eps2d
        cov_yy += eps2d
        if not (det > 0.0 and det < np.inf and cov_xx < np.inf and cov_yy < np.inf):
            continue

        compensation = math.sqrt(det_sharp / det)
        opacity = np.float64(opacities[i])
        if antialiased:
            opacity *= compensation
        if not (opacity >= min_alpha and opacity < np.inf):
            continue
        reach = min(max_extent_sigma, math.sqrt(2.0 * math.log(opacity / min_alpha)))
        extent_x, extent_y = reach * math.sqrt(cov_xx), reach * math.sqrt(cov_yy)
        radius_x, radius_y = np.ceil(extent_x), np.ceil(extent_y)
        if radius_x <= radius_clip and radius_y <= radius_clip:
            continue
        if not (u + radius_x > 0.0 and u - radius_x < width and v + radius_y > 0.0 and v - radius_y < height):
            continue
        means2d[i, 0] = u
        means2d[i, 1] = v
        depths[i] = z
        conics[i, 0] = cov_yy / det
        conics[i, 1] = -cov_xy / det
        conics[i, 2] = cov_xx / det
        compensations[i] = compensation
        extents[i, 0] = extent_x
        extents[i, 1] = extent_y
        radii[i, 0] = np.int32(min(radius_x, max_radius))
        radii[i, 1] = np.int32(min(radius_y, max_radius))


@njit(parallel=True, **_OPTIONS)
def project_backward(  # type: ignore[no-untyped-def]
    means,
    quats,
    scales,
    viewmat,
    intrinsics,
    width,
    height,
    eps2d,
    guard_band,
    min_compensation,
    radii,
    grad_means2d,
    grad_depths,
    grad_conics,
    grad_compensations,
    block_size,
    grad_means,
    grad_quats,
    grad_scales,
    grad_viewmats,
):
    """Adds one camera's gradients to ``grad_means [N, 3]``, ``grad_quats [N, 4]`` and ``grad_scales [N, 3]``.

    ``grad_viewmats`` is ``[ceil(N / block_size), 3, 4] float64``: the gradient of the world-to-camera matrix summed over
    blocks of Gaussians of fixed size, so that the total does not depend on the number of threads.
    ``min_compensation``: where the antialiasing factor is smaller, its square root passes no gradient.
    """
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    total = means.shape[0]
    for block in prange(grad_viewmats.shape[0]):
        gw = np.zeros((3, 4))
        jac = np.zeros((2, 3))
        rows = np.empty((3, 3))
        uu = np.empty((2, 3))
        du = np.empty((2, 3))
        vv = np.empty((3, 3))
        dv = np.empty((3, 3))
        dm = np.empty((3, 3))
        for i in range(block * block_size, min(total, (block + 1) * block_size)):
            if radii[i, 0] <= 0 or radii[i, 1] <= 0:
                continue
            mx, my, mz = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
            x = viewmat[0, 0] * mx + viewmat[0, 1] * my + viewmat[0, 2] * mz + viewmat[0, 3]
            y = viewmat[1, 0] * mx + viewmat[1, 1] * my + viewmat[1, 2] * mz + viewmat[1, 3]
            z = viewmat[2, 0] * mx + viewmat[2, 1] * my + viewmat[2, 2] * mz + viewmat[2, 3]
            qw, qx, qy, qz = (
                np.float64(quats[i, 0]),
                np.float64(quats[i, 1]),
                np.float64(quats[i, 2]),
                np.float64(quats[i, 3]),
            )
            norm = math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
            qw, qx, qy, qz = qw / norm, qx / norm, qy / norm, qz / norm
            (
                rows[0, 0],
                rows[0, 1],
                rows[0, 2],
                rows[1, 0],
                rows[1, 1],
                rows[1, 2],
                rows[2, 0],
                rows[2, 1],
                rows[2, 2],
            ) = _rotation(qw, qx, qy, qz)
            slope_x, free_x = _clamped_ray(x, z, fx, cx, width, guard_band)
            slope_y, free_y = _clamped_ray(y, z, fy, cy, height, guard_band)
            jac[0, 0], jac[0, 2] = fx / z, -fx * slope_x / z
            jac[1, 1], jac[1, 2] = fy / z, -fy * slope_y / z

            # V = world-to-camera rotation x Gaussian rotation x scale;  U = Jacobian x V;  covariance = U U^T.
            for r in range(3):
                for c in range(3):
                    entry = 0.0
                    for k in range(3):
                        entry += viewmat[r, k] * rows[k, c]
                    vv[r, c] = entry * scales[i, c]
            for c in range(3):
                uu[0, c] = jac[0, 0] * vv[0, c] + jac[0, 2] * vv[2, c]
                uu[1, c] = jac[1, 1] * vv[1, c] + jac[1, 2] * vv[2, c]
            cov_xx = uu[0, 0] ** 2 + uu[0, 1] ** 2 + uu[0, 2] ** 2
            cov_xy = uu[0, 0] * uu[1, 0] + uu[0, 1] * uu[1, 1] + uu[0, 2] * uu[1, 2]
            cov_yy = uu[1, 0] ** 2 + uu[1, 1] ** 2 + uu[1, 2] ** 2
            n0 = uu[0, 1] * uu[1, 2] - uu[0, 2] * uu[1, 1]
            n1 = uu[0, 2] * uu[1, 0] - uu[0, 0] * uu[1, 2]
            n2 = uu[0, 0] * uu[1, 1] - uu[0, 1] * uu[1, 0]
            det_sharp = n0 * n0 + n1 * n1 + n2 * n2
            det = det_sharp + eps2d * (cov_xx + cov_yy) + eps2d * eps2d
            con_a, con_b, con_c = (cov_yy + eps2d) / det, -cov_xy / det, (cov_xx + eps2d) / det

            # d loss / d covariance = -Q G Q, with Q the conic and G its gradient as a symmetric matrix.
            ga, gb, gc = np.float64(grad_conics[i, 0]), 0.5 * grad_conics[i, 1], np.float64(grad_conics[i, 2])
            t00, t01 = ga * con_a + gb * con_b, ga * con_b + gb * con_c
            t10, t11 = gb * con_a + gc * con_b, gb * con_b + gc * con_c
            h_xx = -(con_a * t00 + con_b * t10)
            h_xy = -(con_a * t01 + con_b * t11)
            h_yy = -(con_b * t01 + con_c * t11)
            compensation = math.sqrt(det_sharp / det)
            if compensation > min_compensation:
                half = 0.5 * compensation * grad_compensations[i]
                h_xx += half * (cov_yy / det_sharp - con_a)
                h_xy += half * (-cov_xy / det_sharp - con_b)
                h_yy += half * (cov_xx / det_sharp - con_c)
            for c in range(3):
                du[0, c] = 2.0 * (h_xx * uu[0, c] + h_xy * uu[1, c])
                du[1, c] = 2.0 * (h_xy * uu[0, c] + h_yy * uu[1, c])

            d_jx = du[0, 0] * vv[0, 0] + du[0, 1] * vv[0, 1] + du[0, 2] * vv[0, 2]
            d_jxz = du[0, 0] * vv[2, 0] + du[0, 1] * vv[2, 1] + du[0, 2] * vv[2, 2]
            d_jy = du[1, 0] * vv[1, 0] + du[1, 1] * vv[1, 1] + du[1, 2] * vv[1, 2]
            d_jyz = du[1, 0] * vv[2, 0] + du[1, 1] * vv[2, 1] + du[1, 2] * vv[2, 2]
            g_u, g_v = np.float64(grad_means2d[i, 0]), np.float64(grad_means2d[i, 1])
            # Entries of the Jacobian: f / z, and -f slope / z with slope = p / z (or a constant where clamped).
            dx = g_u * fx / z
            dy = g_v * fy / z
            dz = grad_depths[i] - (g_u * fx * x + g_v * fy * y) / (z * z)
            dz -= (d_jx * fx + d_jy * fy) / (z * z)
            dz += (d_jxz * fx * slope_x + d_jyz * fy * slope_y) / (z * z)
            if free_x:
                dx -= d_jxz * fx / (z * z)
                dz += d_jxz * fx * slope_x / (z * z)
            if free_y:
                dy -= d_jyz * fy / (z * z)
                dz += d_jyz * fy * slope_y / (z * z)

            for c in range(3):
                dv[0, c] = jac[0, 0] * du[0, c]
                dv[1, c] = jac[1, 1] * du[1, c]
                dv[2, c] = jac[0, 2] * du[0, c] + jac[1, 2] * du[1, c]
            for c in range(3):
                along = 0.0
                for r in range(3):
                    entry = viewmat[0, r] * dv[0, c] + viewmat[1, r] * dv[1, c] + viewmat[2, r] * dv[2, c]
                    along += rows[r, c] * entry
                    dm[r, c] = entry * scales[i, c]
                grad_scales[i, c] += along
            for r in range(3):
                grad_means[i, r] += viewmat[0, r] * dx + viewmat[1, r] * dy + viewmat[2, r] * dz

            dqw = 2.0 * (qz * (dm[1, 0] - dm[0, 1]) + qy * (dm[0, 2] - dm[2, 0]) + qx * (dm[2, 1] - dm[1, 2]))
            dqx = 2.0 * (
                qy * (dm[0, 1] + dm[1, 0])
                + qz * (dm[0, 2] + dm[2, 0])
                + qw * (dm[2, 1] - dm[1, 2])
                - 2.0 * qx * (dm[1, 1] + dm[2, 2])
            )
            dqy = 2.0 * (
                qx * (dm[0, 1] + dm[1, 0])
                + qz * (dm[1, 2] + dm[2, 1])
                + qw * (dm[0, 2] - dm[2, 0])
                - 2.0 * qy * (dm[0, 0] + dm[2, 2])
            )
            dqz = 2.0 * (
                qx * (dm[0, 2] + dm[2, 0])
                + qy * (dm[1, 2] + dm[2, 1])
                + qw * (dm[1, 0] - dm[0, 1])
                - 2.0 * qz * (dm[0, 0] + dm[1, 1])
            )
            radial = dqw * qw + dqx * qx + dqy * qy + dqz * qz
            grad_quats[i, 0] += (dqw - radial * qw) / norm
            grad_quats[i, 1] += (dqx - radial * qx) / norm
            grad_quats[i, 2] += (dqy - radial * qy) / norm
            grad_quats[i, 3] += (dqz - radial * qz) / norm

            # World-to-camera matrix: through the camera-space centre and through V = W (rotation x scale).
            gw[0, 0] += dx * mx
            gw[0, 1] += dx * my
            gw[0, 2] += dx * mz
            gw[1, 0] += dy * mx
            gw[1, 1] += dy * my
            gw[1, 2] += dy * mz
            gw[2, 0] += dz * mx
            gw[2, 1] += dz * my
            gw[2, 2] += dz * mz
            gw[0, 3] += dx
            gw[1, 3] += dy
            gw[2, 3] += dz
            for c in range(3):
                for r in range(3):
                    spread = rows[r, c] * scales[i, c]
                    gw[0, r] += dv[0, c] * spread
                    gw[1, r] += dv[1, c] * spread
                    gw[2, r] += dv[2, c] * spread
        for r in range(3):
            for c in range(4):
                grad_viewmats[block, r, c] = gw[r, c]
