"""Compiled blending of projected Gaussians into pixels, forward and backward, one tile at a time.

Owns the arithmetic per pixel: alpha, transmittance, stop criterion and their derivative. Does not own projection,
sorting or autograd; ``hemgs.render.cpu`` calls it.

The outer loop visits Gaussians, the inner one visits pixels of the contiguous tile rows that the Gaussian reaches. A
pixel is *alive* until it stops; the sign of its transmittance is positive while it is alive. The inner loops therefore
have no branches and become SIMD code. The backward pass repeats the forward arithmetic front to back with one scalar
per pixel: the product of the output gradient with all that is still to come. Gradients are written per intersection and
added per Gaussian in a fixed order, which makes them independent of the number of threads.

Everything that decides a result is an argument or in this file, because the disk cache of compiled code checks only the
time stamp of this file.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from hemgs.core.jit import OPTIONS

#: Sums over pixels may be taken in any order, which lets them use SIMD. The compiler fixes the order.
_FAST: dict[str, Any] = {**OPTIONS, "fastmath": {"reassoc", "contract", "nsz"}}

#: Columns of the records, and of the per-intersection gradients, before the colours.
NUM_SHAPE_FIELDS = 7
NUM_SHAPE_GRADS = 8

#: The blending handles so many channels at once. Fewer channels are padded; more channels take loops of their own.
FUSED_CHANNELS = 3

#: Distance between the planes of a worker's buffer. It has room for the largest tile, and is no multiple of 4096 bytes,
#: which would make planes compete for the same cache lines. It is a constant, so that the compiler sees that planes do
#: not overlap.
MAX_TILE_SIZE = 32
PLANE = MAX_TILE_SIZE**2 + 16

# Planes, as unsigned offsets: numba guards signed indices against being negative, which prevents SIMD. The planes of
# both passes come first, then the forward's (colours so far), then the backward's.
_X, _Y, _TRANS, _WEIGHT = np.uint64(0), np.uint64(PLANE), np.uint64(2 * PLANE), np.uint64(3 * PLANE)
_COLOR, _COLOR1, _COLOR2 = np.uint64(4 * PLANE), np.uint64(5 * PLANE), np.uint64(6 * PLANE)
_REST, _EXTRA = np.uint64(4 * PLANE), np.uint64(5 * PLANE)
_GRAD, _GRAD1, _GRAD2 = np.uint64(6 * PLANE), np.uint64(7 * PLANE), np.uint64(8 * PLANE)
_FIRST_COLOR, _FIRST_GRAD = 4, 6


#: Records that are fetched from memory at once.
BATCH = 64


class TileGrid(NamedTuple):
    """Image and tiles in pixels, tiles across, and the numbers of tiles and of workers."""

    width: int
    height: int
    tile_size: int
    tile_width: int
    num_workers: int
    check_every: int  #: number of Gaussians after which the kernel checks whether all pixels of the tile are dead


class BlendLimits(NamedTuple):
    """Largest alpha, and the transmittance at which a pixel stops, in the type of the arrays."""

    max_alpha: Any
    min_transmittance: Any


def exponential(x: float) -> float:
    """Return ``exp(x)`` for ``-80 <= x <= 0``, in float32 kernels within 2.5e-7 relative; any value elsewhere."""
    return math.exp(x)


# Only contraction is allowed: reassociation would undo the two-part logarithm.
@overload(exponential, jit_options={"fastmath": {"contract"}, "error_model": "numpy"})
def _exponential(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: math.exp(x)

    def single(x):  # type: ignore[no-untyped-def]
        # x = n ln 2 + r with |r| <= ln 2 / 2. The first of the two parts of ln 2 is so short that n times it is exact.
        n = np.int32(x * np.float32(1.4426950408889634) - np.float32(0.5))
        r = x - np.float32(n) * np.float32(0.693359375) + np.float32(n) * np.float32(2.121944400546905e-4)
        p = r * np.float32(1 / 720) + np.float32(1 / 120)  # Taylor, to the sixth power
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(0.5)
        p = p * r + np.float32(1.0)
        p = p * r + np.float32(1.0)
        return p * np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)

    return single


@njit(**OPTIONS)
def _shape(records, i, corner_x, corner_y):  # type: ignore[no-untyped-def]
    """Return the record's fields up to the third colour; the position is relative to the tile's first pixel centre."""
    return (
        records[i, 0] - corner_x,
        records[i, 1] - corner_y,
        records[i, 2],
        records[i, 3],
        records[i, 4],
        records[i, 5],
        records[i, 6],
        records[i, 7],
        records[i, 8],
        records[i, 9],
    )


@njit(**_FAST)
def _blend(state, begin, end, corner_x, corner_y, records, i, limits):  # type: ignore[no-untyped-def]
    """Blend Gaussian ``i`` into the pixels ``begin`` to ``end`` of a tile."""
    one, half, zero = state.dtype.type(1.0), state.dtype.type(0.5), state.dtype.type(0.0)
    x, y, con_a, con_b, con_c, opacity, exponent_min, c0, c1, c2 = _shape(records, i, corner_x, corner_y)
    neg_a, neg_b, neg_c = -half * con_a, -con_b, -half * con_c
    max_alpha, min_transmittance = limits.max_alpha, limits.min_transmittance
    for j in range(np.uint64(begin), np.uint64(end)):
        dx = x - state[j + _X]
        dy = y - state[j + _Y]
        exponent = neg_a * dx * dx + neg_c * dy * dy + neg_b * dx * dy
        alpha = min(max_alpha, opacity * exponential(exponent))
        alpha = alpha if (exponent >= exponent_min and exponent <= zero) else zero
        before = state[j + _TRANS]
        after = before * (one - alpha)
        alive = after > min_transmittance
        weight = alpha * before if alive else zero
        state[j + _TRANS] = after if alive else -abs(before)
        state[j + _WEIGHT] = weight
        state[j + _COLOR] += weight * c0
        state[j + _COLOR1] += weight * c1
        state[j + _COLOR2] += weight * c2


@njit(**_FAST)
def _blend_back(state, begin, end, corner_x, corner_y, records, i, limits, grads, entry):  # type: ignore[no-untyped-def]
    """Repeat ``_blend`` and write the sums over the pixels into ``grads[entry, :11]``; see ``raster_backward``."""
    one, half, zero = state.dtype.type(1.0), state.dtype.type(0.5), state.dtype.type(0.0)
    x, y, con_a, con_b, con_c, opacity, exponent_min, c0, c1, c2 = _shape(records, i, corner_x, corner_y)
    neg_a, neg_b, neg_c = -half * con_a, -con_b, -half * con_c
    max_alpha, min_transmittance = limits.max_alpha, limits.min_transmittance
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
        alive = after > min_transmittance
        weight = alpha * before if alive else zero
        state[j + _TRANS] = after if alive else -abs(before)
        state[j + _WEIGHT] = weight
        v0, v1, v2 = state[j + _GRAD], state[j + _GRAD1], state[j + _GRAD2]
        along = state[j + _EXTRA] + v0 * c0 + v1 * c1 + v2 * c2
        rest = state[j + _REST] - weight * along
        state[j + _REST] = rest
        g = -alpha * (before * along - rest / keep)
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
    grads[entry, 0], grads[entry, 1], grads[entry, 2], grads[entry, 3] = s_x, s_y, s_ax, s_ay
    grads[entry, 4], grads[entry, 5], grads[entry, 6] = half * s_a, s_b, half * s_c
    grads[entry, 7], grads[entry, 8], grads[entry, 9], grads[entry, 10] = -s_o / opacity, s_0, s_1, s_2


@njit(**_FAST)
def _any_alive(state, end):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for j in range(np.uint64(0), np.uint64(end)):
        count += np.int32(state[j + _TRANS] > 0)
    return count > 0


@njit(**_FAST)
def _add_scaled(state, begin, end, to, plane, value):  # type: ignore[no-untyped-def]
    """Add ``value`` times plane ``plane`` to plane ``to``."""
    target, source = state[to * PLANE : (to + 1) * PLANE], state[plane * PLANE : (plane + 1) * PLANE]
    for j in range(np.uint64(begin), np.uint64(end)):
        target[j] += source[j] * value


@njit(**_FAST)
def _weighted_sum(state, begin, end, plane):  # type: ignore[no-untyped-def]
    """Return the sum of the weights times a plane."""
    source = state[plane * PLANE : (plane + 1) * PLANE]
    total = state.dtype.type(0.0)
    for j in range(np.uint64(begin), np.uint64(end)):
        total += state[j + _WEIGHT] * source[j]
    return total


@njit(**OPTIONS)
def _new_state(planes, tile_size, like):  # type: ignore[no-untyped-def]
    """Return a buffer for one worker, with the positions of the pixels in a tile filled in."""
    state = np.zeros(planes * PLANE, like.dtype)
    for p in range(tile_size * tile_size):
        state[p] = p % tile_size
        state[PLANE + p] = p // tile_size
    return state


@njit(**OPTIONS)
def _start_tile(state, planes, tile, grid):  # type: ignore[no-untyped-def]
    """Clear all planes but the positions; pixels inside the image are alive, the others dead.

    Return the tile's left and top pixel, and the number of its columns and lines that are in the image.
    """
    size = grid.tile_size
    left, top = tile % grid.tile_width * size, tile // grid.tile_width * size
    columns, lines = min(size, grid.width - left), min(size, grid.height - top)
    for plane in range(2, planes):
        state[plane * PLANE : plane * PLANE + size * size] = 0
    for line in range(size):
        for column in range(size):
            inside = line < lines and column < columns
            state[2 * PLANE + line * size + column] = 1 if inside else -1
    return left, top, columns, lines


@njit(**OPTIONS)
def _fetch(first, last, owners, records, batch):  # type: ignore[no-untyped-def]
    """Copy the records of the next list entries into ``batch``, where waits for memory overlap each other."""
    for k in range(first, min(first + BATCH, last)):
        for field in range(records.shape[1]):
            batch[k - first, field] = records[owners[k], field]


@njit(**OPTIONS)
def _draw_tile(state, first, last, owners, rows, records, left, top, channels, grid, limits):  # type: ignore[no-untyped-def]
    """Blend the list entries ``first`` to ``last`` until all pixels are dead."""
    half = records.dtype.type(0.5)
    corner_x, corner_y = records.dtype.type(left) + half, records.dtype.type(top) + half
    batch = np.empty((BATCH, records.shape[1]), records.dtype)
    for k in range(first, last):
        i = (k - first) % BATCH
        if i == 0:
            _fetch(k, last, owners, records, batch)
        begin, end = rows[k, 0] * grid.tile_size, rows[k, 1] * grid.tile_size
        _blend(state, begin, end, corner_x, corner_y, batch, i, limits)
        for channel in range(FUSED_CHANNELS, channels):
            _add_scaled(state, begin, end, _FIRST_COLOR + channel, 3, batch[i, NUM_SHAPE_FIELDS + channel])
        if (k - first) % grid.check_every == grid.check_every - 1 and not _any_alive(state, grid.tile_size**2):
            break


@njit(parallel=True, **OPTIONS)
def raster_forward(  # type: ignore[no-untyped-def]
    offsets, owners, rows, schedule, records, background, grid, limits, image, transmittance
):  # fmt: skip
    """Draw one image.

    Args:
        offsets, owners, rows: see ``binning.TileLists``.
        schedule: order in which workers get the tiles; it changes only the time.
        records: ``[N, 7 + D]`` of ``record_kernels.pack_records``, D at least 3.
        background: ``[D]``.
        grid, limits: ``TileGrid`` and ``BlendLimits``.
        image, transmittance: outputs ``[H, W, D]`` and ``[H, W]``.
    """
    channels = len(background)
    planes = _FIRST_COLOR + channels
    for worker in prange(grid.num_workers):
        state = _new_state(planes, grid.tile_size, records)
        for turn in range(worker, len(schedule), grid.num_workers):
            tile = schedule[turn]
            left, top, columns, lines = _start_tile(state, planes, tile, grid)
            first, last = offsets[tile], offsets[tile + 1]
            _draw_tile(state, first, last, owners, rows, records, left, top, channels, grid, limits)
            for line in range(lines):
                for column in range(columns):
                    p = line * grid.tile_size + column
                    t = abs(state[2 * PLANE + p])
                    transmittance[top + line, left + column] = t
                    for channel in range(channels):
                        color = state[(_FIRST_COLOR + channel) * PLANE + p]
                        image[top + line, left + column, channel] = color + t * background[channel]


@njit(**OPTIONS)
def _load_gradients(state, left, top, columns, lines, grid, image, transmittance, grad_image, grad_alpha):  # type: ignore[no-untyped-def]
    """Put a tile's output gradients into their planes, and their product with the output into ``_REST``."""
    for line in range(lines):
        for column in range(columns):
            p = line * grid.tile_size + column
            y, x = top + line, left + column
            total = -grad_alpha[y, x] * transmittance[y, x]
            for channel in range(image.shape[2]):
                g = grad_image[y, x, channel]
                state[(_FIRST_GRAD + channel) * PLANE + p] = g
                total += g * image[y, x, channel]
            state[4 * PLANE + p] = total


@njit(**OPTIONS)
def _draw_tile_back(  # type: ignore[no-untyped-def]
    state, first, last, owners, rows, entries, records, left, top, channels, grid, limits, grads
):  # fmt: skip
    """Compute the gradients of ``_draw_tile``."""
    half = records.dtype.type(0.5)
    corner_x, corner_y = records.dtype.type(left) + half, records.dtype.type(top) + half
    batch = np.empty((BATCH, records.shape[1]), records.dtype)
    for k in range(first, last):
        i, entry = (k - first) % BATCH, entries[k]
        if i == 0:
            _fetch(k, last, owners, records, batch)
        begin, end = rows[k, 0] * grid.tile_size, rows[k, 1] * grid.tile_size
        if channels > FUSED_CHANNELS:
            state[5 * PLANE + begin : 5 * PLANE + end] = 0
            for channel in range(FUSED_CHANNELS, channels):
                _add_scaled(state, begin, end, 5, _FIRST_GRAD + channel, batch[i, NUM_SHAPE_FIELDS + channel])
        _blend_back(state, begin, end, corner_x, corner_y, batch, i, limits, grads, entry)
        for channel in range(FUSED_CHANNELS, channels):
            grads[entry, NUM_SHAPE_GRADS + channel] = _weighted_sum(state, begin, end, _FIRST_GRAD + channel)
        if (k - first) % grid.check_every == grid.check_every - 1 and not _any_alive(state, grid.tile_size**2):
            break


@njit(parallel=True, **OPTIONS)
def raster_backward(  # type: ignore[no-untyped-def]
    offsets, owners, rows, schedule, entries, records, grid, limits, image, transmittance, grad_image, grad_alpha, grads
):  # fmt: skip
    """Fill ``grads [M, 8 + D]``, which is zero at first, with one row per intersection.

    The first columns are the gradient of the 2D mean (x, y), then the same as sums of absolute values per pixel. The
    gradients of conic (3), opacity and colour (D) follow. ``image``, with its background, and ``transmittance`` are the
    forward's outputs. ``grad_image`` and ``grad_alpha`` are gradients of the loss.
    """
    channels = image.shape[2]
    planes = _FIRST_GRAD + channels
    for worker in prange(grid.num_workers):
        state = _new_state(planes, grid.tile_size, records)
        for turn in range(worker, len(schedule), grid.num_workers):
            tile = schedule[turn]
            left, top, columns, lines = _start_tile(state, planes, tile, grid)
            _load_gradients(state, left, top, columns, lines, grid, image, transmittance, grad_image, grad_alpha)
            first, last = offsets[tile], offsets[tile + 1]
            _draw_tile_back(
                state, first, last, owners, rows, entries, records, left, top, channels, grid, limits, grads
            )  # fmt: skip
