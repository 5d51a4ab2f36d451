"""Building blocks of procedural scenes: solids with materials, collected as the rows that ``raymarch`` reads.

Owns the conversion of shapes (such as a rod between two points) to rows. Does not own any scene (``layouts``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemgs.data.procedural.raymarch import BOX, CAPSULE, CONE, CYLINDER, FOLIAGE, SOLID_FIELDS, SPHERE, TORUS

Vector = Sequence[float] | NDArray[np.float64]
Color = tuple[float, float, float]

UP = np.array([0.0, 0.0, 1.0])
#: Number of rods of a hanging wire.
WIRE_PIECES = 8


@dataclass(frozen=True)
class Material:
    """The look of a surface.

    Attributes:
        texture: a pattern of ``textures``.
        colors: one to three linear RGB colours; the pattern blends them.
        frequency: features per unit length.
        specular: strength of the highlight.
        sharpness: the highlight is the power ``2**sharpness`` of a cosine.
        mirror: how much of the sky is reflected, 0 to 1.
    """

    texture: int
    colors: tuple[Color, ...]
    frequency: float = 2.0
    specular: float = 0.0
    sharpness: int = 5
    mirror: float = 0.0

    def row(self) -> list[float]:
        """Return the numbers of a row of ``[M, MATERIAL_FIELDS]``."""
        first, second, third = (*self.colors, *self.colors[-1:] * 2)[:3]
        numbers = (self.frequency, self.specular, self.sharpness, self.mirror)
        return [float(value) for value in (self.texture, *first, *second, *third, *numbers)]


class Layout:
    """A collection of solids. Positions and sizes are in world units, z up."""

    def __init__(self) -> None:
        self._solids: list[list[float]] = []
        self._materials: dict[Material, int] = {}

    @property
    def solids(self) -> NDArray[np.float64]:
        """Rows ``[P, SOLID_FIELDS] float64`` of the solids."""
        return np.array(self._solids, np.float64).reshape(-1, SOLID_FIELDS)

    @property
    def materials(self) -> NDArray[np.float64]:
        """Rows ``[M, MATERIAL_FIELDS] float64`` of the materials."""
        return np.array([material.row() for material in self._materials], np.float64)

    def sphere(self, at: Vector, radius: float, material: Material, yaw: float = 0.0) -> None:
        """Add a ball; ``yaw`` (radians) turns its pattern."""
        self._add(SPHERE, at, _yaw(yaw), (radius,), radius, material)

    def box(self, at: Vector, half: Vector, material: Material, *, yaw: float = 0.0, edge: float = 0.02) -> None:
        """Add a box with the ``half`` sides along local x, y, z; ``edge`` is the radius of the rounded edges."""
        self._add(BOX, at, _yaw(yaw), (*half, edge), math.hypot(*half), material)

    def cylinder(self, at: Vector, radius: float, half: float, material: Material, edge: float = 0.01) -> None:
        """Add an upright cylinder of height ``2 * half``."""
        self._add(CYLINDER, at, np.eye(3), (radius, half, edge), math.hypot(radius, half), material)

    def cone(self, at: Vector, below: float, above: float, half: float, material: Material) -> None:
        """Add an upright, truncated cone of height ``2 * half`` with the radii ``below`` and ``above``."""
        self._add(CONE, at, np.eye(3), (below, above, half), math.hypot(max(below, above), half), material)

    def rod(self, start: Vector, end: Vector, radius: float, material: Material) -> None:
        """Add a round bar between two points."""
        a, b = np.array(start, np.float64), np.array(end, np.float64)
        half = float(np.linalg.norm(b - a)) / 2
        self._add(CAPSULE, (a + b) / 2, _along(b - a), (half, radius), half + radius, material)

    def torus(self, at: Vector, ring: float, tube: float, material: Material, axis: Vector = UP) -> None:
        """Add a ring about ``axis``; ``tube`` is the radius of its cross-section."""
        self._add(TORUS, at, _along(np.array(axis, np.float64)), (ring, tube), ring + tube, material)

    def foliage(self, at: Vector, radius: float, material: Material, depth: float = 0.10, bumps: float = 5.0) -> None:
        """Add a ball with bumps of ``depth``, ``bumps`` of them per unit length."""
        self._add(FOLIAGE, at, np.eye(3), (radius, depth, bumps), radius + depth, material)

    def wire(self, start: Vector, end: Vector, sag: float, radius: float, material: Material) -> None:
        """Add a hanging wire of rods."""
        for a, b in itertools.pairwise(hanging(start, end, sag)):
            self.rod(a, b, radius, material)

    def _add(
        self,
        shape: int,
        at: Vector,
        rotation: NDArray[np.float64],
        sizes: tuple[float, ...],
        bound: float,
        material: Material,
    ) -> None:
        number = self._materials.setdefault(material, len(self._materials))
        padded = [float(size) for size in (*sizes, 0.0, 0.0, 0.0)[:4]]
        position = [float(value) for value in at]
        self._solids.append([float(shape), *position, *rotation.ravel().tolist(), *padded, bound + 1e-3, float(number)])


def hanging(start: Vector, end: Vector, sag: float) -> NDArray[np.float64]:
    """Return corners ``[WIRE_PIECES + 1, 3]`` of a wire that hangs ``sag`` below the straight line at its middle."""
    t = np.linspace(0.0, 1.0, WIRE_PIECES + 1)[:, None]
    points: NDArray[np.float64] = (1 - t) * np.array(start) + t * np.array(end) - 4 * sag * t * (1 - t) * UP
    return points


def polar(radius: float, angle: float, z: float = 0.0) -> NDArray[np.float64]:
    """Return the point at ``radius`` and ``angle`` (radians) about the vertical, at height ``z``."""
    return np.array([radius * math.cos(angle), radius * math.sin(angle), z])


def _yaw(angle: float) -> NDArray[np.float64]:
    """Return the world-to-local rotation of a solid that is turned by ``angle`` (radians) about the vertical."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def _along(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a world-to-local rotation whose local z is ``axis``."""
    z = axis / np.linalg.norm(axis)
    helper = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])
