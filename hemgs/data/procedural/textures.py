"""Colours of procedural surfaces: noise, tiles, bricks, wood, marble, stripes, dots, leaves.

Owns the numba kernels that compute the albedo of a point in a solid's local coordinates. Does not own light
(``raymarch``). The noise comes from integer hashing and plain arithmetic only, so colours do not depend on a
mathematical library.

A material is one row of ``[M, MATERIAL_FIELDS] float64``: the texture, three linear RGB colours, features per unit
length, and what ``raymarch`` adds.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

PLAIN, TILES, BRICKS, WOOD, MARBLE, CHECKER, STRIPES, LEAVES, DOTS, WATER = range(10)
TEXTURE, FIRST, SECOND, THIRD, FREQUENCY = 0, 1, 4, 7, 10

# These constants mix the bits of lattice coordinates. They are the first words of the fractional parts of √2, √3, √5
# and √7, made odd.
_MIX = (np.uint32(0x6A09E667), np.uint32(0xBB67AE85), np.uint32(0x3C6EF373), np.uint32(0xA54FF53B))


@njit
def lattice(i, j, k):  # type: ignore[no-untyped-def]
    """Return a number in [0, 1) that depends only on three integers."""
    h = np.uint32(np.uint32(i) * _MIX[0] + np.uint32(j) * _MIX[1] + np.uint32(k) * _MIX[2])
    h = np.uint32((h ^ (h >> np.uint32(15))) * _MIX[3])
    h = np.uint32((h ^ (h >> np.uint32(13))) * _MIX[1])
    h = h ^ (h >> np.uint32(16))
    return h / 4294967296.0


@njit
def noise(x, y, z):  # type: ignore[no-untyped-def]
    """Return smooth noise in [0, 1] with features of unit size."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    u, v, w = x - i, y - j, z - k
    u, v, w = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v), w * w * (3.0 - 2.0 * w)
    total = 0.0
    for corner in range(8):
        a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
        weight = (u if a else 1.0 - u) * (v if b else 1.0 - v) * (w if c else 1.0 - w)
        total += weight * lattice(i + a, j + b, k + c)
    return total


@njit
def _layers(x, y, z):  # type: ignore[no-untyped-def]
    """Return noise at three scales, stretched to fill [0, 1]."""
    value = (
        0.55 * noise(x, y, z)
        + 0.3 * noise(2.03 * x + 7.1, 2.03 * y + 3.3, 2.03 * z + 9.7)
        + 0.15 * noise(4.1 * x + 1.7, 4.1 * y + 8.9, 4.1 * z + 2.3)
    )
    return min(max(2.0 * value - 0.5, 0.0), 1.0)


@njit
def _edge(value, width):  # type: ignore[no-untyped-def]
    """Return 0 at a cell's border and 1 beyond ``width`` from it; ``value`` in [0, 1) is the place in the cell."""
    t = min(min(value, 1.0 - value) / width, 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit
def _face(x, y, z, nx, ny, nz):  # type: ignore[no-untyped-def]
    """Return coordinates on the face that a normal points out of: the plane across its largest component."""
    if abs(nz) >= abs(nx) and abs(nz) >= abs(ny):
        return x, y
    if abs(nx) >= abs(ny):
        return y, z
    return x, z


@njit
def _blend(texture, f, x, y, z, nx, ny, nz):  # type: ignore[no-untyped-def]
    """Return the share of the second colour over the first, and of the third over both, each 0 to 1."""
    grain = _layers(2.0 * f * x, 2.0 * f * y, 2.0 * f * z)
    if texture in (TILES, BRICKS):
        u, v = _face(x, y, z, nx, ny, nz)
        u, v = u * f, v * f * (2.2 if texture == BRICKS else 1.0)
        row = math.floor(v)
        if texture == BRICKS and row % 2 != 0:
            u += 0.5
        column = math.floor(u)
        body = _edge(u - column, 0.07) * _edge(v - row, 0.15 if texture == BRICKS else 0.07)
        return 0.6 * lattice(column, row, 5) + 0.4 * grain, 1.0 - body
    if texture == WOOD:
        return _layers(0.7 * f * x, 5.0 * f * y, 5.0 * f * z), 0.5 * noise(0.5 * f * x, 11.0 * f * y, 11.0 * f * z) ** 2
    if texture == MARBLE:
        t = f * (x + 0.6 * y + 0.8 * z) + 2.2 * _layers(f * x, f * y, f * z)
        wave = abs(2.0 * (t - math.floor(t)) - 1.0)
        return grain, 0.8 * max(1.0 - 5.0 * wave, 0.0)
    if texture == CHECKER:
        u, v = _face(x, y, z, nx, ny, nz)
        return 1.0 * ((math.floor(u * f) + math.floor(v * f)) & 1), 0.25 * grain
    if texture == STRIPES:
        t = z * f - math.floor(z * f)
        return min(max(8.0 * (abs(2.0 * t - 1.0) - 0.5) + 0.5, 0.0), 1.0), 0.25 * grain
    if texture == LEAVES:
        rough = noise(3.1 * f * x, 3.1 * f * y, 3.1 * f * z)
        return grain, max(2.2 * rough - 1.3, 0.0)
    if texture == DOTS:
        u, v = _face(x, y, z, nx, ny, nz)
        u, v = u * f - math.floor(u * f) - 0.5, v * f - math.floor(v * f) - 0.5
        return 0.6 * grain, min(max(8.0 * (0.34 - math.sqrt(u * u + v * v)), 0.0), 1.0)
    if texture == WATER:
        ripple = abs(2.0 * noise(f * x + 2.0 * grain, f * y, 0.5) - 1.0)
        return ripple, max(0.45 - 3.0 * ripple, 0.0)
    return grain, 0.0


@njit
def albedo(material, x, y, z, nx, ny, nz):  # type: ignore[no-untyped-def]
    """Return the linear RGB of a point; point and normal are in local coordinates."""
    over, above = _blend(int(material[TEXTURE]), material[FREQUENCY], x, y, z, nx, ny, nz)
    over, above = min(max(over, 0.0), 1.0), min(max(above, 0.0), 1.0)
    red = material[1] + over * (material[4] - material[1])
    green = material[2] + over * (material[5] - material[2])
    blue = material[3] + over * (material[6] - material[3])
    return (
        red + above * (material[7] - red),
        green + above * (material[8] - green),
        blue + above * (material[9] - blue),
    )
