"""The file format of a prepared scene: names in its folder, fields of ``scene.json``, and its hash.

Owns what ``prepare`` writes and ``loader`` reads back, and cameras in JSON. Does not own how the contents are made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hemgs.core.reading import Entry, Section
from hemgs.core.types import Camera, MaskFile, Split, View
from hemgs.data.capture import check_camera

FORMAT_VERSION = 1
SCENE_FILE = "scene.json"
POINTS_FILE = "points.npz"
IMAGES_FOLDER = "images"
MASKS_FOLDER = "masks"
#: All that a prepared folder may contain. Snakemake leaves the last in a folder that is an output.
OWN_NAMES = frozenset({SCENE_FILE, POINTS_FILE, IMAGES_FOLDER, MASKS_FOLDER, ".snakemake_timestamp"})

_Row = Annotated[list[float], Field(min_length=4, max_length=4)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class CameraEntry(Section):
    """A camera in JSON; keys as in :class:`hemgs.core.types.Camera`."""

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    world_to_camera: Annotated[list[_Row], Field(min_length=4, max_length=4)]

    def camera(self, source: Path) -> Camera:
        """Return the camera; raise SceneError, which names ``source``, if its values are not those of a camera."""
        pose = np.array(self.world_to_camera, np.float64)
        return check_camera(
            Camera(self.name, self.width, self.height, self.fx, self.fy, self.cx, self.cy, pose), source
        )


class MaskEntry(Section):
    """The mask of a view; keys as in :class:`hemgs.core.types.MaskFile`."""

    file: str
    sha256: str
    pixels_sha256: str


class ViewEntry(CameraEntry):
    """An entry of ``views`` in ``scene.json``; keys as in :class:`PreparedView`."""

    file: str
    split: Split
    sha256: str
    pixels_sha256: str
    mask: MaskEntry | None = None

    def view(self, source: Path) -> PreparedView:
        """Return the view; raise SceneError, which names ``source``, if its camera cannot be used."""
        mask = None if self.mask is None else MaskFile(**self.mask.model_dump())
        return PreparedView(self.camera(source), self.file, self.split, self.sha256, self.pixels_sha256, mask=mask)


class SceneEntry(Entry):
    """``scene.json``, as far as programs read it."""

    dataset: str
    scene: str
    hash: str
    protocol: Mapping[str, Any]
    background: tuple[_Finite, _Finite, _Finite]
    views: tuple[ViewEntry, ...]


@dataclass(frozen=True)
class PreparedView(View):
    """A view as ``scene.json`` lists it.

    Attributes:
        pixels_sha256: checksum of its size and decoded pixels, which no encoder of PNG changes, in hex.
    """

    pixels_sha256: str

    def as_json(self) -> dict[str, Any]:
        """Return the entry of ``views`` in ``scene.json``; only views with a mask have its key."""
        camera = self.camera
        mask = {} if self.mask is None else {"mask": asdict(self.mask)}
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
            **mask,
        }


def pixels_digest(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256, in hex, of an image ``[H, W, 3] uint8`` (or a mask, ``[H, W]``) and its size."""
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

    It covers names, pixels, masks, cameras, splits, points and background. It does not depend on the folder or the name
    of the scene, nor on the encoding of its images.
    """
    digest = hashlib.sha256()
    for view in views:
        record = view.as_json()
        for entry in (record, record.get("mask", {})):
            for varying in ("file", "sha256"):
                entry.pop(varying, None)
        digest.update(json.dumps(record, sort_keys=True).encode())
    digest.update(json.dumps([len(points), list(background)]).encode())
    digest.update(np.ascontiguousarray(points, "<f4").tobytes())
    digest.update(np.ascontiguousarray(colors, np.uint8).tobytes())
    return digest.hexdigest()
