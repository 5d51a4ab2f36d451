"""Procedural captures, rendered by this package's ray marcher and written as a COLMAP model in text form.

Owns the camera path, the sampling of initial points, and the folder. The reader of all other COLMAP captures reads the
folder back, so there is no second way into the pipeline. The same settings give the same files.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemgs.config.dataset import Procedural
from hemgs.core.events import EventLog
from hemgs.data.capture import PointCloud
from hemgs.data.procedural.layouts import GROUND_RADIUS, LAYOUTS
from hemgs.data.procedural.raymarch import render_solids, trace_rays
from hemgs.data.procedural.solids import Layout
from hemgs.data.readers.colmap import quaternion_of
from hemgs.data.readers.colmap_model import ColmapCamera, ColmapImage, write_text_model

#: Direction towards the sun.
SUN = np.array([0.52, -0.38, 0.76]) / np.linalg.norm([0.52, -0.38, 0.76])
#: The horizontal field of view, radians.
FIELD_OF_VIEW = math.radians(52.0)
#: Distance of the cameras to the point that they look at, and the lowest and highest elevation of their path, radians.
DISTANCE = 2.25 * GROUND_RADIUS
ELEVATIONS = (math.radians(15.0), math.radians(42.0))
#: Turns of the path about the scene, and waves of its elevation. With an odd number of waves over two turns, the camera
#: looks from above in one turn where it looked from below in the other.
NUM_TURNS = 2
NUM_WAVES = 3
LOOK_AT = np.array([0.0, 0.0, 0.45])
#: Standard deviation of the error of initial points: world units, and levels of 255.
POINT_NOISE, COLOR_NOISE = 0.006, 6.0
#: Smallest number of initial points that are sampled in one view.
_MIN_POINTS_PER_VIEW = 8


def write_procedural(
    folder: Path, name: str, settings: Procedural, background: tuple[float, float, float], events: EventLog
) -> None:
    """Write ``images/*.png`` and ``sparse/0/*.txt`` into ``folder``.

    Args:
        name: of the layout, a key of ``LAYOUTS``.
        settings: all but the layout.
        background: display colour behind the scene, in [0, 1].
    """
    layout = LAYOUTS[name](settings.seed)
    rng = np.random.default_rng([settings.seed, 1])
    poses = camera_path(settings.num_views, rng)
    intrinsics = _intrinsics(settings)
    (folder / "images").mkdir(parents=True)
    images, points, colors = [], [], []
    quotas = np.diff(np.linspace(0, settings.num_points, settings.num_views + 1).astype(int))
    for number, (pose, quota) in enumerate(zip(poses, quotas, strict=True)):
        file = f"{name}_{number:03d}.png"
        pixels = render_solids(
            layout.solids, layout.materials, SUN, background, pose, intrinsics, settings.width, settings.height
        )
        levels = np.rint(pixels * 255.0).astype(np.uint8)
        Image.fromarray(levels).save(folder / "images" / file)
        xyz, rgb = _sample_points(layout, levels, pose, intrinsics, int(quota), rng)
        points.append(xyz)
        colors.append(rgb)
        w, x, y, z = quaternion_of(pose[:3, :3]).tolist()
        tx, ty, tz = pose[:3, 3].tolist()
        images.append(ColmapImage(number + 1, (w, x, y, z), (tx, ty, tz), 1, file))
        events.progress(number + 1, settings.num_views)
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    camera = ColmapCamera(1, "PINHOLE", settings.width, settings.height, (fx, fy, cx, cy))
    write_text_model(folder / "sparse/0", [camera], images, PointCloud(np.concatenate(points), np.concatenate(colors)))


def camera_path(num_views: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return world-to-camera transforms ``[V, 4, 4]``: two turns about the scene, at varying height, with jitter."""
    poses = np.empty((num_views, 4, 4))
    low, high = ELEVATIONS
    for number in range(num_views):
        share = number / num_views
        angle = 2 * math.pi * NUM_TURNS * share + rng.normal(0.0, 0.03)
        wave = 0.5 - 0.5 * math.cos(2 * math.pi * NUM_WAVES * share)
        elevation = low + (high - low) * wave + rng.normal(0.0, 0.02)
        distance = DISTANCE * rng.uniform(0.92, 1.04)
        target = LOOK_AT + rng.normal(0.0, 0.06, 3)
        outward = np.array(
            [math.cos(elevation) * math.cos(angle), math.cos(elevation) * math.sin(angle), math.sin(elevation)]
        )
        poses[number] = look_at(LOOK_AT + distance * outward, target)
    return poses


def look_at(center: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the world-to-camera transform ``[4, 4]`` (OpenCV axes) of an upright camera."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ center
    return pose


def _intrinsics(settings: Procedural) -> NDArray[np.float64]:
    focal = 0.5 * settings.width / math.tan(0.5 * FIELD_OF_VIEW)
    return np.array([[focal, 0.0, settings.width / 2], [0.0, focal, settings.height / 2], [0.0, 0.0, 1.0]])


def _sample_points(
    layout: Layout,
    image: NDArray[np.uint8],
    pose: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    num_points: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Sample surface points under random pixels, with noise in place and colour as structure from motion leaves it."""
    rotation, center = pose[:3, :3], -pose[:3, :3].T @ pose[:3, 3]
    hits: list[NDArray[np.float64]] = []
    colors: list[NDArray[np.float64]] = []
    missing = num_points
    while missing > 0:
        draws = 2 * missing + _MIN_POINTS_PER_VIEW
        pixel = rng.uniform([0.0, 0.0], [image.shape[1], image.shape[0]], (draws, 2))
        rays = np.concatenate([(pixel - intrinsics[:2, 2]) / np.diag(intrinsics)[:2], np.ones((draws, 1))], axis=1)
        rays = rays @ rotation
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        distance = trace_rays(layout.solids, center, rays)
        hit = np.flatnonzero(distance > 0)[:missing]
        hits.append(center + distance[hit, None] * rays[hit])
        column, row = pixel[hit].astype(int).T
        colors.append(image[row, column].astype(np.float64))
        missing -= len(hit)
    xyz = np.concatenate(hits) if hits else np.empty((0, 3))
    rgb = np.concatenate(colors) if colors else np.empty((0, 3))
    xyz = xyz + rng.normal(0.0, POINT_NOISE, xyz.shape)
    rgb = np.clip(np.rint(rgb + rng.normal(0.0, COLOR_NOISE, rgb.shape)), 0, 255)
    return xyz, rgb.astype(np.uint8)
