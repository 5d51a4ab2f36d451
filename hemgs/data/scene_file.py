"""The form of a prepared scene on disk: names in its folder, fields of ``scene.json``, and its hash.

Owns what ``prepare`` writes and ``loader`` reads back. Does not own how the contents came about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemgs.core.types import Camera, Split

FORMAT_VERSION = 1
SCENE_FILE = "scene.json"
POINTS_FILE = "points.npz"
IMAGES_FOLDER = "images"
#: All that a prepared folder may hold; the last is what Snakemake leaves in a folder that is an output.
OWN_NAMES = frozenset({SCENE_FILE, POINTS_FILE, IMAGES_FOLDER, ".snakemake_timestamp"})


@dataclass(frozen=True)
class PreparedView:
    """A view as ``scene.json`` lists it.

    Attributes:
        sha256: of the image file.
        pixels_sha256: of its size and decoded pixels, the same for every encoder of PNG.
    """

    camera: Camera
    file: str
    split: Split
    sha256: str
    pixels_sha256: str

    def as_json(self) -> dict[str, Any]:
        """As an entry of ``views``."""
        camera = self.camera
        return {
            "name": camera.name,
            "file": self.file,
            "split": self.split,
            "width": camera.width,
            "height": camera.height,
            "fx": camera.fx,
            "fy": camera.fy,
            "cx": camera.cx,
            "cy": camera.cy,
            "world_to_camera": camera.world_to_camera.tolist(),
            "sha256": self.sha256,
            "pixels_sha256": self.pixels_sha256,
        }


def pixels_digest(image: NDArray[np.uint8]) -> str:
    """Hex SHA-256 of ``[H, W, 3] uint8`` with its size."""
    digest = hashlib.sha256(f"{image.shape[1]}x{image.shape[0]}:".encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def scene_hash(
    views: Iterable[PreparedView],
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    background: tuple[float, float, float],
) -> str:
    """Hex SHA-256 of all that training and measuring see: names, pixels, cameras, split, points, background.

    Independent of where the scene lies, what it is called, and how its images are encoded.
    """
    digest = hashlib.sha256()
    for view in views:
        record = view.as_json()
        for varying in ("file", "sha256"):
            del record[varying]
        digest.update(json.dumps(record, sort_keys=True).encode())
    digest.update(json.dumps([len(points), list(background)]).encode())
    digest.update(np.ascontiguousarray(points, "<f4").tobytes())
    digest.update(np.ascontiguousarray(colors, np.uint8).tobytes())
    return digest.hexdigest()
