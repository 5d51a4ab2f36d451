from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hemgs.core.errors import SceneError
from hemgs.data.readers.blender import read_blender
from tests.unit.data.capture_builders import blender_capture, blender_pose, write_images


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_frame(path: Path, **changes: Any) -> None:
    record = json.loads(path.read_text())
    record["frames"][0] |= changes
    path.write_text(json.dumps(record))


def test_capture(tmp_path: Path) -> None:
    capture = read_blender(blender_capture(tmp_path))
    assert [view.camera.name for view in capture.views] == [f"test_r_{k}" for k in range(4)] + [
        f"train_r_{k}" for k in range(6)
    ]
    assert [view.split for view in capture.views] == ["test"] * 4 + ["train"] * 6
    camera = capture.views[0].camera
    assert camera.fx == pytest.approx(0.5 * 48 / math.tan(0.4))
    assert (camera.fy, camera.cx, camera.cy) == (camera.fx, 24.0, 18.0)
    assert capture.points is None


def test_axes_turn_from_opengl_to_opencv(tmp_path: Path) -> None:
    """The camera stands 4 units back on its own z axis (OpenGL), so it sees the origin 4 units ahead (OpenCV), and
    what OpenGL calls up has a negative y."""
    capture = read_blender(blender_capture(tmp_path))
    for index in range(4):
        camera, opengl = capture.views[index].camera, np.array(blender_pose(index))
        np.testing.assert_allclose(camera.world_to_camera @ [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 4.0, 1.0], atol=1e-12)
        above = np.append(opengl[:3, 1], 1.0)
        np.testing.assert_allclose(camera.world_to_camera @ above, [0.0, -1.0, 4.0, 1.0], atol=1e-12)
        np.testing.assert_allclose(camera.center, opengl[:3, 3], atol=1e-12)


@pytest.mark.parametrize("file_path", ["./train/r_0.png", "train/r_0", "train/../train/r_0.png"])
def test_paths_with_and_without_suffix(tmp_path: Path, file_path: str) -> None:
    edit_frame(blender_capture(tmp_path) / "transforms_train.json", file_path=file_path)
    assert len(read_blender(tmp_path).views) == 10


def test_jpeg_without_suffix(tmp_path: Path) -> None:
    write_images(blender_capture(tmp_path) / "train", ["photo.jpg"])
    edit_frame(tmp_path / "transforms_train.json", file_path="train/photo")
    assert "train_photo" in {view.camera.name for view in read_blender(tmp_path).views}


def test_explicit_intrinsics_win_per_file_and_per_frame(tmp_path: Path) -> None:
    path = blender_capture(tmp_path) / "transforms_train.json"
    edit(path, fl_x=51.0, fl_y=52.0, cx=20.0, cy=17.0, w=48, h=36)
    edit_frame(path, fl_x=61.0)
    cameras = {view.camera.name: view.camera for view in read_blender(tmp_path).views}
    other = cameras["train_r_1"]
    assert (other.fx, other.fy, other.cx, other.cy) == (51.0, 52.0, 20.0, 17.0)
    assert cameras["train_r_0"].fx == 61.0


def test_one_file_will_do_where_the_split_comes_from_the_index(tmp_path: Path) -> None:
    blender_capture(tmp_path)
    (tmp_path / "transforms_test.json").unlink()
    assert len(read_blender(tmp_path, "every_nth").views) == 6
    (tmp_path / "transforms_train.json").rename(tmp_path / "transforms.json")
    assert {view.split for view in read_blender(tmp_path, "every_nth").views} == {None}


@pytest.mark.parametrize("split", ["train", "test"])
def test_split_by_files_needs_both(tmp_path: Path, split: str) -> None:
    (blender_capture(tmp_path) / f"transforms_{split}.json").unlink()
    with pytest.raises(SceneError, match=f"no transforms_{split}.json.*every_nth"):
        read_blender(tmp_path)


def test_folder_without_transforms(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"has no transforms_train.json, transforms_test.json or transforms.json"):
        read_blender(tmp_path, "every_nth")


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.full((4, 4), np.nan), "not finite"),
        (np.diag([1.0, 1.0, np.inf, 1.0]), "not finite"),
        (np.zeros((4, 4)), "not a rotation"),
        (np.diag([2.0, 2.0, 2.0, 1.0]), "not a rotation"),
        (np.diag([-1.0, 1.0, 1.0, 1.0]), "determinant -1"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "not a rotation"),
        (np.eye(3), "shape"),
        ([[1, 0], [0]], "train.json"),
        ("identity", "train.json"),
        (None, "train.json"),
    ],
)
def test_unusable_poses(tmp_path: Path, pose: Any, message: str) -> None:
    path = blender_capture(tmp_path) / "transforms_train.json"
    edit_frame(path, transform_matrix=pose.tolist() if isinstance(pose, np.ndarray) else pose)
    with pytest.raises(SceneError, match=message) as fault:
        read_blender(tmp_path)
    assert "r_0" in str(fault.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_angle_x": 0.0}, "camera_angle_x"),
        ({"camera_angle_x": 4.0}, "camera_angle_x"),
        ({"camera_angle_x": float("nan")}, "camera_angle_x"),
        ({"camera_angle_x": "wide"}, "wide"),
        ({"k1": 0.02}, "k1 = 0.02.*undistort"),
        ({"frames": None}, "not a transforms file"),
        ({"frames": [7]}, "not a transforms file"),
        ({"frames": [{"transform_matrix": blender_pose(0)}]}, "'file_path' is missing"),
    ],
)
def test_unusable_files(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    edit(blender_capture(tmp_path) / "transforms_train.json", **changes)
    with pytest.raises(SceneError, match=message):
        read_blender(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", "[" * 100_000])
def test_files_that_are_not_transforms(tmp_path: Path, text: str) -> None:
    (blender_capture(tmp_path) / "transforms_train.json").write_text(text)
    with pytest.raises(SceneError, match="not a transforms file"):
        read_blender(tmp_path)


def test_missing_images_are_counted(tmp_path: Path) -> None:
    (blender_capture(tmp_path) / "train/r_2.png").unlink()
    with pytest.raises(SceneError, match=r"1 of 6 images that do not exist: .*r_2"):
        read_blender(tmp_path)


def test_images_outside_the_capture_are_refused(tmp_path: Path) -> None:
    edit_frame(blender_capture(tmp_path / "capture") / "transforms_train.json", file_path="../secret")
    with pytest.raises(SceneError, match="outside"):
        read_blender(tmp_path / "capture")


def test_an_image_in_both_splits_is_refused(tmp_path: Path) -> None:
    edit_frame(blender_capture(tmp_path) / "transforms_test.json", file_path="train/r_0")
    with pytest.raises(SceneError, match=r"train_r_0.*more than once"):
        read_blender(tmp_path)


def test_chair(captures: Path) -> None:
    capture = read_blender(captures / "synthetic_chair")
    assert [sum(view.split == split for view in capture.views) for split in ("train", "test")] == [100, 200]
    centers = np.stack([view.camera.center for view in capture.views])
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 4.0311, atol=1e-3)  # all on one sphere about the chair
    for view in capture.views:  # and all look at its centre
        np.testing.assert_allclose(view.camera.world_to_camera[:2, 3], 0.0, atol=1e-5)
        assert view.camera.fx == pytest.approx(1111.111, abs=1e-2)
