"""What instant-ngp and nerfstudio write into transforms.json: lenses, lists of splits, points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import plyfile
import pytest

from hemgs.core.errors import SceneError
from hemgs.core.events import EventLog
from hemgs.data.prepare import prepare_scene
from hemgs.data.readers.blender import POINT_FILES, read_blender
from hemgs.data.readers.colmap import read_colmap
from tests.unit.data.capture_builders import blender_pose, colmap_capture, dataset, some_points, write_images

NUM_FRAMES = 10
IMAGES = [f"images/{index:04d}.png" for index in range(NUM_FRAMES)]


def transforms(root: Path, **head: Any) -> Path:
    """Write a capture with one transforms.json."""
    write_images(root, IMAGES)
    frames = [{"file_path": name, "transform_matrix": blender_pose(index)} for index, name in enumerate(IMAGES)]
    record = {"w": 48, "h": 36, "fl_x": 40.0, "fl_y": 41.0, "cx": 23.0, "cy": 19.0, **head, "frames": frames}
    (root / "transforms.json").write_text(json.dumps(record))
    return root


def edit(root: Path, change: Any) -> None:
    path = root / "transforms.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


# Lenses


@pytest.mark.parametrize("model", ["OPENCV", "PINHOLE", "SIMPLE_RADIAL", "opencv", None])
@pytest.mark.parametrize("zero", [0.0, -0.0, 0, None])
def test_perspective_lenses_without_distortion(tmp_path: Path, model: str | None, zero: float | None) -> None:
    root = transforms(tmp_path, camera_model=model, k1=zero, k4=zero, p2=zero, distortion_params=[0.0] * 6)
    camera = read_blender(root, "every_nth").views[0].camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (40.0, 41.0, 23.0, 19.0)


FISHEYE = ["OPENCV_FISHEYE", "EQUIRECTANGULAR", "fisheye", "FISHEYE624", "ORTHOPHOTO", "VR180_L", 7]


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("model", FISHEYE)
def test_other_lenses_are_refused_with_zero_distortion_too(tmp_path: Path, model: Any, per_frame: bool) -> None:
    root = transforms(tmp_path, k1=0.0, k2=0.0, k3=0.0, k4=0.0)
    edit(root, lambda record: (record["frames"][3] if per_frame else record).update(camera_model=model))
    message = rf"frame 'images/000{3 if per_frame else 0}.png' .*camera_model is {model!r}; supported.*undistort"
    with pytest.raises(SceneError, match=message):
        read_blender(root, "every_nth")


@pytest.mark.parametrize("key", ["is_fisheye", "latlong", "equirectangular", "orthographic"])
def test_other_projections_of_instant_ngp_are_refused(tmp_path: Path, key: str) -> None:
    assert read_blender(transforms(tmp_path, **{key: False}), "every_nth").views
    with pytest.raises(SceneError, match=f"{key} is True.*undistort"):
        read_blender(transforms(tmp_path, **{key: True}), "every_nth")


@pytest.mark.parametrize("key", ["k1", "k3", "k6", "p2"])
@pytest.mark.parametrize("value", [1e-9, -0.3, float("nan")])
def test_distortion_is_refused(tmp_path: Path, key: str, value: float) -> None:
    with pytest.raises(SceneError, match=f"lens distortion {key} = {value}.*undistort"):
        read_blender(transforms(tmp_path, camera_model="OPENCV", **{key: value}), "every_nth")


def test_lists_of_distortion_are_looked_at(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"distortion_params = \[0.0, 0.01\].*undistort"):
        read_blender(transforms(tmp_path, distortion_params=[0.0, 0.01]), "every_nth")
    with pytest.raises(SceneError, match="cannot be used"):
        read_blender(transforms(tmp_path, distortion_params="much"), "every_nth")


# Splits


def splits(root: Path) -> dict[str, str | None]:
    return {view.image.name: view.split for view in read_blender(root).views}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("test_list", ["test_filenames", "val_filenames"])
def test_lists_inside_the_file_are_the_split(tmp_path: Path, test_list: str, bom: bytes) -> None:
    root = transforms(tmp_path, train_filenames=IMAGES[:7], **{test_list: IMAGES[7:]})
    (root / "transforms.json").write_bytes(bom + (root / "transforms.json").read_bytes())
    assert splits(root) == {f"{index:04d}.png": "train" if index < 7 else "test" for index in range(NUM_FRAMES)}


def test_lists_may_name_images_in_other_ways(tmp_path: Path) -> None:
    names = [f"./{IMAGES[0]}", str(tmp_path / IMAGES[1]), IMAGES[2].removesuffix(".png")]
    root = transforms(tmp_path, train_filenames=names, test_filenames=IMAGES[3:5])
    assert list(splits(root).values()) == ["train"] * 3 + ["test"] * 2


def test_views_for_validation_are_left_out_where_there_are_test_views(tmp_path: Path) -> None:
    root = transforms(tmp_path, train_filenames=IMAGES[:5], val_filenames=IMAGES[5:8], test_filenames=IMAGES[8:])
    assert list(splits(root).values()) == ["train"] * 5 + ["test"] * 2
    assert len(read_blender(root, "every_nth").views) == NUM_FRAMES


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            {"train_filenames": [*IMAGES[:5], "images/none.png"]},
            "train_filenames lists images/none.png, which no frame",
        ),
        ({"train_filenames": IMAGES[:5], "test_filenames": IMAGES[4:]}, "lists images/0004.png in both splits"),
        ({"train_filenames": "images"}, "train_filenames is no list of names"),
        ({"train_filenames": [3]}, "train_filenames is no list of names"),
        ({"train_filenames": ["../other/0001.png"]}, "outside"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, lists: dict[str, Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        read_blender(transforms(tmp_path / "capture", **lists))


def test_a_file_without_lists_declares_no_split(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"no transforms_train\.json, .*no transforms\.json with train_filenames"):
        read_blender(transforms(tmp_path))


def test_a_list_without_test_views_is_refused_by_name(tmp_path: Path) -> None:
    config = dataset("blender", transforms(tmp_path / "capture", train_filenames=IMAGES))
    with pytest.raises(SceneError, match="has no test views"):
        prepare_scene(config, "thing", tmp_path / "out", events=EventLog())


# Points


def write_points(path: Path, *, text: bool = False, colors: str | None = "u1") -> None:
    """Write the points of the builders as another program would."""
    cloud = some_points()
    fields = [(axis, "f8") for axis in "xyz"] + [("nx", "f4")]
    fields += [(channel, colors) for channel in ("red", "green", "blue")] if colors else []
    table = np.zeros(len(cloud.xyz), fields)
    for index, axis in enumerate("xyz"):
        table[axis] = cloud.xyz[:, index]
    for index, channel in enumerate(("red", "green", "blue") if colors else ()):
        table[channel] = cloud.rgb[:, index]
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")], text=text, byte_order="=" if text else "<").write(
        path
    )


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("name", ["sparse_pc.ply", "clouds/mine.ply"])
def test_points_that_the_file_names_are_read(tmp_path: Path, name: str, text: bool) -> None:
    root = transforms(tmp_path / "capture", ply_file_path=name)
    (root / name).parent.mkdir(exist_ok=True)
    write_points(root / name, text=text)
    config = dataset("blender", root, initial_points={"kind": "sfm"}, protocol={"split": {"kind": "every_nth", "n": 4}})
    scene = prepare_scene(config, "thing", tmp_path / "out", events=EventLog())
    np.testing.assert_array_equal(scene.points, some_points().xyz.astype(np.float32))
    np.testing.assert_array_equal(scene.point_colors, some_points().rgb)


@pytest.mark.parametrize("name", POINT_FILES)
def test_points_next_to_the_file_are_read_only_where_they_are_asked_for(tmp_path: Path, name: str) -> None:
    write_points(transforms(tmp_path) / name)
    capture = read_blender(tmp_path, "every_nth", with_points=True)
    np.testing.assert_array_equal(capture.points, some_points().xyz)
    assert read_blender(tmp_path, "every_nth").points is None
    (tmp_path / name).write_text("not a PLY file")
    assert read_blender(tmp_path, "every_nth").points is None


def test_the_named_points_win(tmp_path: Path) -> None:
    root = transforms(tmp_path, ply_file_path="mine.ply")
    write_points(root / "mine.ply")
    (root / POINT_FILES[0]).write_text("not a PLY file")
    assert read_blender(root, "every_nth", with_points=True).points is not None


def test_points_without_colour_are_grey(tmp_path: Path) -> None:
    write_points(transforms(tmp_path) / "points3D.ply", colors=None)
    colors = read_blender(tmp_path, "every_nth", with_points=True).colors
    assert colors is not None
    assert np.unique(colors).tolist() == [128]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"ply_file_path": "none.ply"}, r"none\.ply: cannot be read \(No such file"),
        ({"ply_file_path": "../none.ply"}, r"outside .*copy the points into"),
    ],
)
def test_points_that_are_missing(tmp_path: Path, head: dict[str, str], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        read_blender(transforms(tmp_path / "capture", **head), "every_nth", with_points=True)


def test_colours_of_another_type_are_refused(tmp_path: Path) -> None:
    write_points(transforms(tmp_path) / "points3D.ply", colors="f4")
    with pytest.raises(SceneError, match=r"points3D\.ply: the colours are not red, green and blue of 8 bits"):
        read_blender(tmp_path, "every_nth", with_points=True)


def test_a_colmap_model_may_have_its_points_as_ply_only(tmp_path: Path) -> None:
    """The code of 3DGS writes points3D.ply next to the model, and many captures are shared with it alone."""
    model = colmap_capture(tmp_path) / "sparse/0"
    before = read_colmap(tmp_path)
    write_points(model / "points3D.ply")
    np.testing.assert_array_equal(before.points, read_colmap(tmp_path).points)
    (model / "points3D.txt").unlink()
    after = read_colmap(tmp_path)
    np.testing.assert_array_equal(before.points, after.points)
    np.testing.assert_array_equal(before.colors, after.colors)
