"""Captures with ``transforms*.json``: Blender scripts (Synthetic-NeRF and similar datasets), instant-ngp, nerfstudio.

Owns the files: frames, splits, and the points that come with them. Poses are camera-to-world with OpenGL axes. Does not
own cameras of frames (``blender_camera``), compositing or resizing.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from hemgs.core.errors import SceneError
from hemgs.core.types import Split
from hemgs.data.capture import (
    Capture,
    PointCloud,
    SourceView,
    check_camera,
    check_images_exist,
    name_list,
    path_inside,
    view_names,
)
from hemgs.data.images import image_size
from hemgs.data.readers.blender_camera import LensError, frame_camera
from hemgs.data.readers.files import read_text
from hemgs.data.readers.point_ply import read_ply_points

#: Suffixes that are tried, in this order, if a frame's path has none.
SUFFIXES = (".png", ".jpg", ".jpeg", ".JPG", ".PNG")
#: Points that are read where no file names any: of nerfstudio, and of 3DGS in two spellings.
POINT_FILES = ("sparse_pc.ply", "points3D.ply", "points3d.ply")
_SPLIT_FILES: tuple[tuple[str, Split], ...] = (("transforms_train.json", "train"), ("transforms_test.json", "test"))
_UNSPLIT_FILE = "transforms.json"
#: Lists of images in ``transforms.json`` (nerfstudio). Where there is no list of test views, that of validation serves.
_TRAIN_LIST, _TEST_LISTS = "train_filenames", ("test_filenames", "val_filenames")
_POINTS_KEY, _MASK_KEY = "ply_file_path", "mask_path"
_FIX_MASK = "put the masks back, or set source.masks to null to ignore them"
_FIX_LENS = "undistort the images and export the capture again"


@dataclass(frozen=True)
class _Transforms:
    """One transforms file.

    Attributes:
        split: the split that the file's name declares.
    """

    root: Path
    path: Path
    record: Mapping[str, Any]
    split: Split | None


def read_blender(
    root: Path, split_kind: str = "files", *, with_points: bool = False, with_masks: bool = True
) -> Capture:
    """Read ``transforms_train.json`` and ``transforms_test.json``, or ``transforms.json``.

    Args:
        root: the capture's folder.
        split_kind: with ``files``, the two files or lists in ``transforms.json`` declare the split, and views in
            neither are left out. With ``every_nth``, any one of the files is enough.
        with_points: whether to read points too: those that a file names, else one of :data:`POINT_FILES`.
        with_masks: whether views have the masks that their frames name.

    Raises:
        SceneError: a file is missing or damaged, an image is missing, or a pose or lens cannot be used.
    """
    files = _transforms(root, split_kind)
    views = [view for file in files for view in _read_frames(file, with_masks)]
    if split_kind == "files" and files[0].split is None:
        splits = _listed_splits(files[0], {view.image for view in views})
        views = [replace(view, split=splits[view.image]) for view in views if view.image in splits]
    _check_distinct(views, root)
    views.sort(key=lambda view: view.camera.name)
    points = _points(root, files) if with_points else None
    if points is None:
        return Capture(root, tuple(views))
    return Capture(root, tuple(views), points.xyz, points.rgb)


def _transforms(root: Path, split_kind: str) -> list[_Transforms]:
    found = [(root / name, split) for name, split in _SPLIT_FILES if (root / name).is_file()]
    unsplit = root / _UNSPLIT_FILE
    if len(found) < len(_SPLIT_FILES) and split_kind == "files":
        record = _read_record(unsplit) if unsplit.is_file() else {}
        if _TRAIN_LIST in record:
            return [_Transforms(root, unsplit, record, None)]
        missing = next(name for name, _ in _SPLIT_FILES if not (root / name).is_file())
        raise SceneError(
            f"{root} has no {missing}, which the split by files needs, and no {_UNSPLIT_FILE} with {_TRAIN_LIST}",
            "add it, or set protocol.split to {kind: every_nth, n: 8}",
        )
    if found:
        return [_Transforms(root, path, _read_record(path), split) for path, split in found]
    if unsplit.is_file():
        return [_Transforms(root, unsplit, _read_record(unsplit), None)]
    raise SceneError(f"{root} has no transforms_train.json, transforms_test.json or transforms.json", "check the path")


def _read_record(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(read_text(path, "save it as UTF-8"))
    except (ValueError, RecursionError) as fault:
        raise _not_transforms(path, fault) from fault
    if not isinstance(record, dict):
        raise _not_transforms(path, TypeError("it is no mapping"))
    return record


def _read_frames(file: _Transforms, with_masks: bool) -> list[SourceView]:
    try:
        frames = file.record["frames"]
        images = [_image_file(file, str(frame["file_path"])) for frame in frames]
    except (ValueError, KeyError, TypeError) as fault:
        raise _not_transforms(file.path, fault) from fault
    check_images_exist(images, file.path, "put the images back, or remove their frames")
    names = view_names([image.relative_to(file.root).as_posix() for image in images])
    views = []
    for name, image, frame in zip(names, images, frames, strict=True):
        where = f"{file.path}: frame {frame['file_path']!r} cannot be used"
        try:
            camera = frame_camera(name, {**file.record, **frame}, lambda image=image: image_size(image))  # type: ignore[misc]
        except LensError as fault:
            raise SceneError(f"{where} ({fault})", _FIX_LENS) from fault
        except (ValueError, KeyError, TypeError, OverflowError) as fault:
            raise SceneError(f"{where} ({_reason(fault)})", "export it again") from fault
        mask = _mask_file(file, {**file.record, **frame}.get(_MASK_KEY)) if with_masks else None
        views.append(SourceView(check_camera(camera, file.path), image, file.split, mask))
    check_images_exist([view.mask for view in views if view.mask], file.path, _FIX_MASK)
    return views


def _mask_file(file: _Transforms, name: Any) -> Path | None:
    return path_inside(file.root, str(name), file.path, _path_fix(file, str(name))) if name else None


def _listed_splits(file: _Transforms, images: set[Path]) -> dict[Path, Split]:
    """Return the split of each image that the lists of a file contain."""
    test_list = next((key for key in _TEST_LISTS if file.record.get(key)), _TEST_LISTS[0])
    splits: dict[Path, Split] = {}
    lists: tuple[tuple[str, Split], ...] = ((_TRAIN_LIST, "train"), (test_list, "test"))
    for key, split in lists:
        names = file.record.get(key) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _not_transforms(file.path, TypeError(f"{key} is no list of names"))
        listed = {_image_file(file, name): name for name in names}
        unknown = [name for image, name in listed.items() if image not in images]
        if unknown:
            raise SceneError(
                f"{file.path}: {key} lists {name_list(unknown)}, which no frame uses", f"correct {key}, or add frames"
            )
        both = [name for image, name in listed.items() if image in splits]
        if both:
            raise SceneError(f"{file.path} lists {name_list(both)} in both splits", f"remove them from {key}")
        splits |= dict.fromkeys(listed, split)
    return splits


def _points(root: Path, files: Sequence[_Transforms]) -> PointCloud | None:
    """Read the points that a file names, or those next to the files; return ``None`` if there are none."""
    for file in files:
        name = file.record.get(_POINTS_KEY)
        if name:
            return read_ply_points(path_inside(root, str(name), file.path, f"copy the points into {root}"))
    paths = (root / name for name in POINT_FILES)
    return next((read_ply_points(path) for path in paths if path.is_file()), None)


def _image_file(file: _Transforms, name: str) -> Path:
    """Return the image file that a frame or a list names, with or without its suffix."""
    image = path_inside(file.root, name, file.path, _path_fix(file, name))
    candidates = (image, *(image.with_name(image.name + suffix) for suffix in SUFFIXES))
    return next((candidate for candidate in candidates if candidate.is_file()), image)


def _path_fix(file: _Transforms, name: str) -> str:
    """Return what helps where a file names an image outside of the capture, as instant-ngp's converter does."""
    num_up = PurePosixPath(posixpath.normpath(name.replace("\\", "/"))).parts.count("..")
    above = file.root.absolute().parents
    if not 0 < num_up <= len(above):
        return f"write the paths in {file.path.name} relative to {file.root}, and copy the images there"
    return (
        f"move {file.path.name} to {above[num_up - 1]}, remove the leading {'../' * num_up} from its paths, and set "
        "the scene's path to that folder"
    )


def _check_distinct(views: list[SourceView], root: Path) -> None:
    names = [view.camera.name for view in views]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise SceneError(
            f"{root} uses the image {repeated[0]!r} more than once, or in both splits", "list every image exactly once"
        )


def _not_transforms(path: Path, fault: BaseException) -> SceneError:
    return SceneError(f"{path} is not a transforms file ({_reason(fault)})", "export it again")


def _reason(fault: BaseException) -> str:
    return f"key {fault} is missing" if isinstance(fault, KeyError) else str(fault)
