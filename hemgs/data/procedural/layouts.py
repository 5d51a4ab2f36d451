"""The contents of the procedural scenes: ``court`` (stone, water, wires) and ``garden`` (leaves, fences, a pond).

Owns shapes, places and materials, varied by a seed. Does not own how they are rendered (``raymarch``).
World coordinates: z up, the ground at z = 0, everything within 3.4 units of the origin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hemgs.data.procedural.solids import UP, Layout, Material, Vector, hanging, polar
from hemgs.data.procedural.textures import (
    BRICKS,
    CHECKER,
    DOTS,
    LEAVES,
    MARBLE,
    PLAIN,
    STRIPES,
    TILES,
    WATER,
    WOOD,
)

#: Radius of the ground disc, world units.
GROUND_RADIUS = 3.25

_PAVING = Material(TILES, ((0.52, 0.40, 0.28), (0.24, 0.20, 0.18), (0.10, 0.08, 0.07)), 1.7, 0.12, 4)
_STONE = Material(MARBLE, ((0.58, 0.53, 0.45), (0.40, 0.36, 0.31), (0.17, 0.15, 0.14)), 1.3, 0.25)
_ROCK = Material(MARBLE, ((0.42, 0.40, 0.37), (0.26, 0.25, 0.24), (0.14, 0.13, 0.13)), 1.4, 0.2)
_BRICK = Material(BRICKS, ((0.45, 0.14, 0.08), (0.30, 0.08, 0.05), (0.42, 0.38, 0.34)), 2.4)
_WOOD = Material(WOOD, ((0.42, 0.22, 0.09), (0.24, 0.11, 0.04), (0.10, 0.05, 0.02)), 1.6, 0.15)
_PALE_WOOD = Material(WOOD, ((0.46, 0.26, 0.12), (0.27, 0.13, 0.05), (0.12, 0.06, 0.03)), 1.8, 0.15)
_BASIN = Material(WATER, ((0.03, 0.20, 0.26), (0.06, 0.34, 0.38), (0.75, 0.85, 0.85)), 2.6, 1.6, 6, 0.7)
_POND = Material(WATER, ((0.02, 0.13, 0.20), (0.05, 0.26, 0.30), (0.70, 0.80, 0.80)), 2.2, 1.6, 6, 0.8)
_LAWN = Material(LEAVES, ((0.045, 0.15, 0.02), (0.14, 0.30, 0.05), (0.36, 0.42, 0.10)), 1.7)
_SOIL = Material(PLAIN, ((0.16, 0.09, 0.05), (0.09, 0.05, 0.03)), 3.0)
_GREEN_LEAVES = Material(LEAVES, ((0.045, 0.18, 0.03), (0.13, 0.34, 0.05), (0.40, 0.54, 0.12)), 2.6)
_RED_LEAVES = Material(LEAVES, ((0.30, 0.10, 0.02), (0.48, 0.22, 0.03), (0.75, 0.48, 0.08)), 2.6)
_GOLD = Material(PLAIN, ((0.75, 0.45, 0.10), (0.62, 0.33, 0.06)), specular=1.5, mirror=0.5)
_IRON = Material(PLAIN, ((0.06, 0.07, 0.07), (0.09, 0.10, 0.10)), specular=0.5)
_STEEL = Material(PLAIN, ((0.55, 0.56, 0.58),), specular=1.0, sharpness=4)
_RUBBER = Material(PLAIN, ((0.03, 0.03, 0.035), (0.05, 0.05, 0.05)), specular=0.2)
_RED_PAINT = Material(PLAIN, ((0.65, 0.04, 0.05),), specular=0.9)
_WHITE_PAINT = Material(PLAIN, ((0.80, 0.79, 0.75), (0.70, 0.69, 0.66)), specular=0.3)
_LAMP = Material(PLAIN, ((0.95, 0.90, 0.75),), specular=1.2, mirror=0.3)
_BLUE_STRIPES = Material(STRIPES, ((0.75, 0.72, 0.66), (0.07, 0.20, 0.50)), 6.0, 1.0, 5, 0.2)
_RED_STRIPES = Material(STRIPES, ((0.75, 0.72, 0.66), (0.60, 0.08, 0.06)), 6.0, 1.0, 5, 0.2)
_CHECKS = Material(CHECKER, ((0.72, 0.68, 0.60), (0.55, 0.06, 0.05)), 6.0, 1.0, 5, 0.2)
_DOTS = Material(DOTS, ((0.08, 0.35, 0.40), (0.06, 0.28, 0.33), (0.80, 0.75, 0.60)), 9.0, 0.9, 5, 0.2)
_BALLS = tuple(
    Material(PLAIN, (color,), specular=0.8, sharpness=4)
    for color in ((0.70, 0.08, 0.06), (0.08, 0.30, 0.65), (0.75, 0.55, 0.06), (0.10, 0.45, 0.15))
)
_PETALS = tuple(
    Material(PLAIN, (color,), specular=0.3) for color in ((0.75, 0.06, 0.10), (0.80, 0.55, 0.05), (0.45, 0.12, 0.55))
)


def court(seed: int) -> Layout:
    """Build a paved court with a fountain, a colonnade, a bicycle, lamps on wires, crates and a laid table."""
    rng = np.random.default_rng(seed)
    turn = rng.uniform(-0.2, 0.2)
    layout = Layout()
    layout.cylinder((0, 0, -0.15), GROUND_RADIUS, 0.15, _PAVING, 0.03)
    layout.torus((0, 0, -0.12), GROUND_RADIUS, 0.11, _STONE)
    _fountain(layout)
    _colonnade(layout, turn + np.linspace(0.25 * math.pi, 1.15 * math.pi, 6))
    _bicycle(layout, polar(2.0, turn - 0.45 * math.pi), turn + 0.15)
    _lamps(layout, [polar(2.6, turn + angle * math.pi) for angle in (1.3, 1.62, 1.94)])
    x, y, _ = polar(2.05, turn + 1.80 * math.pi)
    layout.box((x, y, 0.28), (0.28, 0.28, 0.28), _WOOD, yaw=turn + 0.3)
    layout.box((x + 0.04, y + 0.02, 0.74), (0.19, 0.19, 0.18), _BRICK, yaw=turn + 0.9)
    layout.box((x - 0.55, y + 0.18, 0.17), (0.2, 0.16, 0.17), _WOOD, yaw=turn - 0.4)
    layout.sphere(polar(1.45, turn + 1.85 * math.pi, 0.22), 0.22, _BLUE_STRIPES)
    layout.sphere(polar(1.75, turn + 0.02 * math.pi, 0.30), 0.30, _CHECKS, 0.4)
    _table(layout, polar(1.95, turn + 0.17 * math.pi))
    planter = polar(1.7, turn + 0.62 * math.pi)
    layout.box(planter + 0.22 * UP, (0.34, 0.34, 0.22), _BRICK, yaw=turn)
    _tree(layout, planter + 0.4 * UP, 0.75, _GREEN_LEAVES, _WOOD, rng)
    return layout


def garden(seed: int) -> Layout:
    """Build a lawn with a pond, trees, a picket fence, a bench, stepping stones and flowers on stalks."""
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, 2 * math.pi)
    layout = Layout()
    layout.cylinder((0, 0, -0.06), GROUND_RADIUS, 0.06, _LAWN, 0.03)
    layout.cylinder((0, 0, -0.26), GROUND_RADIUS - 0.02, 0.15, _SOIL, 0.05)
    pond = polar(1.0, turn)
    layout.cylinder(pond + 0.01 * UP, 0.86, 0.012, _POND)
    for k in range(14):
        layout.foliage(pond + polar(0.9, k * math.pi / 7, 0.05), rng.uniform(0.11, 0.17), _ROCK, 0.03, 9.0)
    for k in range(5):
        layout.cylinder(polar(0.25 + 0.62 * k, turn + 2.5 + 0.12 * k, 0.01), 0.2, 0.03, _ROCK)
    for angle, leaves in ((1.1, _GREEN_LEAVES), (3.3, _RED_LEAVES), (4.9, _GREEN_LEAVES)):
        _tree(layout, polar(2.25, turn + angle), rng.uniform(0.75, 1.1), leaves, _PALE_WOOD, rng)
    _fence(layout, turn + 1.6 + 0.068 * np.arange(22, dtype=np.float64))
    _bench(layout, polar(2.3, turn + 4.1), turn + 4.1)
    for k in range(9):
        foot = polar(rng.uniform(2.3, 2.9), turn + 5.35 + 0.1 * k)
        head = foot + np.array([0.05, 0.0, rng.uniform(0.35, 0.6)])
        layout.rod(foot, head, 0.014, _GREEN_LEAVES)
        layout.sphere(head + 0.05 * UP, 0.085, _PETALS[k % len(_PETALS)])
    layout.sphere(polar(1.9, turn + 0.75, 0.26), 0.26, _RED_STRIPES)
    return layout


def _fountain(layout: Layout) -> None:
    layout.cylinder((0, 0, 0.15), 0.95, 0.15, _STONE, 0.03)
    layout.torus((0, 0, 0.31), 0.88, 0.09, _STONE)
    layout.cylinder((0, 0, 0.305), 0.82, 0.01, _BASIN)
    layout.cone((0, 0, 0.62), 0.16, 0.10, 0.34, _STONE)
    layout.cone((0, 0, 1.02), 0.12, 0.46, 0.11, _STONE)
    layout.torus((0, 0, 1.13), 0.45, 0.035, _STONE)
    layout.cylinder((0, 0, 1.12), 0.43, 0.008, _BASIN)
    layout.sphere((0, 0, 1.36), 0.24, _GOLD)


def _colonnade(layout: Layout, angles: NDArray[np.float64], radius: float = 2.75) -> None:
    """Add columns at ``angles`` with brick beams from one to the next."""
    for angle in angles.tolist():
        foot = polar(radius, angle)
        layout.box(foot + 0.08 * UP, (0.24, 0.24, 0.08), _STONE, yaw=angle)
        layout.cone(foot + 0.86 * UP, 0.155, 0.125, 0.72, _STONE)
        layout.box(foot + 1.63 * UP, (0.22, 0.22, 0.06), _STONE, yaw=angle)
    for a, b in itertools.pairwise(angles.tolist()):
        half, middle = (b - a) / 2, (a + b) / 2
        beam = (0.17, radius * math.sin(half) + 0.07, 0.12)
        layout.box(polar(radius * math.cos(half), middle, 1.8), beam, _BRICK, yaw=middle)


def _bicycle(layout: Layout, at: Vector, yaw: float) -> None:
    """Add two spoked wheels and a frame of thin rods."""
    forward, side = polar(1.0, yaw), polar(1.0, yaw + math.pi / 2)

    def place(x: float, z: float, y: float = 0.0) -> NDArray[np.float64]:
        return np.asarray(at + x * forward + y * side + z * UP, np.float64)

    wheel, gauge, num_spokes = 0.33, 0.52, 8
    for x in (-gauge, gauge):
        layout.torus(place(x, wheel), wheel - 0.03, 0.028, _RUBBER, side)
        for k in range(num_spokes):
            dx, dz, _ = polar(wheel - 0.04, 2 * math.pi * k / num_spokes + 0.2)
            layout.rod(place(x, wheel), place(x + dx, wheel + dz), 0.007, _STEEL)
    crank, seat, head = place(-0.08, 0.3), place(-0.18, 0.78), place(0.36, 0.74)
    rear, front = place(-gauge, wheel), place(gauge, wheel)
    for start, end in ((crank, seat), (crank, head), (seat, head), (rear, crank), (rear, seat), (front, head)):
        layout.rod(start, end, 0.02, _RED_PAINT)
    layout.rod(seat, place(-0.2, 0.86), 0.016, _STEEL)
    layout.rod(place(-0.3, 0.87), place(-0.1, 0.87), 0.04, _RUBBER)
    layout.rod(head, place(0.33, 0.9), 0.016, _STEEL)
    layout.rod(place(0.33, 0.9, -0.22), place(0.33, 0.9, 0.22), 0.016, _RUBBER)


def _lamps(layout: Layout, feet: Sequence[NDArray[np.float64]], height: float = 1.75, sag: float = 0.28) -> None:
    """Add lamp posts with globes, and wires between them that carry small coloured balls."""
    tops = [foot + height * UP for foot in feet]
    for foot, top in zip(feet, tops, strict=True):
        layout.cylinder(foot + 0.06 * UP, 0.13, 0.06, _IRON)
        layout.rod(foot, top, 0.03, _IRON)
        layout.sphere(top + 0.13 * UP, 0.13, _LAMP)
    for k, (start, end) in enumerate(itertools.pairwise(tops)):
        layout.wire(start, end, sag, 0.011, _IRON)
        for i, point in enumerate(hanging(start, end, sag)[1:-1]):
            layout.sphere(point - 0.065 * UP, 0.062, _BALLS[(i + k) % len(_BALLS)])


def _table(layout: Layout, at: NDArray[np.float64]) -> None:
    """Add a round table on four thin legs, with a pot, its handle and a cup."""
    layout.cylinder(at + 0.62 * UP, 0.42, 0.025, _WOOD)
    for k in range(4):
        leg = polar(0.33, k * math.pi / 2 + 0.5)
        layout.rod(at + leg, at + 0.8 * leg + 0.6 * UP, 0.02, _WOOD)
    layout.sphere(at + 0.79 * UP, 0.15, _DOTS)
    layout.torus(at + np.array([0.17, 0.0, 0.80]), 0.07, 0.018, _DOTS, (0.0, 1.0, 0.0))
    layout.cone(at + np.array([-0.22, 0.1, 0.70]), 0.045, 0.07, 0.055, _CHECKS)


def _tree(
    layout: Layout, at: NDArray[np.float64], height: float, leaves: Material, bark: Material, rng: np.random.Generator
) -> None:
    crown = at + height * UP
    layout.cone(at + 0.5 * height * UP, 0.09, 0.055, height / 2, bark)
    layout.foliage(crown + 0.28 * UP, 0.46, leaves)
    for angle in rng.uniform(0, 2 * math.pi) + np.array([0.0, 2.1, 4.2]):
        layout.foliage(crown + polar(0.34, angle, 0.12 + rng.uniform(-0.05, 0.12)), rng.uniform(0.27, 0.34), leaves)


def _fence(layout: Layout, angles: NDArray[np.float64]) -> None:
    """Add pickets at ``angles`` and two rails behind them."""
    for angle in angles.tolist():
        layout.box(polar(3.0, angle, 0.36), (0.02, 0.065, 0.34), _WHITE_PAINT, yaw=angle, edge=0.012)
    for z in (0.2, 0.52):
        for a, b in itertools.pairwise(angles[::3].tolist()):
            layout.rod(polar(2.97, a, z), polar(2.97, b, z), 0.022, _WHITE_PAINT)


def _bench(layout: Layout, at: NDArray[np.float64], facing: float) -> None:
    """Add slats for seat and back on iron legs."""
    out, side = polar(1.0, facing), polar(1.0, facing + math.pi / 2)
    for k in range(4):
        slat = at + (0.1 * k - 0.2) * out + 0.4 * UP
        layout.box(slat, (0.036, 0.55, 0.016), _PALE_WOOD, yaw=facing, edge=0.008)
    for k in range(3):
        slat = at + (0.16 + 0.03 * k) * out + (0.53 + 0.12 * k) * UP
        layout.box(slat, (0.016, 0.55, 0.04), _PALE_WOOD, yaw=facing, edge=0.008)
    for foot in (at - 0.45 * side, at + 0.45 * side):
        layout.rod(foot - 0.2 * out, foot - 0.2 * out + 0.38 * UP, 0.02, _IRON)
        layout.rod(foot + 0.14 * out, foot + 0.24 * out + 0.82 * UP, 0.02, _IRON)


#: Scenes by name.
LAYOUTS: Mapping[str, Callable[[int], Layout]] = {"court": court, "garden": garden}
