"""Small captures for the tests of hemgs.data, and an independent writer of binary COLMAP models."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hemgs.config.dataset import EveryNth, Protocol
from hemgs.data.capture import Capture, PointCloud
from hemgs.data.readers.colmap_model import ColmapCamera, ColmapImage, write_text_model

WIDTH, HEIGHT = 48, 36
CAMERA = ColmapCamera(1, "PINHOLE", WIDTH, HEIGHT, (40.0, 42.0, 23.0, 19.0))
MODEL_NUMBERS = {
    "SIMPLE_PINHOLE": 0,
    "PINHOLE": 1,
    "SIMPLE_RADIAL": 2,
    "RADIAL": 3,
    "OPENCV": 4,
    "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6,
    "FOV": 7,
    "SIMPLE_RADIAL_FISHEYE": 8,
    "RADIAL_FISHEYE": 9,
    "THIN_PRISM_FISHEYE": 10,
    "EQUIRECTANGULAR": 99,
}


def ring_of_images(num_views: int = 9, camera_id: int = 1) -> list[ColmapImage]:
    """Cameras turned about the y axis by equal steps."""
    images = []
    for index in range(num_views):
        half = np.pi * index / num_views
        quaternion = (float(np.cos(half)), 0.0, float(np.sin(half)), 0.0)
        images.append(ColmapImage(index + 1, quaternion, (0.1 * index, -0.2, 3.0), camera_id, f"view_{index:02d}.png"))
    return images


def some_points(num_points: int = 30) -> PointCloud:
    rng = np.random.default_rng(5)
    return PointCloud(rng.normal(size=(num_points, 3)), rng.integers(0, 256, (num_points, 3)).astype(np.uint8))


def write_binary_model(
    folder: Path,
    cameras: list[ColmapCamera],
    images: list[ColmapImage],
    points: PointCloud,
    num_observations: int = 2,
    track_length: int = 3,
) -> None:
    """Follows https://colmap.github.io/format.html; observations and tracks are filled with arbitrary numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    data = struct.pack("<Q", len(cameras))
    for camera in cameras:
        data += struct.pack("<iiQQ", camera.id, MODEL_NUMBERS[camera.model], camera.width, camera.height)
        data += np.array(camera.params, "<f8").tobytes()
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(images))
    for image in images:
        data += struct.pack("<i4d3di", image.id, *image.quaternion, *image.translation, image.camera_id)
        data += image.name.encode() + b"\0" + struct.pack("<Q", num_observations)
        data += struct.pack("<ddq", 1.5, 2.5, -1) * num_observations
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points.xyz))
    for row, (xyz, rgb) in enumerate(zip(points.xyz, points.rgb, strict=True)):
        data += struct.pack("<Q3d3BdQ", row, *xyz, *rgb, 0.25, track_length) + struct.pack("<ii", 1, 2) * track_length
    (folder / "points3D.bin").write_bytes(data)


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (WIDTH, HEIGHT), mode: str = "RGB") -> None:
    """Images of coloured noise, different from each other."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        levels = rng.integers(0, 256, (size[1], size[0], len(mode)), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels, mode).save(folder / name)


def colmap_capture(root: Path, num_views: int = 9, *, binary: bool = False) -> Path:
    images = ring_of_images(num_views)
    write_images(root / "images", [image.name for image in images])
    write = write_binary_model if binary else write_text_model
    write(root / "sparse/0", [CAMERA], images, some_points())
    return root


def blender_capture(root: Path, num_train: int = 6, num_test: int = 4) -> Path:
    for split, count in (("train", num_train), ("test", num_test)):
        write_images(root / split, [f"r_{index}.png" for index in range(count)], mode="RGBA")
        frames = [
            {"file_path": f"./{split}/r_{index}", "transform_matrix": blender_pose(index)} for index in range(count)
        ]
        (root / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": 0.8, "frames": frames}))
    return root


def blender_pose(index: int) -> list[list[float]]:
    """Camera-to-world, OpenGL axes: four units back on its own z axis, turned about the world's z axis."""
    angle = 0.3 * index
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    pose = np.eye(4)
    pose[:3, :3] = rotation @ np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    pose[:3, 3] = 4.0 * pose[:3, 2]
    return pose.tolist()


def dataset(kind: str, local: Path | str | None, **sections: Any) -> dict[str, Any]:
    """A dataset's mapping with one scene ``thing`` in the folder ``local``."""
    source = {"kind": kind} | ({} if local is None else {"local": str(local)}) | sections.pop("source", {})
    split = {"kind": "files"} if kind == "blender" else {"kind": "every_nth", "n": 4}
    points = {"kind": "random", "num_points": 50, "low": -1.0, "high": 1.0} if kind == "blender" else {"kind": "sfm"}
    return {
        "id": "toy",
        "label": "Toy",
        "source": source,
        "protocol": {"max_width": None, "split": split, "background": [0, 0, 0]} | sections.pop("protocol", {}),
        "initial_points": points,
        "scenes": {"thing": {"path": "."}},
        **sections,
    }


def protocol(**keys: Any) -> Protocol:
    """A protocol that changes only what ``keys`` contain."""
    defaults = {"max_width": None, "split": EveryNth(kind="every_nth", n=8), "background": (0.0, 0.0, 0.0)}
    return Protocol(**{**defaults, **keys})


def same_views(first: Capture, second: Capture) -> bool:
    """Whether two captures have the same cameras, to the bit, in the same splits."""
    pairs = zip(first.views, second.views, strict=True)
    return all(
        repr(dataclasses.astuple(a.camera)) == repr(dataclasses.astuple(b.camera)) and a.split == b.split
        for a, b in pairs
    )
