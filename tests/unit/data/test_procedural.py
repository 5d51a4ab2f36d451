from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from hemgs.config.dataset import Layout as LayoutName
from hemgs.config.dataset import Procedural
from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.reading import checked
from hemgs.data.procedural.capture import (
    DISTANCE,
    LOOK_AT,
    POINT_NOISE,
    SUN,
    camera_path,
    look_at,
    write_procedural,
)
from hemgs.data.procedural.layouts import GROUND_RADIUS, LAYOUTS
from hemgs.data.procedural.raymarch import render_solids, trace_rays
from hemgs.data.procedural.solids import Layout, Material
from hemgs.data.procedural.textures import PLAIN, lattice, noise
from hemgs.data.readers.colmap import read_colmap

SKY = (0.25, 0.5, 0.75)
GREY = Material(PLAIN, ((0.4, 0.4, 0.4),))
SMALL = Procedural(num_views=8, width=40, height=30, num_points=320)


def one(shape: str, *sizes: object, **options: object) -> np.ndarray:
    layout = Layout()
    getattr(layout, shape)((1.0, -2.0, 0.5), *sizes, GREY, **options)
    return layout.solids


def along(axis: int, solids: np.ndarray, distance: float = 5.0) -> float:
    """Where a ray towards the shape's centre along one axis meets it, measured from the centre."""
    direction = np.zeros(3)
    direction[axis] = -1.0
    start = np.array([1.0, -2.0, 0.5]) - distance * direction
    return distance - float(trace_rays(solids, start, direction[None])[0])


@pytest.mark.parametrize(
    ("solids", "extents"),
    [
        (one("sphere", 0.7), (0.7, 0.7, 0.7)),
        (one("box", (0.3, 0.5, 0.2)), (0.3, 0.5, 0.2)),
        (one("box", (0.3, 0.5, 0.2), yaw=math.pi / 2), (0.5, 0.3, 0.2)),
        (one("cylinder", 0.6, 0.25), (0.6, 0.6, 0.25)),
        (one("cone", 0.5, 0.3, 0.4), (0.4, 0.4, 0.4)),
        (one("cone", 0.5, 0.0, 0.4), (0.25, 0.25, 0.4)),
    ],
)
def test_rays_meet_shapes_where_geometry_says(solids: np.ndarray, extents: tuple[float, ...]) -> None:
    assert [along(axis, solids) for axis in range(3)] == pytest.approx(extents, abs=2e-3)


def test_rod_and_torus() -> None:
    layout = Layout()
    layout.rod((1.0, -2.0, -0.5), (1.0, -2.0, 1.5), 0.1, GREY)
    assert [along(axis, layout.solids) for axis in range(3)] == pytest.approx((0.1, 0.1, 1.1), abs=2e-3)
    layout = Layout()
    layout.torus((1.0, -2.0, 0.5), 0.8, 0.1, GREY, (1.0, 0.0, 0.0))
    assert along(1, layout.solids) == pytest.approx(0.9, abs=2e-3)
    assert trace_rays(layout.solids, np.array([5.0, -2.0, 0.5]), np.array([[-1.0, 0.0, 0.0]]))[0] == -1.0  # the hole


def test_rays_that_miss() -> None:
    rays = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert trace_rays(one("sphere", 0.7), np.array([-3.0, -2.0, 0.5]), rays).tolist() == [
        pytest.approx(3.3, abs=2e-3),
        -1,
    ]


def test_background_light_and_shadow() -> None:
    """A ball over a plate, seen from above: sky around the plate, shadow where the ball hides the sun."""
    layout = Layout()
    layout.cylinder((0, 0, -0.1), 2.0, 0.1, GREY)
    bare = layout.solids, layout.materials
    layout.sphere((0, 0, 1.0), 0.5, GREY)
    pose = look_at(np.array([0.0, -0.001, 8.0]), np.zeros(3))
    intrinsics = np.array([[60.0, 0.0, 30.0], [0.0, 60.0, 30.0], [0.0, 0.0, 1.0]])
    empty = render_solids(*bare, SUN, SKY, pose, intrinsics, 60, 60)
    full = render_solids(layout.solids, layout.materials, SUN, SKY, pose, intrinsics, 60, 60)
    np.testing.assert_array_equal(full[0, 0], SKY)
    shadow = -SUN[:2] / SUN[2]  # on the plate, of the ball's centre
    column, row = 30 + 60 * shadow[0] / 8.0, 30 - 60 * shadow[1] / 8.0
    assert full[int(row), int(column)].sum() < 0.75 * empty[int(row), int(column)].sum()
    lit_column, lit_row = 30 - 60 * shadow[0] / 8.0 * 1.5, 30 + 60 * shadow[1] / 8.0 * 1.5
    np.testing.assert_allclose(full[int(lit_row), int(lit_column)], empty[int(lit_row), int(lit_column)], atol=0.02)


def test_highlights_depend_on_the_view() -> None:
    """The brightest spot of a glossy ball moves with the camera; a dull ball keeps a surface point's colour."""
    change = {}
    for name, specular in (("dull", 0.0), ("glossy", 1.0)):
        layout = Layout()
        layout.sphere((0, 0, 0), 1.0, Material(PLAIN, ((0.2, 0.2, 0.2),), specular=specular, sharpness=3))
        point = np.array([0.6, 0.0, 0.8])
        colors = []
        for angle in (-0.5, 0.5):
            pose = look_at(6.0 * np.array([math.sin(angle), -0.3, math.cos(angle)]), np.zeros(3))
            intrinsics = np.array([[200.0, 0.0, 100.0], [0.0, 200.0, 100.0], [0.0, 0.0, 1.0]])
            image = render_solids(layout.solids, layout.materials, SUN, SKY, pose, intrinsics, 200, 200)
            x, y, z = pose[:3, :3] @ point + pose[:3, 3]
            colors.append(image[int(100 + 200 * y / z), int(100 + 200 * x / z)])
        change[name] = float(np.abs(colors[0] - colors[1]).max())
    assert change["dull"] < 0.02
    assert change["glossy"] > 0.05


def test_noise_is_smooth_and_spread() -> None:
    grid = np.array([noise(0.13 * i, 0.37, -2.2) for i in range(400)])
    assert grid.min() >= 0.0
    assert grid.max() <= 1.0
    assert grid.std() > 0.1
    assert np.abs(np.diff(grid)).max() < 0.3
    values = np.array([lattice(i, j, 3) for i in range(-40, 40) for j in range(-40, 40)])
    assert len(np.unique(values)) > 6_390
    assert np.histogram(values, 8, (0.0, 1.0))[0].min() > 6400 / 8 * 0.85


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_bounding_spheres_hold_their_solids(name: str) -> None:
    """Rays meet the same surfaces when nothing is culled (bounds made huge)."""
    solids = LAYOUTS[name](3).solids
    unculled = solids.copy()
    unculled[:, 17] = 20.0
    rng = np.random.default_rng(0)
    for pose in camera_path(8, rng):
        rays = np.append(rng.uniform(-0.4, 0.4, (300, 2)), np.ones((300, 1)), axis=1) @ pose[:3, :3]
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        center = -pose[:3, :3].T @ pose[:3, 3]
        culled, full = trace_rays(solids, center, rays), trace_rays(unculled, center, rays)
        assert np.sum(np.abs(culled - full) > 0.01) <= 1  # a ray that grazes an edge may go either way


def test_everything_stands_on_the_ground_disc() -> None:
    for make in LAYOUTS.values():
        solids = make(1).solids
        reach = np.linalg.norm(solids[:, 1:3], axis=1) + np.minimum(solids[:, 17], 0.7)
        assert reach[solids[:, 17] < 2].max() < GROUND_RADIUS + 0.5


def test_camera_path_looks_at_the_scene_from_two_heights() -> None:
    poses = camera_path(40, np.random.default_rng(0))
    centers = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in poses])
    assert np.linalg.norm(centers - LOOK_AT, axis=1) == pytest.approx(DISTANCE, rel=0.09)
    assert centers[:, 2].max() - centers[:, 2].min() > 0.3 * DISTANCE
    for pose in poses:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        x, y, z = pose[:3, :3] @ LOOK_AT + pose[:3, 3]
        assert z > 0
        assert math.hypot(x, y) / z < 0.05
        assert pose[1, 2] < 0  # the world's up is up in the picture


def test_same_settings_same_files_other_seed_other_scene(tmp_path: Path) -> None:
    for folder, settings in (("a", SMALL), ("b", SMALL), ("c", SMALL.model_copy(update={"seed": 1}))):
        write_procedural(tmp_path / folder, "court", settings, SKY, EventLog())
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 8 + 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a/images/court_001.png").read_bytes() != (tmp_path / "c/images/court_001.png").read_bytes()


def test_points_lie_on_what_the_views_show(tmp_path: Path) -> None:
    """Projected into their own views, points find their colours; and they sit on surfaces, up to their noise."""
    write_procedural(tmp_path, "court", SMALL, SKY, EventLog())
    capture = read_colmap(tmp_path)
    assert capture.points is not None
    assert capture.colors is not None
    assert len(capture.points) == SMALL.num_points
    solids = LAYOUTS["court"](0).solids
    errors, gaps = [], []
    for number, view in enumerate(capture.views):  # an eighth of the points was drawn from each view, in order
        rows = slice(40 * number, 40 * (number + 1))
        camera, image = view.camera, np.asarray(Image.open(view.image)).astype(float)
        local = capture.points[rows] @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        column = np.clip(camera.fx * local[:, 0] / local[:, 2] + camera.cx, 0, camera.width - 1).astype(int)
        row = np.clip(camera.fy * local[:, 1] / local[:, 2] + camera.cy, 0, camera.height - 1).astype(int)
        errors.append(np.abs(image[row, column] - capture.colors[rows]).mean(axis=1))
        rays = capture.points[rows] - camera.center
        distance = np.linalg.norm(rays, axis=1)
        gaps.append(trace_rays(solids, camera.center, rays / distance[:, None]) - distance)
    assert np.median(np.concatenate(errors)) < 8.0
    assert np.mean(np.abs(np.concatenate(gaps)) < 10 * POINT_NOISE) > 0.9


def test_every_layout_may_be_configured() -> None:
    assert sorted(LAYOUTS) == sorted(get_args(LayoutName))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "desert"}, "'layout' cannot be \"desert\" — allowed: court, garden"),
        ({"num_views": 7}, "num_views"),
        ({"width": 8}, "'width' cannot be 8 — it must be at least 16"),
        ({"height": 1.5}, "height"),
        ({"num_points": -3}, "num_points"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
    ],
)
def test_unusable_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(Procedural, change, "")
