"""The file format of a prepared scene: names in its folder, fields of ``scene.json``, and its hash.

Owns what ``prepare`` writes and ``loader`` reads back. Does not own how the contents are made.
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
#: All that a prepared folder may contain. Snakemake leaves the last in a folder that is an output.
OWN_NAMES = frozenset({SCENE_FILE, POINTS_FILE, IMAGES_FOLDER, ".snakemake_timestamp"})


@dataclass(frozen=True)
class PreparedView:
    """A view as ``scene.json`` lists it.

    Attributes:
        file: path of the image, relative to the scene's folder.
        sha256: checksum of the image file, in hex.
        pixels_sha256: checksum of its size and decoded pixels, which no encoder of PNG changes, in hex.
    """

    camera: Camera
    file: str
    split: Split
    sha256: str
    pixels_sha256: str

    def as_json(self) -> dict[str, Any]:
        """Return the entry of ``views`` in ``scene.json``."""
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
    """Return the SHA-256, in hex, of an image ``[H, W, 3] uint8`` and its size."""
    digest = hashlib.sha256(f"{image.shape[1]}x{image.shape[0]}:".encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def scene_hash(
    views: Iterable[PreparedView],
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    background: tuple[float, float, float],
) -> str:
    """Return the SHA-256, in hex, of all that training and measuring see.

    It covers names, pixels, cameras, splits, points and background. It does not depend on the folder or the name of the
    scene, nor on the encoding of its images.
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
