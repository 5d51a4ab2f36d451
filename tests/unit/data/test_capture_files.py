"""Faults that every capture format shares: encodings, pointers, paths, suffixes, poses, and images on their side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hemgs.core.errors import SceneError
from hemgs.core.events import EventLog
from hemgs.core.types import Scene
from hemgs.data.capture import path_inside
from hemgs.data.prepare import prepare_scene
from hemgs.data.readers.blender import read_blender
from hemgs.data.readers.colmap import read_colmap
from tests.unit.data.capture_builders import (
    blender_capture,
    blender_pose,
    colmap_capture,
    dataset,
    same_views,
)

BOM = b"\xef\xbb\xbf"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 123456\n"


def run(config: dict[str, Any], out: Path) -> Scene:
    return prepare_scene(config, "thing", out, events=EventLog())


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", ["cameras.txt", "images.txt", "points3D.txt"])
def test_colmap_text_may_have_a_byte_order_mark(tmp_path: Path, name: str, line_end: bytes) -> None:
    before = read_colmap(colmap_capture(tmp_path))
    path = tmp_path / "sparse/0" / name
    path.write_bytes(BOM + path.read_bytes().replace(b"\n", line_end))
    after = read_colmap(tmp_path)
    assert same_views(before, after)
    np.testing.assert_array_equal(before.points, after.points)


@pytest.mark.parametrize("name", ["transforms_train.json", "transforms_test.json"])
def test_transforms_may_have_a_byte_order_mark(tmp_path: Path, name: str) -> None:
    before = read_blender(blender_capture(tmp_path))
    (tmp_path / name).write_bytes(BOM + (tmp_path / name).read_bytes())
    assert same_views(before, read_blender(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-16", "gbk"])
def test_text_in_another_encoding_says_so(tmp_path: Path, encoding: str) -> None:
    path = colmap_capture(tmp_path) / "sparse/0/images.txt"
    path.write_bytes(path.read_text().replace("view_03", "照片_03").encode(encoding))
    with pytest.raises(SceneError, match=r"images\.txt is not a text file in UTF-8.*save it as UTF-8.*ASCII"):
        read_colmap(tmp_path)
    path = blender_capture(tmp_path) / "transforms_test.json"
    path.write_bytes(json.dumps({"frames": [], "title": "照片"}, ensure_ascii=False).encode(encoding))
    with pytest.raises(SceneError, match=r"transforms_test\.json is not a text file in UTF-8.*save it as UTF-8"):
        read_blender(tmp_path)


def test_names_in_a_code_page_get_a_fix_that_helps(tmp_path: Path) -> None:
    path = colmap_capture(tmp_path, binary=True) / "sparse/0/images.bin"
    path.write_bytes(path.read_bytes().replace(b"view_03.png", "照片_03".encode("gbk") + b"a.png"))
    with pytest.raises(SceneError, match=r"images\.bin contains the image name .*_03a\.png.*not UTF-8.*plain ASCII"):
        read_colmap(tmp_path)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("stem", ["cameras", "images", "points3D"])
def test_models_that_are_git_lfs_pointers(tmp_path: Path, stem: str, binary: bool) -> None:
    name = f"{stem}.{'bin' if binary else 'txt'}"
    (colmap_capture(tmp_path, binary=binary) / "sparse/0" / name).write_text(LFS)
    with pytest.raises(SceneError, match=rf"{name} is a Git LFS pointer, not the file itself.*git lfs pull"):
        read_colmap(tmp_path)


def test_transforms_that_are_a_git_lfs_pointer(tmp_path: Path) -> None:
    (blender_capture(tmp_path) / "transforms_train.json").write_text(LFS)
    with pytest.raises(SceneError, match=r"transforms_train\.json is a Git LFS pointer"):
        read_blender(tmp_path)


def test_a_model_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colmap_capture(tmp_path)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SceneError, match=r"cameras\.txt cannot be read \(Permission denied\)"):
        read_colmap(tmp_path)


# Paths


@pytest.mark.parametrize("name", ["images/a.png", "./images/a.png", "images\\a.png", "x/../images/a.png"])
def test_relative_paths(tmp_path: Path, name: str) -> None:
    assert path_inside(tmp_path, name, Path("t.json"), "fix") == tmp_path / "images/a.png"


def test_absolute_paths_inside_are_taken_also_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    wanted = tmp_path / "link/images/a.png"
    for name in ("link/images/a.png", "disk/images/a.png"):
        assert path_inside(tmp_path / "link", str(tmp_path / name), Path("t.json"), "fix") == wanted
    monkeypatch.chdir(tmp_path)
    assert path_inside(Path("link"), str(tmp_path / "link/a.png"), Path("t.json"), "fix") == Path("link/a.png")


@pytest.mark.parametrize("name", ["/etc/passwd", "C:\\photos\\a.png", "D:/a.png", "/", "{root}2/a.png", "{root}/../a"])
def test_absolute_paths_outside_are_refused_as_absolute(tmp_path: Path, name: str) -> None:
    with pytest.raises(SceneError, match=r"t\.json names the absolute path .* lies outside .*some fix"):
        path_inside(tmp_path / "cap", name.format(root=tmp_path / "cap"), Path("t.json"), "some fix")


@pytest.mark.parametrize("name", ["..", "../a.png", "a/../../b.png", "..\\a.png", "a\0.png"])
def test_relative_paths_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SceneError, match="names the file .* lies outside"):
        path_inside(tmp_path, name, Path("t.json"), "fix")


def edit_paths(root: Path, prefix: str) -> None:
    for path in root.glob("transforms_*.json"):
        record = json.loads(path.read_text())
        for frame in record["frames"]:
            frame["file_path"] = prefix + frame["file_path"].removeprefix("./")
        path.write_text(json.dumps(record))


def test_transforms_with_absolute_paths_give_the_same_scene(tmp_path: Path) -> None:
    before = read_blender(blender_capture(tmp_path))
    edit_paths(tmp_path, f"{tmp_path}/")
    assert same_views(before, read_blender(tmp_path))


def test_transforms_with_parent_paths_say_where_to_move_the_file(tmp_path: Path) -> None:
    blender_capture(tmp_path)
    edit_paths(tmp_path, "../../")
    folder = tmp_path / "ngp/run"
    folder.mkdir(parents=True)
    for path in tmp_path.glob("transforms_*.json"):
        path.rename(folder / path.name)
    with pytest.raises(SceneError) as fault:
        read_blender(folder)
    assert f"move transforms_train.json to {tmp_path}, remove the leading ../../ from its paths" in str(fault.value)


# Suffixes


@pytest.mark.parametrize("suffix", [".jpg", ".PNG"])
def test_images_that_were_converted_are_found_by_name(tmp_path: Path, suffix: str) -> None:
    colmap_capture(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(suffix))
    with pytest.raises(SceneError) as fault:
        read_colmap(tmp_path)
    assert "names 9 of 9 images that do not exist" in str(fault.value)
    assert f"the suffix {suffix} are there — write the suffix {suffix} into images.txt" in str(fault.value)


def test_frames_without_suffix_find_other_formats(tmp_path: Path) -> None:
    blender_capture(tmp_path)
    for path in (tmp_path / "train").iterdir():
        path.rename(path.with_suffix(".webp"))
    with pytest.raises(SceneError, match=r"the suffix \.webp are there"):
        read_blender(tmp_path)


# Poses


def edit_poses(root: Path, last_row: list[float]) -> None:
    path = root / "transforms_train.json"
    record = json.loads(path.read_text())
    for index, frame in enumerate(record["frames"]):
        frame["transform_matrix"] = [*blender_pose(index)[:3], last_row]
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("row", [[0.0, 1.4e-17, 0.0, 0.9999999999999998], [-1e-7, 0.0, 1e-7, 1.0000001]])
def test_a_last_row_that_was_rounded_is_exact_afterwards(tmp_path: Path, row: list[float]) -> None:
    before = read_blender(blender_capture(tmp_path))
    edit_poses(tmp_path, row)
    after = read_blender(tmp_path)
    assert same_views(before, after)
    assert all(view.camera.world_to_camera[3].tolist() == [0, 0, 0, 1] for view in after.views)


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0, 1.01], [0.01, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
def test_another_last_row_is_refused(tmp_path: Path, row: list[float]) -> None:
    blender_capture(tmp_path)
    edit_poses(tmp_path, row)
    with pytest.raises(SceneError, match="not a rotation and a translation"):
        read_blender(tmp_path)


# Images on their side


def turned_capture(root: Path, tag: int | None, *, lying: bool) -> Path:
    """A capture whose images have an orientation tag; ``lying`` swaps their sides."""
    colmap_capture(root)
    exif = Image.Exif()
    if tag is not None:
        exif[0x0112] = tag
    for path in (root / "images").iterdir():
        image = Image.open(path)
        (image.transpose(Image.Transpose.ROTATE_90) if lying else image).save(path, exif=exif)
    return root


@pytest.mark.parametrize("tag", range(1, 9))
def test_images_lying_on_their_side_are_named_with_their_tag(tmp_path: Path, tag: int) -> None:
    config = dataset("colmap", turned_capture(tmp_path / "capture", tag, lying=True))
    said = f"has the orientation tag {tag}, which is not applied" if tag > 1 else "has no orientation tag"
    for resized in (False, True):
        config["source"]["resized_images"] = resized
        with pytest.raises(
            SceneError, match=f"is 36x48, but its camera has 48x36: width.*swapped.*{said}.*auto-orient"
        ):
            run(config, tmp_path / "out")


@pytest.mark.parametrize("tag", [None, *range(1, 9)])
def test_pixels_as_stored_are_used_where_the_camera_fits_them(tmp_path: Path, tag: int | None) -> None:
    plain = run(dataset("colmap", colmap_capture(tmp_path / "plain")), tmp_path / "a")
    tagged = run(dataset("colmap", turned_capture(tmp_path / "capture", tag, lying=False)), tmp_path / "b")
    assert plain.hash == tagged.hash
