"""Anchor clouds of procedural scenes with their surfaces: training data of the scene-agnostic networks.

A scene is a union of planes, boxes, spheres, tubes and terrain. Its points have uneven density, roughness and strays,
and are on lattices of 16, 4 and 1 voxels, as Scaffold-GS grows them. Nothing is taken from captures or trained scenes.

Owns the geometry. Used only where networks are made and tested, never by a codec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Growth levels in voxels, coarse first.
CELLS = (16, 4, 1)


@dataclass(frozen=True)
class Surface:
    """Points of a surface.

    Attributes:
        points: ``[n, 3]``.
        normals: ``[n, 3]`` unit vectors.
        curvatures: ``[n, 2]`` magnitudes of the principal curvatures, the greater first, per unit of length.
    """

    points: Floats
    normals: Floats
    curvatures: Floats

    def take(self, rows: NDArray[np.int64]) -> Surface:
        """Select some of the points."""
        return Surface(self.points[rows], self.normals[rows], self.curvatures[rows])


@dataclass(frozen=True)
class AnchorCloud:
    """Anchors, and the surface below each anchor.

    Attributes:
        coords: ``[N, 3] int64`` distinct lattice coordinates.
        cells: ``[N] int64`` cell size at which each anchor was added: 16, 4 or 1.
        surface: the surface point of each anchor, in voxels.
        held_out: ``[M, 3] int64`` more anchors of the same scene, not among ``coords``.
    """

    coords: NDArray[np.int64]
    cells: NDArray[np.int64]
    surface: Surface
    held_out: NDArray[np.int64]


def make_cloud(rng: np.random.Generator, num: int) -> AnchorCloud:
    """Make a random scene of at most ``num`` anchors, and half as many held-out anchors."""
    scene = _scene(rng, 12 * num)
    thinned = _density(rng, scene.points)
    # An object of about one unit is some hundred voxels wide, more so the more anchors it has.
    voxels = np.sqrt(num) * 2.0 ** rng.uniform(0.5, 3.5)
    rough = rng.normal(size=scene.points.shape) * rng.uniform(0.0, 2.0)
    strays = rng.random(len(scene.points)) < rng.uniform(0.0, 0.08)
    rough[strays] += rng.normal(size=(int(strays.sum()), 3)) * 0.05 * voxels
    places = scene.points * voxels + rough
    order = np.flatnonzero(rng.random(len(places)) < thinned)
    share = np.array([10.0 ** rng.uniform(-3, -1), 10.0 ** rng.uniform(-1.5, -0.2)])
    born = np.array(CELLS)[np.searchsorted(np.cumsum(share), rng.random(len(order)))]
    coords = np.rint(places[order] / born[:, None]).astype(np.int64) * born[:, None]
    # Coarse cells first: a finer one that falls onto them is dropped, as in growing.
    rank = np.argsort(-born, kind="stable")
    _, first = np.unique(coords[rank], axis=0, return_index=True)
    kept = rng.permutation(rank[first])
    num = min(num, 2 * len(kept) // 3)
    kept, held_out = kept[:num], kept[num : num + num // 2]
    kept = kept[np.lexsort(coords[kept].T)]
    source = scene.take(order[kept])
    in_voxels = Surface(source.points * voxels, source.normals, source.curvatures / voxels)
    return AnchorCloud(coords[kept], born[kept], in_voxels, coords[held_out])


def _scene(rng: np.random.Generator, num: int) -> Surface:
    shapes: list[Callable[[np.random.Generator, int], Surface]] = [_plane, _box, _sphere, _tube, _terrain]
    count = int(rng.integers(2, 9))
    weights = rng.dirichlet(np.full(count, 1.5))
    parts = []
    for weight in weights:
        shape = shapes[int(rng.integers(len(shapes)))]
        part = shape(rng, max(int(weight * num), 16))
        size = 2.0 ** rng.uniform(-2.5, 0.0)
        turn = _rotation(rng) if rng.random() < 0.6 else np.eye(3)
        shift = rng.uniform(-0.5, 0.5, 3)
        parts.append(Surface(part.points @ turn.T * size + shift, part.normals @ turn.T, part.curvatures / size))
    return Surface(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def _density(rng: np.random.Generator, points: Floats) -> Floats:
    """Smoothly varying probability that a point is kept: texture attracts anchors, bare walls do not."""
    field = np.zeros(len(points))
    for _ in range(4):
        wave = rng.normal(size=3) * 2.0 ** rng.uniform(1.0, 4.5)
        field += np.sin(points @ wave + rng.uniform(0, 2 * np.pi))
    return np.exp(rng.uniform(0.0, 1.0) * (field - field.max()))


def _plane(rng: np.random.Generator, num: int) -> Surface:
    points = np.zeros((num, 3))
    points[:, :2] = rng.uniform(-1, 1, (num, 2)) * [1.0, rng.uniform(0.3, 1.0)]
    return Surface(points, np.tile([0.0, 0.0, 1.0], (num, 1)), np.zeros((num, 2)))


def _box(rng: np.random.Generator, num: int) -> Surface:
    half = rng.uniform(0.2, 1.0, 3)
    areas = half[[1, 0, 0]] * half[[2, 2, 1]]
    axis = rng.choice(3, num, p=areas / areas.sum())
    points = rng.uniform(-1, 1, (num, 3)) * half
    sign = rng.choice([-1.0, 1.0], num)
    points[np.arange(num), axis] = sign * half[axis]
    return Surface(points, np.eye(3)[axis] * sign[:, None], np.zeros((num, 2)))


def _sphere(rng: np.random.Generator, num: int) -> Surface:
    normals = rng.normal(size=(num, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:, 2] = np.where(rng.random() < 0.3, np.abs(normals[:, 2]), normals[:, 2])
    return Surface(normals * 0.7, normals, np.full((num, 2), 1 / 0.7))


def _tube(rng: np.random.Generator, num: int) -> Surface:
    radius = 2.0 ** rng.uniform(-6, -1.5)
    angle = rng.uniform(0, 2 * np.pi, num)
    normals = np.stack([np.cos(angle), np.sin(angle), np.zeros(num)], axis=1)
    points = normals * radius
    points[:, 2] = rng.uniform(-1, 1, num)
    return Surface(points, normals, np.tile([1 / radius, 0.0], (num, 1)))


def _terrain(rng: np.random.Generator, num: int) -> Surface:
    flat = rng.uniform(-1, 1, (num, 2))
    height, slope, bend = np.zeros(num), np.zeros((num, 2)), np.zeros((num, 2, 2))
    for _ in range(5):
        wave = rng.normal(size=2) * 2.0 ** rng.uniform(0.5, 3.5)
        amplitude = rng.uniform(0.1, 0.5) / (1 + np.linalg.norm(wave))
        phase = flat @ wave + rng.uniform(0, 2 * np.pi)
        height += amplitude * np.sin(phase)
        slope += (amplitude * np.cos(phase))[:, None] * wave
        bend -= (amplitude * np.sin(phase))[:, None, None] * np.outer(wave, wave)
    normals = np.concatenate([-slope, np.ones((num, 1))], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    # Second fundamental form over the first, to leading order in the slope.
    curvatures = np.sort(np.abs(np.linalg.eigvalsh(bend)) / length, axis=1)[:, ::-1]
    return Surface(np.concatenate([flat, height[:, None]], axis=1), normals / length, curvatures)


def _rotation(rng: np.random.Generator) -> Floats:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(turn)
