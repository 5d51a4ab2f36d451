"""Rendering of signed distance functions: sphere tracing, soft shadows, occlusion, Phong highlights.

Owns the numba kernels. Does not own the contents of a scene (``layouts``), the look of surfaces (``textures``), or the
places of cameras (``capture``). The kernels are compiled in every process: the disk cache of numba would not notice a
change of the textures that they call.

A solid is one row of ``[P, SOLID_FIELDS] float64``:

* its shape,
* the centre in world coordinates,
* the rotation from world to local axes (row-major),
* four sizes,
* the radius of a sphere about the centre that encloses it,
* its material's row.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hemgs.data.procedural.textures import albedo, noise

SOLID_FIELDS = 19
SHAPE, CENTER, ROTATION, SIZES, BOUND, MATERIAL = 0, 1, 4, 13, 17, 18

# Shapes and their sizes. The local z axis is the axis of rotation.
SPHERE = 0  # radius.
BOX = 1  # half sides x, y, z, radius of the rounded edges.
CYLINDER = 2  # radius, half height, radius of the rounded edges.
CAPSULE = 3  # half length, radius.
TORUS = 4  # radius of the ring, radius of the tube.
CONE = 5  # radius below, radius above, half height.
FOLIAGE = 6  # radius, depth of the bumps, bumps per unit length.

# Columns of a material beyond its texture (``textures``): strength of the highlight, its sharpness as the
# power 2**n, and how much of the sky it mirrors.
SPECULAR, SHARPNESS, MIRROR = 11, 12, 13
MATERIAL_FIELDS = 14

_HIT_DISTANCE = 4e-4  # a surface is hit at this distance, world units
_MAX_STEPS = 160
_FOLIAGE_STEP = 0.55  # factor of steps, since bumps make the distance an overestimate
_SHADOW_SOFTNESS = 14.0  # distance over clearance at which the sun is half hidden: larger is sharper
_SHADOW_STEPS = 48
_OCCLUSION_REACH = 0.35  # world units along the normal
_SUPERSAMPLES = 2  # per pixel side
_SUN = np.array([1.0, 0.91, 0.76]) * 2.1
_SKY = np.array([0.40, 0.54, 0.78]) * 0.85
_BOUNCE = np.array([0.36, 0.30, 0.24]) * 0.8
_HIGHLIGHT = np.array([1.0, 0.97, 0.9])


@njit
def _distance(solid, x, y, z):  # type: ignore[no-untyped-def]
    """Return the signed distance of a world point to one solid (an underestimate for foliage)."""
    dx, dy, dz = x - solid[CENTER], y - solid[CENTER + 1], z - solid[CENTER + 2]
    px = solid[4] * dx + solid[5] * dy + solid[6] * dz
    py = solid[7] * dx + solid[8] * dy + solid[9] * dz
    pz = solid[10] * dx + solid[11] * dy + solid[12] * dz
    shape = int(solid[SHAPE])
    s0, s1, s2, s3 = solid[13], solid[14], solid[15], solid[16]
    if shape == SPHERE:
        return math.sqrt(px * px + py * py + pz * pz) - s0
    if shape == BOX:
        qx, qy, qz = abs(px) - s0 + s3, abs(py) - s1 + s3, abs(pz) - s2 + s3
        ox, oy, oz = max(qx, 0.0), max(qy, 0.0), max(qz, 0.0)
        return math.sqrt(ox * ox + oy * oy + oz * oz) + min(max(qx, max(qy, qz)), 0.0) - s3
    if shape == CYLINDER:
        qr, qz = math.sqrt(px * px + py * py) - s0 + s2, abs(pz) - s1 + s2
        outer_r, outer_z = max(qr, 0.0), max(qz, 0.0)
        return math.sqrt(outer_r * outer_r + outer_z * outer_z) + min(max(qr, qz), 0.0) - s2
    if shape == CAPSULE:
        along = pz - min(max(pz, -s0), s0)
        return math.sqrt(px * px + py * py + along * along) - s1
    if shape == TORUS:
        ring = math.sqrt(px * px + py * py) - s0
        return math.sqrt(ring * ring + pz * pz) - s1
    if shape == CONE:
        return _cone_distance(math.sqrt(px * px + py * py), pz, s0, s1, s2)
    radius = math.sqrt(px * px + py * py + pz * pz)
    if radius > s0 + 2.0 * s1:  # far away the bumps do not matter
        return radius - s0 - s1
    return (radius - s0 - s1 * (2.0 * noise(px * s2, py * s2, pz * s2) - 1.0)) * _FOLIAGE_STEP


@njit
def _cone_distance(r, z, below, above, half):  # type: ignore[no-untyped-def]
    """Return the distance in the (r, z) half plane to a trapezium of half widths ``below`` and ``above``."""
    cap_r = r - min(r, below if z < 0.0 else above)
    cap_z = abs(z) - half
    side_r, side_z = above - below, 2.0 * half
    at = ((r - below) * side_r + (z + half) * side_z) / (side_r * side_r + side_z * side_z)
    at = min(max(at, 0.0), 1.0)
    slope_r, slope_z = r - below - at * side_r, z + half - at * side_z
    inside = cap_z < 0.0 and (r - below) * side_z - (z + half) * side_r < 0.0
    squared = min(cap_r * cap_r + cap_z * cap_z, slope_r * slope_r + slope_z * slope_z)
    return -math.sqrt(squared) if inside else math.sqrt(squared)


@njit
def _candidates(solids, ox, oy, oz, dx, dy, dz, found):  # type: ignore[no-untyped-def]
    """Fill ``found`` with the solids whose bounding sphere a ray meets; return their count, and the ray's span."""
    count, near, far = 0, math.inf, 0.0
    for i in range(solids.shape[0]):
        cx, cy, cz = solids[i, 1] - ox, solids[i, 2] - oy, solids[i, 3] - oz
        along = cx * dx + cy * dy + cz * dz
        radius = solids[i, BOUND]
        room = radius * radius - (cx * cx + cy * cy + cz * cz - along * along)
        if room <= 0.0:
            continue
        half = math.sqrt(room)
        if along + half <= 0.0:
            continue
        found[count] = i
        count += 1
        near = min(near, along - half)
        far = max(far, along + half)
    return count, max(near, 0.0), far


@njit
def _trace(solids, ox, oy, oz, dx, dy, dz, found):  # type: ignore[no-untyped-def]
    """Return the distance of a ray's first hit and the solid's row, or (-1, -1)."""
    count, t, far = _candidates(solids, ox, oy, oz, dx, dy, dz, found)
    for _ in range(_MAX_STEPS):
        if count == 0 or t > far:
            return -1.0, -1
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        nearest, which = math.inf, -1
        for k in range(count):
            gap = _distance(solids[found[k]], x, y, z)
            if gap < nearest:
                nearest, which = gap, found[k]
        if nearest < _HIT_DISTANCE:
            return t, which
        t += nearest
    return -1.0, -1


@njit
def _sunlight(solids, x, y, z, sun, found):  # type: ignore[no-untyped-def]
    """Return the share of the sun that reaches a point, 0 to 1, with soft edges of shadows."""
    count, t, far = _candidates(solids, x, y, z, sun[0], sun[1], sun[2], found)
    t = max(t, 0.02)
    light = 1.0
    for _ in range(_SHADOW_STEPS):
        if count == 0 or t > far:
            break
        nearest = math.inf
        for k in range(count):
            nearest = min(nearest, _distance(solids[found[k]], x + t * sun[0], y + t * sun[1], z + t * sun[2]))
        if nearest < 0.5 * _HIT_DISTANCE:
            return 0.0
        light = min(light, _SHADOW_SOFTNESS * nearest / t)
        t += max(nearest, 0.01)
    return light * light * (3.0 - 2.0 * light)


@njit
def _openness(solids, x, y, z, nx, ny, nz, found):  # type: ignore[no-untyped-def]
    """Return how open the surroundings of a surface point are, 0 (crevice) to 1, by three probes along the normal."""
    count = 0
    for i in range(solids.shape[0]):
        dx, dy, dz = solids[i, 1] - x, solids[i, 2] - y, solids[i, 3] - z
        reach = solids[i, BOUND] + 2.0 * _OCCLUSION_REACH
        if dx * dx + dy * dy + dz * dz < reach * reach:
            found[count] = i
            count += 1
    closed = 0.0
    weight = 0.5
    for probe in range(1, 4):
        step = _OCCLUSION_REACH * probe / 3.0
        nearest = step
        for k in range(count):
            nearest = min(nearest, _distance(solids[found[k]], x + step * nx, y + step * ny, z + step * nz))
        closed += weight * (step - nearest) / step
        weight *= 0.6
    return max(1.0 - closed, 0.0)


@njit
def _normal(solid, x, y, z):  # type: ignore[no-untyped-def]
    """Return the outward unit normal, by differences at the corners of a tetrahedron."""
    e = 5e-4
    a = _distance(solid, x + e, y - e, z - e)
    b = _distance(solid, x - e, y - e, z + e)
    c = _distance(solid, x - e, y + e, z - e)
    d = _distance(solid, x + e, y + e, z + e)
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-30
    return nx / length, ny / length, nz / length


@njit
def _shade(solids, materials, which, x, y, z, dx, dy, dz, sun, found, color):  # type: ignore[no-untyped-def]
    """Write the display colour (in [0, 1]) of a surface point seen along (dx, dy, dz) into ``color``."""
    solid = solids[which]
    material = materials[int(solid[MATERIAL])]
    nx, ny, nz = _normal(solid, x, y, z)
    qx, qy, qz = x - solid[1], y - solid[2], z - solid[3]
    red, green, blue = albedo(
        material,
        solid[4] * qx + solid[5] * qy + solid[6] * qz,
        solid[7] * qx + solid[8] * qy + solid[9] * qz,
        solid[10] * qx + solid[11] * qy + solid[12] * qz,
        solid[4] * nx + solid[5] * ny + solid[6] * nz,
        solid[7] * nx + solid[8] * ny + solid[9] * nz,
        solid[10] * nx + solid[11] * ny + solid[12] * nz,
    )
    facing = max(nx * sun[0] + ny * sun[1] + nz * sun[2], 0.0)
    lift = 3e-3
    lit = 0.0
    if facing > 0.0:
        lit = _sunlight(solids, x + lift * nx, y + lift * ny, z + lift * nz, sun, found)
    open_ = _openness(solids, x, y, z, nx, ny, nz, found)
    up = 0.5 + 0.5 * nz
    into = dx * nx + dy * ny + dz * nz
    rx, ry, rz = dx - 2.0 * into * nx, dy - 2.0 * into * ny, dz - 2.0 * into * nz
    gleam = max(rx * sun[0] + ry * sun[1] + rz * sun[2], 0.0)
    for _ in range(int(material[SHARPNESS])):
        gleam *= gleam
    gleam *= material[SPECULAR] * lit
    grazing = 1.0 - min(abs(into), 1.0)
    fresnel = material[MIRROR] * (0.35 + 0.65 * grazing * grazing * grazing)
    toward_sky = min(max(2.0 * rz + 0.5, 0.0), 1.0)
    base = (red, green, blue)
    for c in range(3):
        ambient = (_SKY[c] * up + _BOUNCE[c] * (1.0 - up)) * open_
        mirrored = (_SKY[c] * 1.3 * toward_sky + _BOUNCE[c] * 0.5 * (1.0 - toward_sky)) * open_
        linear = base[c] * (_SUN[c] * facing * lit + ambient) * (1.0 - 0.5 * fresnel)
        linear += fresnel * mirrored + gleam * _HIGHLIGHT[c]
        color[c] = math.sqrt(min(linear / (1.0 + 0.28 * linear), 1.0))  # compress bright values smoothly, then gamma 2


@njit
def _render(solids, materials, sun, background, center, to_world, fx, fy, cx, cy, width, height):  # type: ignore[no-untyped-def]
    image = np.empty((height, width, 3))
    for row in range(height):
        found = np.empty(solids.shape[0], np.int64)
        color = np.empty(3)
        for column in range(width):
            total = np.zeros(3)
            for sample in range(_SUPERSAMPLES * _SUPERSAMPLES):
                u = (column + (sample % _SUPERSAMPLES + 0.5) / _SUPERSAMPLES - cx) / fx
                v = (row + (sample // _SUPERSAMPLES + 0.5) / _SUPERSAMPLES - cy) / fy
                dx = to_world[0, 0] * u + to_world[0, 1] * v + to_world[0, 2]
                dy = to_world[1, 0] * u + to_world[1, 1] * v + to_world[1, 2]
                dz = to_world[2, 0] * u + to_world[2, 1] * v + to_world[2, 2]
                scale = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
                dx, dy, dz = dx * scale, dy * scale, dz * scale
                t, which = _trace(solids, center[0], center[1], center[2], dx, dy, dz, found)
                if which < 0:
                    total += background
                    continue
                x, y, z = center[0] + t * dx, center[1] + t * dy, center[2] + t * dz
                _shade(solids, materials, which, x, y, z, dx, dy, dz, sun, found, color)
                total += color
            image[row, column] = total / (_SUPERSAMPLES * _SUPERSAMPLES)
    return image


@njit
def _hits(solids, center, directions):  # type: ignore[no-untyped-def]
    found = np.empty(solids.shape[0], np.int64)
    distances = np.empty(directions.shape[0])
    for i in range(directions.shape[0]):
        d = directions[i]
        distances[i] = _trace(solids, center[0], center[1], center[2], d[0], d[1], d[2], found)[0]
    return distances


def render_solids(
    solids: NDArray[np.float64],
    materials: NDArray[np.float64],
    sun: NDArray[np.float64],
    background: tuple[float, float, float],
    world_to_camera: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    width: int,
    height: int,
) -> NDArray[np.float64]:
    """Render one view, ``[H, W, 3] float64`` in [0, 1]; four samples per pixel are averaged in display space.

    Args:
        solids: ``[P, SOLID_FIELDS]``.
        materials: ``[M, MATERIAL_FIELDS]``.
        sun: unit vector ``[3]`` towards the sun.
        background: display colour of rays that hit nothing, in [0, 1].
        world_to_camera: ``[4, 4]``, OpenCV axes.
        intrinsics: ``[3, 3]``, pixel centres at half-integers.
    """
    to_world = np.ascontiguousarray(world_to_camera[:3, :3].T)
    center = -to_world @ world_to_camera[:3, 3]
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    image: NDArray[np.float64] = _render(
        solids, materials, sun, np.array(background), center, to_world, fx, fy, cx, cy, width, height
    )
    return image


def trace_rays(
    solids: NDArray[np.float64], center: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance ``[R]`` along unit ``directions [R, 3]`` from ``center [3]`` to a surface, -1 without one."""
    distances: NDArray[np.float64] = _hits(solids, center, directions)
    return distances
