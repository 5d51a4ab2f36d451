"""A small scene that can be learned: a coloured ball of Gaussians seen from a ring of cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hemgs.core.types import Camera, Scene, Split, View
from hemgs.render import render_view

WIDTH, HEIGHT = 40, 32
NUM_POINTS = 150


def ring_camera(name: str, angle: float, distance: float = 4.0) -> Camera:
    """A camera that looks at the origin from the horizontal ring."""
    center = np.array([distance * np.sin(angle), -0.5, -distance * np.cos(angle)])
    forward = -center / np.linalg.norm(center)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ center
    return Camera(name, WIDTH, HEIGHT, 40.0, 40.0, WIDTH / 2, HEIGHT / 2, pose)


def ball_scene(num_views: int = 6) -> Scene:
    """Views of ``NUM_POINTS`` opaque Gaussians on the unit sphere, coloured by position; two are for testing."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(NUM_POINTS, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    means = torch.from_numpy(points).float()
    colors = 0.5 + 0.5 * torch.sin(3.0 * means)
    quats = torch.zeros(NUM_POINTS, 4)
    quats[:, 0] = 1.0
    images: dict[str, NDArray[np.float32]] = {}
    views = []
    for index in range(num_views):
        camera = ring_camera(f"view_{index:02d}", 2.0 * np.pi * index / num_views)
        image = render_view(
            means,
            quats,
            torch.full((NUM_POINTS, 3), 0.12),
            torch.full((NUM_POINTS,), 0.95),
            colors,
            camera,
            torch.zeros(3),
        ).image
        images[camera.name] = image.clamp(0.0, 1.0).numpy().copy()
        split: Split = "test" if index % 3 == 0 else "train"
        views.append(View(camera, f"images/{camera.name}.png", split, ""))
    return Scene(
        root=Path("ball"),
        dataset="unit",
        scene="ball",
        views=tuple(views),
        points=points.astype(np.float32),
        point_colors=(255 * colors.numpy()).astype(np.uint8),
        background=(0.0, 0.0, 0.0),
        protocol={},
        hash="ball",
        read_image=lambda view: images[view.name],
    )
