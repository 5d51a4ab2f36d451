"""Compiled blending of projected Gaussians into pixels, forward and backward, one tile at a time.

Owns the arithmetic per pixel: alpha, transmittance, stop criterion and their derivative. Does not project, sort or
know of autograd; ``hemgs.render.cpu`` calls it.

Layout: Gaussians in the outer loop, pixels in the inner one, over the contiguous block of tile rows that the Gaussian
reaches. The sign of a pixel's transmittance tells whether it is alive, so the inner loops are free of branches and
become SIMD code. The backward pass replays the forward arithmetic front to back with one scalar per pixel: the
product of the output gradient with all that is still to come. Gradients are written per intersection and added
per Gaussian in a fixed order, which makes them independent of the number of threads.

Everything that decides a result is an argument: the on-disk cache of compiled code looks at this file's time stamp only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from hemgs.render.jit import CACHE

_OPTIONS: dict[str, Any] = {"cache": CACHE, "error_model": "numpy", "nogil": True}
#: Sums over pixels may be taken in any order (fixed when compiled), which is what lets them use SIMD.
_FAST: dict[str, Any] = {**_OPTIONS, "fastmath": {"reassoc", "contract", "nsz"}}

#: Columns of the records, and of the per-intersection gradients, before the colours.
NUM_SHAPE_FIELDS = 7
NUM_SHAPE_GRADS = 8

#: Distance between the planes of a worker's buffer: room for the largest tile, and not a multiple of 4096 bytes, which
#: would make planes compete for the same cache lines. A constant, so that the compiler sees that planes do not overlap.
MAX_TILE_SIZE = 32
PLANE = MAX_TILE_SIZE**2 + 16

# Planes, as unsigned offsets (numba guards signed indices against being negative, which prevents SIMD). First both
# passes', then the forward's, then the backward's.
_X, _Y, _TRANS, _WEIGHT = np.uint64(0), np.uint64(PLANE), np.uint64(2 * PLANE), np.uint64(3 * PLANE)
_COLOR, _COLOR1, _COLOR2 = np.uint64(4 * PLANE), np.uint64(5 * PLANE), np.uint64(6 * PLANE)
_REST, _EXTRA = np.uint64(4 * PLANE), np.uint64(5 * PLANE)
_GRAD, _GRAD1, _GRAD2 = np.uint64(6 * PLANE), np.uint64(7 * PLANE), np.uint64(8 * PLANE)


def exponential(x: float) -> float:
    """``exp(x)`` for ``-80 <= x <= 0``, within 2e-7 relative in float32 kernels; any value elsewhere."""
    return math.exp(x)


# Contraction only: reassociation would undo the two-part logarithm.
@overload(exponential, jit_options={"fastmath": {"contract"}, "error_model": "numpy"})
def _exponential(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: math.exp(x)

    def single(x):  # type: ignore[no-untyped-def]
        # x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first short enough for n times it to be exact.
        n = np.int32(x * np.float32(1.4426950408889634) - np.float32(0.5))
        r = x - np.float32(n) * np.float32(0.693359375) + np.float32(n) * np.float32(2.121944400546905e-4)
        p = r * np.float32(1 / 720) + np.float32(1 / 120)  # Taylor, six terms
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(0.5)
        p = p * r + np.float32(1.0)
        p = p * r + np.float32(1.0)
        return p * np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)

    return single


@njit(**_FAST)
def _blend(state, begin, end, x, y, con_a, con_b, con_c, opacity, exponent_min, c0, c1, c2, limits):  # type: ignore[no-untyped-def]
    """One Gaussian over the pixels ``begin`` to ``end`` of a tile; planes of ``state``: see ``raster_forward``."""
    one, half, zero = state.dtype.type(1.0), state.dtype.type(0.5), state.dtype.type(0.0)
    max_alpha, min_trans = limits
    con_a, con_b, con_c = -half * con_a, -con_b, -half * con_c
    for j in range(np.uint64(begin), np.uint64(end)):
        dx = x - state[j + _X]
        dy = y - state[j + _Y]
        exponent = con_a * dx * dx + con_c * dy * dy + con_b * dx * dy
        alpha = min(max_alpha, opacity * exponential(exponent))
        alpha = alpha if (exponent >= exponent_min and exponent <= zero) else zero
        before = state[j + _TRANS]
        after = before * (one - alpha)
        alive = after > min_trans
        weight = alpha * before if alive else zero
        state[j + _TRANS] = after if alive else -abs(before)
        state[j + _WEIGHT] = weight
        state[j + _COLOR] += weight * c0
        state[j + _COLOR1] += weight * c1
        state[j + _COLOR2] += weight * c2


@njit(**_FAST)
def _any_alive(state, begin, end):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for j in range(np.uint64(begin), np.uint64(end)):
        count += np.int32(state[j + _TRANS] > 0)
    return count > 0


@njit(**_OPTIONS)
def _new_state(planes, tile_size, like):  # type: ignore[no-untyped-def]
    """Buffer of one worker, with the positions of the pixels in a tile filled in."""
    state = np.zeros(planes * PLANE, like.dtype)
    for p in range(tile_size * tile_size):
        state[_X + p] = p % tile_size
        state[_Y + p] = p // tile_size
    return state


@njit(**_OPTIONS)
def _start_tile(state, planes, tile, width, height, tile_size, tile_width):  # type: ignore[no-untyped-def]
    """Clears all planes but the positions; the pixels inside the image are alive, the others dead.

    Returns the tile's left and top pixel and how many columns and lines of it lie in the image.
    """
    left, top = tile % tile_width * tile_size, tile // tile_width * tile_size
    columns, lines = min(tile_size, width - left), min(tile_size, height - top)
    for plane in range(2, planes):
        state[plane * PLANE : plane * PLANE + tile_size * tile_size] = 0
    for line in range(tile_size):
        for column in range(tile_size):
            inside = line < lines and column < columns
            state[np.int64(_TRANS) + line * tile_size + column] = 1 if inside else -1
    return left, top, columns, lines


@njit(parallel=True, **_OPTIONS)
def pack_records(means2d, conics, opacities, colors, drawn, min_alpha, records):  # type: ignore[no-untyped-def]
    """Puts what blending reads of a Gaussian side by side: ``records [N, 7 + D]``: 2D mean, conic, opacity, the exponent
    at which alpha falls to ``min_alpha``, colour. Rows that are not ``drawn`` are left as they are.
    """
    for i in prange(records.shape[0]):
        if not drawn[i]:
            continue
        records[i, 0] = means2d[i, 0]
        records[i, 1] = means2d[i, 1]
        records[i, 2] = conics[i, 0]
        records[i, 3] = conics[i, 1]
        records[i, 4] = conics[i, 2]
        records[i, 5] = opacities[i]
        records[i, 6] = math.log(min_alpha / opacities[i])
        for channel in range(colors.shape[1]):
            records[i, NUM_SHAPE_FIELDS + channel] = colors[i, channel]


@njit(parallel=True, **_OPTIONS)
def raster_forward(  # type: ignore[no-untyped-def]
    offsets,
    owners,
    rows,
    schedule,
    num_workers,
    records,
    background,
    width,
    height,
    tile_size,
    tile_width,
    check_every,
    limits,
    image,
    transmittance,
):
    """Draws one image.

    Args:
        offsets, owners, rows: see ``binning.TileLists``.
        schedule: order in which tiles are handed to ``num_workers`` workers; decides nothing but time.
        records, background: ``[N, 7 + D]`` of ``pack_records`` and ``[D]``, D at least 3.
        check_every: after so many Gaussians look whether all pixels of the tile are dead.
        limits: ``[2]``: largest alpha, transmittance at which a pixel stops.
        image, transmittance: outputs ``[H, W, D]`` and ``[H, W]``.
    """
    channels = len(background)
    planes = 4 + channels
    for worker in prange(num_workers):
        state = _new_state(planes, tile_size, records)
        bounds = (limits[0], limits[1])
        half = records.dtype.type(0.5)
        for turn in range(worker, len(schedule), num_workers):
            tile = schedule[turn]
            left, top, columns, lines = _start_tile(state, planes, tile, width, height, tile_size, tile_width)
            corner_x, corner_y = records.dtype.type(left) + half, records.dtype.type(top) + half
            for k in range(offsets[tile], offsets[tile + 1]):
                r = records[owners[k]]
                begin, end = rows[k, 0] * tile_size, rows[k, 1] * tile_size
                _blend(
                    state, begin, end, r[0] - corner_x, r[1] - corner_y, r[2], r[3], r[4], r[5], r[6],
                    r[7], r[8], r[9], bounds,
                )  # fmt: skip
                for channel in range(3, channels):
                    _add_weighted(state, begin, end, 4 + channel, _WEIGHT, r[NUM_SHAPE_FIELDS + channel])
                if (k - offsets[tile]) % check_every == check_every - 1 and not _any_alive(state, 0, tile_size**2):
                    break
            for line in range(lines):
                for column in range(columns):
                    p = line * tile_size + column
                    t = abs(state[np.int64(_TRANS) + p])
                    transmittance[top + line, left + column] = t
                    for channel in range(channels):
                        image[top + line, left + column, channel] = state[(4 + channel) * PLANE + p] + t * background[channel]


@njit(**_FAST)
def _add_weighted(state, begin, end, to, weight, value):  # type: ignore[no-untyped-def]
    """Adds plane ``weight`` times ``value`` to plane ``to``."""
    target = state[to * PLANE : (to + 1) * PLANE]
    for j in range(np.uint64(begin), np.uint64(end)):
        target[j] += state[j + weight] * value


@njit(**_FAST)
def _inner(state, begin, end, plane):  # type: ignore[no-untyped-def]
    """Sum of the weights times a plane."""
    other = state[plane * PLANE : (plane + 1) * PLANE]
    total = state.dtype.type(0.0)
    for j in range(np.uint64(begin), np.uint64(end)):
        total += state[j + _WEIGHT] * other[j]
    return total


@njit(**_FAST)
def _blend_back(  # type: ignore[no-untyped-def]
    state, begin, end, x, y, con_a, con_b, con_c, opacity, exponent_min, c0, c1, c2, limits, out
):
    """Replays ``_blend`` and writes the sums over the pixels into ``out[:11]``; planes: see ``raster_backward``."""
    one, half, zero = state.dtype.type(1.0), state.dtype.type(0.5), state.dtype.type(0.0)
    max_alpha, min_trans = limits
    neg_a, neg_b, neg_c = -half * con_a, -con_b, -half * con_c
    s_x = s_y = s_ax = s_ay = s_a = s_b = s_c = s_o = s_0 = s_1 = s_2 = zero
    for j in range(np.uint64(begin), np.uint64(end)):
        dx = x - state[j + _X]
        dy = y - state[j + _Y]
        exponent = neg_a * dx * dx + neg_c * dy * dy + neg_b * dx * dy
        raw = opacity * exponential(exponent)
        alpha = min(max_alpha, raw)
        alpha = alpha if (exponent >= exponent_min and exponent <= zero) else zero
        before = state[j + _TRANS]
        keep = one - alpha
        after = before * keep
        alive = after > min_trans
        weight = alpha * before if alive else zero
        state[j + _TRANS] = after if alive else -abs(before)
        state[j + _WEIGHT] = weight
        v0, v1, v2 = state[j + _GRAD], state[j + _GRAD1], state[j + _GRAD2]
        along = state[j + _EXTRA] + v0 * c0 + v1 * c1 + v2 * c2
        left = state[j + _REST] - weight * along
        state[j + _REST] = left
        g = -alpha * (before * along - left / keep)
        g = g if (alive and raw <= max_alpha) else zero
        gdx, gdy = g * dx, g * dy
        to_x, to_y = con_a * gdx + con_b * gdy, con_b * gdx + con_c * gdy
        s_x += to_x
        s_y += to_y
        s_ax += abs(to_x)
        s_ay += abs(to_y)
        s_a += gdx * dx
        s_b += gdx * dy
        s_c += gdy * dy
        s_o += g
        s_0 += weight * v0
        s_1 += weight * v1
        s_2 += weight * v2
    out[0] = s_x
    out[1] = s_y
    out[2] = s_ax
    out[3] = s_ay
    out[4] = half * s_a
    out[5] = s_b
    out[6] = half * s_c
    out[7] = -s_o / opacity
    out[8] = s_0
    out[9] = s_1
    out[10] = s_2


@njit(parallel=True, **_OPTIONS)
def raster_backward(  # type: ignore[no-untyped-def]
    offsets,
    owners,
    rows,
    schedule,
    num_workers,
    entries,
    records,
    width,
    height,
    tile_size,
    tile_width,
    check_every,
    limits,
    image,
    transmittance,
    grad_image,
    grad_alpha,
    grads,
):
    """Fills ``grads [M, 8 + D]`` (zeros on entry): per intersection the gradients of the 2D mean (x, y, and the sums of
    their absolute values per pixel), conic, opacity and colour. ``image`` and ``transmittance`` are the forward's outputs.
    """
    channels = image.shape[2]
    planes = 6 + channels
    for worker in prange(num_workers):
        state = _new_state(planes, tile_size, records)
        bounds = (limits[0], limits[1])
        half = records.dtype.type(0.5)
        for turn in range(worker, len(schedule), num_workers):
            tile = schedule[turn]
            left, top, columns, lines = _start_tile(state, planes, tile, width, height, tile_size, tile_width)
            corner_x, corner_y = records.dtype.type(left) + half, records.dtype.type(top) + half
            for line in range(lines):
                for column in range(columns):
                    p = line * tile_size + column
                    total = -grad_alpha[top + line, left + column] * transmittance[top + line, left + column]
                    for channel in range(channels):
                        g = grad_image[top + line, left + column, channel]
                        state[(6 + channel) * PLANE + p] = g
                        total += g * image[top + line, left + column, channel]
                    state[np.int64(_REST) + p] = total
            for k in range(offsets[tile], offsets[tile + 1]):
                r = records[owners[k]]
                entry = entries[k]
                begin, end = rows[k, 0] * tile_size, rows[k, 1] * tile_size
                if channels > 3:
                    state[np.int64(_EXTRA) + begin : np.int64(_EXTRA) + end] = 0
                    for channel in range(3, channels):
                        _add_weighted(state, begin, end, 5, np.uint64((6 + channel) * PLANE), r[NUM_SHAPE_FIELDS + channel])
                _blend_back(
                    state, begin, end, r[0] - corner_x, r[1] - corner_y, r[2], r[3], r[4], r[5], r[6],
                    r[7], r[8], r[9], bounds, grads[entry],
                )  # fmt: skip
                for channel in range(3, channels):
                    grads[entry, NUM_SHAPE_GRADS + channel] = _inner(state, begin, end, 6 + channel)
                if (k - offsets[tile]) % check_every == check_every - 1 and not _any_alive(state, 0, tile_size**2):
                    break


@njit(parallel=True, **_OPTIONS)
def sum_per_gaussian(starts, grads, sums):  # type: ignore[no-untyped-def]
    """``sums [N, K]`` of the rows of ``grads [M, K]`` that belong to each Gaussian, added in float64 in their order."""
    for i in prange(sums.shape[0]):
        for column in range(sums.shape[1]):
            total = 0.0
            for entry in range(starts[i], starts[i + 1]):
                total += grads[entry, column]
            sums[i, column] = total
