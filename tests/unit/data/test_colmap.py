from __future__ import annotations

import contextlib
import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemgs.core.errors import SceneError
from hemgs.data.capture import PointCloud
from hemgs.data.readers.colmap import quaternion_of, read_colmap, rotation_matrix
from hemgs.data.readers.colmap_binary import read_binary_cameras, read_binary_images, read_binary_points
from hemgs.data.readers.colmap_model import (
    ColmapCamera,
    ColmapImage,
    read_text_cameras,
    read_text_images,
    read_text_points,
    write_text_model,
)
from tests.unit.data.capture_builders import (
    CAMERA,
    colmap_capture,
    ring_of_images,
    some_points,
    write_binary_model,
    write_images,
)

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=("C", "Z")), min_size=1)
cameras = st.one_of(
    st.builds(
        ColmapCamera,
        st.integers(0, 2**31 - 1),
        st.just("PINHOLE"),
        st.integers(1, 10**6),
        st.integers(1, 10**6),
        st.tuples(finite, finite, finite, finite),
    ),
    st.builds(
        ColmapCamera,
        st.integers(0, 2**31 - 1),
        st.just("SIMPLE_PINHOLE"),
        st.integers(1, 10**6),
        st.integers(1, 10**6),
        st.tuples(finite, finite, finite),
    ),
)
images = st.builds(
    ColmapImage,
    st.integers(0, 2**31 - 1),
    st.tuples(finite, finite, finite, finite),
    st.tuples(finite, finite, finite),
    st.integers(0, 2**31 - 1),
    names,
)
points = st.lists(st.tuples(finite, finite, finite, *[st.integers(0, 255)] * 3), max_size=5)


@settings(max_examples=40, deadline=None)
@given(st.lists(cameras, unique_by=lambda c: c.id, max_size=4), st.lists(images, max_size=4), points, st.integers(0, 3))
def test_binary_and_text_of_one_model_read_equal(
    tmp_path_factory: pytest.TempPathFactory,
    cameras: list[ColmapCamera],
    images: list[ColmapImage],
    points: list[tuple[float, ...]],
    extra: int,
) -> None:
    folder = tmp_path_factory.mktemp("model")
    rows = np.array(points, np.float64).reshape(-1, 6)
    cloud = PointCloud(rows[:, :3], rows[:, 3:].astype(np.uint8))
    write_text_model(folder, cameras, images, cloud)
    write_binary_model(folder, cameras, images, cloud, num_observations=extra, track_length=extra)

    expected = {camera.id: camera for camera in cameras}
    assert read_text_cameras(folder / "cameras.txt") == expected
    assert read_binary_cameras(folder / "cameras.bin") == expected
    assert read_text_images(folder / "images.txt") == images
    assert read_binary_images(folder / "images.bin") == images
    for read in (read_text_points(folder / "points3D.txt"), read_binary_points(folder / "points3D.bin")):
        np.testing.assert_array_equal(read.xyz, cloud.xyz)
        np.testing.assert_array_equal(read.rgb, cloud.rgb)


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_quaternions_and_rotations_are_inverse(quaternion: tuple[float, ...]) -> None:
    rotation = rotation_matrix(np.array(quaternion))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation_matrix(quaternion_of(rotation)), rotation, atol=1e-12)


def test_quaternion_convention() -> None:
    """A quarter turn about z takes x to y."""
    rotation = rotation_matrix(np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)]))
    np.testing.assert_allclose(rotation @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-15)


@pytest.mark.parametrize("binary", [False, True])
def test_capture(tmp_path: Path, binary: bool) -> None:
    capture = read_colmap(colmap_capture(tmp_path, binary=binary))
    assert [view.camera.name for view in capture.views] == [f"view_{index:02d}" for index in range(9)]
    camera = capture.views[3].camera
    assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (48, 36, 40.0, 42.0, 23.0, 19.0)
    np.testing.assert_allclose(camera.world_to_camera[:3, 3], [0.3, -0.2, 3.0])
    assert capture.points is not None
    np.testing.assert_array_equal(capture.points, some_points().xyz)


def test_images_outside_the_model_are_ignored_and_order_is_by_name(tmp_path: Path) -> None:
    images = list(reversed(ring_of_images()))
    write_text_model(tmp_path / "sparse/0", [CAMERA], images, some_points())
    write_images(tmp_path / "images", [image.name for image in images] + ["not_registered.png"])
    capture = read_colmap(tmp_path)
    assert [view.camera.name for view in capture.views] == sorted(image.name[:-4] for image in images)


def test_simple_pinhole_has_one_focal_length(tmp_path: Path) -> None:
    camera = ColmapCamera(1, "SIMPLE_PINHOLE", 48, 36, (50.0, 24.0, 18.0))
    write_text_model(tmp_path / "sparse/0", [camera], ring_of_images(), some_points())
    write_images(tmp_path / "images", [image.name for image in ring_of_images()])
    view = read_colmap(tmp_path).views[0].camera
    assert (view.fx, view.fy, view.cx, view.cy) == (50.0, 50.0, 24.0, 18.0)


def test_names_in_folders_and_equal_stems(tmp_path: Path) -> None:
    renamed = ["a/0.png", "b/0.png", "c.png", "c.jpg"]
    images = [dataclasses.replace(image, name=name) for image, name in zip(ring_of_images(4), renamed, strict=True)]
    write_text_model(tmp_path / "sparse/0", [CAMERA], images, some_points())
    write_images(tmp_path / "images", renamed)
    capture = read_colmap(tmp_path)
    assert [view.camera.name for view in capture.views] == ["a_0_png", "b_0_png", "c_jpg", "c_png"]
    assert capture.views[1].image == tmp_path / "images/b/0.png"


@pytest.mark.parametrize("binary", [False, True])
def test_distorted_camera_names_file_camera_model_and_fix(tmp_path: Path, binary: bool) -> None:
    colmap_capture(tmp_path)
    camera = ColmapCamera(7, "OPENCV", 48, 36, (40.0, 40.0, 24.0, 18.0, 0.1, 0.0, 0.0, 0.0))
    write = write_binary_model if binary else write_text_model
    write(tmp_path / "sparse/0", [CAMERA, camera], ring_of_images(), some_points())
    with pytest.raises(SceneError, match=r"cameras\.(bin|txt): camera 7 .*OPENCV.*colmap image_undistorter"):
        read_colmap(tmp_path)


def test_unknown_camera_number(tmp_path: Path) -> None:
    colmap_capture(tmp_path, binary=True)
    path = tmp_path / "sparse/0/cameras.bin"
    data = bytearray(path.read_bytes())
    struct.pack_into("<i", data, 12, 99)
    path.write_bytes(data)
    with pytest.raises(SceneError, match="number 99"):
        read_colmap(tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["cameras.bin", "images.bin", "points3D.bin"]), st.data())
def test_damaged_binary_files_are_scene_errors_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("model")
    write_binary_model(folder, [CAMERA], ring_of_images(3), some_points(4))
    path = folder / name
    whole = path.read_bytes()
    readers = {"cameras.bin": read_binary_cameras, "images.bin": read_binary_images, "points3D.bin": read_binary_points}
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])
    with pytest.raises(SceneError, match=name):
        readers[name](path)
    flipped = bytearray(whole)
    flipped[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(flipped)
    with contextlib.suppress(SceneError):  # any other exception fails the test
        readers[name](path)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_bytes_after_the_last_record_betray_a_wrong_count(tmp_path: Path, name: str) -> None:
    colmap_capture(tmp_path, binary=True)
    path = tmp_path / "sparse/0" / name
    path.write_bytes(path.read_bytes() + b"1234567")
    with pytest.raises(SceneError, match=rf"{name} has 7 bytes after its last record"):
        read_colmap(tmp_path)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_claimed_counts_are_held_against_the_file(tmp_path: Path, name: str) -> None:
    """A count of 2⁶⁰ must neither allocate nor loop."""
    colmap_capture(tmp_path, binary=True)
    path = tmp_path / "sparse/0" / name
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])
    with pytest.raises(SceneError, match="claims 1152921504606846976"):
        read_colmap(tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("cameras.txt", "1 PINHOLE 48 36 40.0 42.0 23.0", "3 parameters for PINHOLE, 4 expected"),
        ("cameras.txt", "1 PINHOLE wide 36 40.0 42.0 23.0 19.0", "line 1"),
        ("images.txt", "1 1.0 0.0 0.0 0.0 0.0 0.0 1 view_00.png", "line 1"),
        ("points3D.txt", "1 0.0 0.0 0.0 255 256 0 0.1", "outside 0..255"),
        ("points3D.txt", "1 0.0 0.0", "line 1"),
    ],
)
def test_damaged_text_names_file_and_line(tmp_path: Path, name: str, line: str, message: str) -> None:
    colmap_capture(tmp_path)
    (tmp_path / "sparse/0" / name).write_text(line + "\n")
    with pytest.raises(SceneError, match=message) as fault:
        read_colmap(tmp_path)
    assert name in str(fault.value)


def test_text_that_is_not_text(tmp_path: Path) -> None:
    colmap_capture(tmp_path)
    (tmp_path / "sparse/0/cameras.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SceneError, match="not a text file"):
        read_colmap(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"translation": (0.0, float("nan"), 0.0)}, "not finite"),
        ({"quaternion": (float("inf"), 0.0, 0.0, 0.0)}, "quaternion"),
        ({"quaternion": (float("nan"), 0.0, 0.0, 0.0)}, "quaternion"),
        ({"quaternion": (0.0, 0.0, 0.0, 0.0)}, "quaternion"),
        ({"camera_id": 4}, "uses camera 4"),
        ({"name": "../outside.png"}, "outside"),
        ({"name": "/etc/outside.png"}, "outside"),
    ],
)
def test_unusable_image_records(tmp_path: Path, change: dict[str, object], message: str) -> None:
    colmap_capture(tmp_path)
    images = ring_of_images()
    images[2] = dataclasses.replace(images[2], **change)  # type: ignore[arg-type]
    write_text_model(tmp_path / "sparse/0", [CAMERA], images, some_points())
    with pytest.raises(SceneError, match=message) as fault:
        read_colmap(tmp_path)
    assert "images.txt" in str(fault.value)


@pytest.mark.parametrize(
    "params", [(0.0, 42.0, 23.0, 19.0), (40.0, -1.0, 23.0, 19.0), (40.0, 42.0, float("nan"), 19.0)]
)
def test_unusable_intrinsics(tmp_path: Path, params: tuple[float, ...]) -> None:
    colmap_capture(tmp_path)
    write_text_model(
        tmp_path / "sparse/0", [dataclasses.replace(CAMERA, params=params)], ring_of_images(), some_points()
    )
    with pytest.raises(SceneError, match="intrinsics"):
        read_colmap(tmp_path)


def test_missing_images_are_counted_and_a_few_named(tmp_path: Path) -> None:
    colmap_capture(tmp_path)
    for index in range(1, 6):
        (tmp_path / f"images/view_{index:02d}.png").unlink()
    with pytest.raises(SceneError, match=r"5 of 9 images that do not exist: .*view_01.*view_03\.png and 2 more"):
        read_colmap(tmp_path)


@pytest.mark.parametrize("stem", ["cameras", "images", "points3D"])
def test_missing_model_files(tmp_path: Path, stem: str) -> None:
    colmap_capture(tmp_path)
    (tmp_path / f"sparse/0/{stem}.txt").unlink()
    with pytest.raises(SceneError, match=f"neither {stem}.bin nor {stem}.txt"):
        read_colmap(tmp_path)


def test_points_are_not_needed_when_not_asked_for(tmp_path: Path) -> None:
    colmap_capture(tmp_path)
    (tmp_path / "sparse/0/points3D.txt").unlink()
    assert read_colmap(tmp_path, with_points=False).points is None


def test_bonsai(captures: Path) -> None:
    capture = read_colmap(captures / "mip360_bonsai")
    assert len(capture.views) == 292
    assert capture.points is not None
    assert capture.points.shape == (94_518, 3)
    # Points were triangulated from these views: nearly all lie in front of, and inside, some of them.
    camera = capture.views[100].camera
    local = capture.points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    pixel = local[:, :2] / local[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    inside = (local[:, 2] > 0) & (pixel > 0).all(axis=1) & (pixel < [camera.width, camera.height]).all(axis=1)
    assert 0.2 < inside.mean() < 1.0


def test_cup_has_a_simple_pinhole_camera_per_image(captures: Path) -> None:
    capture = read_colmap(captures / "real_kwrous_cup")
    assert len(capture.views) == 77
    assert capture.points is not None
    assert len(capture.points) == 8_470
    focals = {view.camera.fx for view in capture.views}
    assert len(read_binary_cameras(captures / "real_kwrous_cup/sparse/0/cameras.bin")) == 77
    assert all(view.camera.fx == view.camera.fy for view in capture.views)
    assert focals


@pytest.mark.parametrize("folder", ["mip360_bonsai", "real_kwrous_cup"])
def test_agrees_with_pycolmap(captures: Path, folder: str) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    theirs = pycolmap.Reconstruction(str(captures / folder / "sparse/0"))
    ours = read_colmap(captures / folder)
    by_file = {view.image.name: view.camera for view in ours.views}
    assert set(by_file) == {image.name for image in theirs.images.values()}
    for image in theirs.images.values():
        camera = by_file[image.name]
        pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        np.testing.assert_allclose(camera.world_to_camera[:3], pose.matrix(), rtol=0, atol=1e-12)
        np.testing.assert_array_equal(camera.intrinsics, theirs.cameras[image.camera_id].calibration_matrix())
    assert ours.points is not None
    assert ours.colors is not None
    expected = sorted((*p.xyz.tolist(), *p.color.tolist()) for p in theirs.points3D.values())
    found = sorted((*xyz, *rgb) for xyz, rgb in zip(ours.points.tolist(), ours.colors.tolist(), strict=True))
    assert found == expected


def test_text_written_by_us_is_read_by_pycolmap(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    colmap_capture(tmp_path)
    theirs = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    assert len(theirs.images) == 9
    assert len(theirs.points3D) == 30
    np.testing.assert_allclose(
        sorted(p.xyz.tolist() for p in theirs.points3D.values()), sorted(some_points().xyz.tolist()), rtol=1e-15
    )
