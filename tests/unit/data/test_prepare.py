from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hemgs.core.errors import ConfigError, DeviceError, SceneError
from hemgs.core.events import EventLog
from hemgs.core.types import Camera, Scene
from hemgs.data import prepare
from hemgs.data.capture import PointCloud
from hemgs.data.prepare import prepare_scene, prepared_camera
from hemgs.data.readers.colmap_model import write_text_model
from tests.unit.data.capture_builders import (
    CAMERA,
    HEIGHT,
    WIDTH,
    blender_capture,
    colmap_capture,
    dataset,
    protocol,
    ring_of_images,
    some_points,
    write_images,
)

REPOSITORY = Path(__file__).resolve().parents[3]


def run(config: dict[str, Any], out: Path, events: EventLog | None = None) -> Scene:
    return prepare_scene(config, "thing", out, events=events or EventLog(), archives=out.parent / "archives")


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "capture")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return colmap_capture(tmp_path / "capture")


def test_scene_of_a_colmap_capture(tmp_path: Path, capture: Path) -> None:
    scene = run(dataset("colmap", capture), tmp_path / "out")
    assert (scene.dataset, scene.scene) == ("toy", "thing")
    assert [view.name for view in scene.split("test")] == ["view_00", "view_04", "view_08"]
    assert len(scene.split("train")) == 6
    np.testing.assert_array_equal(scene.points, some_points().xyz.astype(np.float32))
    np.testing.assert_array_equal(scene.point_colors, some_points().rgb)
    for view in scene.views:
        stored = np.asarray(Image.open(capture / f"images/{view.name}.png"), np.float32) / np.float32(255)
        np.testing.assert_array_equal(scene.read_image(view), stored)
    assert leftovers(tmp_path) == ["out"]
    record = json.loads((tmp_path / "out/scene.json").read_text())
    assert record["format_version"] == 1
    assert record["extent"] == scene.extent
    assert record["protocol"]["split"] == {"kind": "every_nth", "n": 4}
    assert record["views"][0]["sha256"] == scene.views[0].sha256


def test_scene_of_a_blender_capture(tmp_path: Path) -> None:
    background = (0.2, 0.4, 0.6)
    config = dataset("blender", blender_capture(tmp_path / "capture"), protocol={"background": list(background)})
    scene = run(config, tmp_path / "out")
    assert (len(scene.split("train")), len(scene.split("test"))) == (6, 4)
    assert scene.background == background
    view = next(view for view in scene.views if view.name == "train_r_2")
    rgba = np.asarray(Image.open(tmp_path / "capture/train/r_2.png"), np.float64) / 255
    expected = rgba[..., :3] * rgba[..., 3:] + np.array(background) * (1 - rgba[..., 3:])
    np.testing.assert_allclose(scene.read_image(view), expected, atol=0.51 / 255)
    assert scene.points.shape == (50, 3)
    assert np.abs(scene.points).max() < 1.0
    assert np.unique(scene.point_colors).tolist() == [128]


def test_scene_without_a_folder_is_rendered(tmp_path: Path) -> None:
    settings = {"num_views": 9, "width": 32, "height": 24, "num_points": 60, "layout": "garden"}
    config = dataset("procedural", None, source={"procedural": settings}, protocol={"background": [0.1, 0.2, 0.3]})
    scene = run(config, tmp_path / "out")
    assert len(scene.views) == 9
    assert scene.points.shape == (60, 3)
    levels = np.concatenate([scene.read_image(view).reshape(-1, 3) for view in scene.views])
    assert np.abs(levels - np.rint(255 * np.array([0.1, 0.2, 0.3])) / 255).max(axis=1).min() < 1e-6  # the sky shows
    assert leftovers(tmp_path) == ["out"]


@pytest.mark.parametrize("principal_point", ["as_given", "centered"])
def test_intrinsics_follow_the_exact_ratio_of_each_axis(principal_point: str) -> None:
    camera = Camera("a", 800, 533, 826.0, 827.0, 410.0, 250.0, np.eye(4))
    small = prepared_camera(camera, protocol(scale=0.25, principal_point=principal_point))
    assert (small.width, small.height) == (200, 133)
    assert small.fx == pytest.approx(float(Fraction(200, 800) * 826), rel=1e-15)
    assert small.fy == pytest.approx(float(Fraction(133, 533) * 827), rel=1e-15)
    center = (102.5, 250.0 * 133 / 533) if principal_point == "as_given" else (100.0, 66.5)
    assert (small.cx, small.cy) == pytest.approx(center, rel=1e-15)


def test_resized_pixels_are_pillows(tmp_path: Path, capture: Path) -> None:
    scene = run(dataset("colmap", capture, protocol={"scale": 0.5, "filter": "bicubic"}), tmp_path / "out")
    view = scene.views[5]
    stored = Image.open(capture / "images/view_05.png").resize((24, 18), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.rint(scene.read_image(view) * 255), np.asarray(stored))
    assert view.camera.fx == CAMERA.params[0] / 2


def test_a_scene_overrides_its_dataset(tmp_path: Path, capture: Path) -> None:
    config = dataset("colmap", capture.parent)
    config["scenes"]["thing"] = {"path": "capture", "protocol": {"scale": 0.5}}
    assert run(config, tmp_path / "out").views[0].camera.width == 24
    config["scenes"]["thing"] = {"path": ".", "source": {"local": str(capture)}}
    assert run(config, tmp_path / "other").views[0].camera.width == 48


def test_the_hash_depends_on_what_is_seen_and_not_on_where_it_lies(tmp_path: Path, capture: Path) -> None:
    def scene_hash(name: str, **sections: Any) -> str:
        return run(dataset("colmap", capture, **sections), tmp_path / name).hash

    first = scene_hash("a")
    assert scene_hash("deeper/b") == first
    assert scene_hash("c", id="renamed") == first
    hashes = {first, scene_hash("d", protocol={"scale": 0.5}), scene_hash("e", protocol={"background": [1, 1, 1]})}
    hashes.add(scene_hash("f", protocol={"split": {"kind": "every_nth", "n": 3}}))
    hashes.add(scene_hash("g", initial_points={"kind": "random", "num_points": 30, "low": -1, "high": 1}))
    hashes.add(scene_hash("h", protocol={"principal_point": "centered"}))
    pixels = np.asarray(Image.open(capture / "images/view_07.png")).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(capture / "images/view_07.png")
    hashes.add(scene_hash("i"))
    assert len(hashes) == 7


def test_the_same_scene_is_left_alone_and_another_replaces_it(tmp_path: Path, capture: Path) -> None:
    out = tmp_path / "out"
    run(dataset("colmap", capture), out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    run(dataset("colmap", capture), out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert run(dataset("colmap", capture, protocol={"scale": 0.5}), out).views[0].camera.width == 24
    assert leftovers(tmp_path) == ["out"]


@pytest.mark.parametrize("damage", ["altered image", "missing image", "missing record", "cut points"])
def test_a_damaged_scene_is_made_again(tmp_path: Path, capture: Path, damage: str) -> None:
    out = tmp_path / "out"
    first = run(dataset("colmap", capture), out)
    victim = out / {"missing record": "scene.json", "cut points": "points.npz"}.get(damage, "images/view_03.png")
    if damage.startswith("missing"):
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-7])
    second = run(dataset("colmap", capture), out)
    assert second.hash == first.hash
    for view in second.views:
        second.read_image(view)


def test_a_folder_with_other_things_in_it_is_not_touched(tmp_path: Path, capture: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"home contains 'thesis\.tex'.*choose another folder"):
        run(dataset("colmap", capture), tmp_path / "home")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        run(dataset("colmap", capture), tmp_path / "file")
    assert leftovers(tmp_path) == ["file", "home"]


def test_an_empty_folder_may_be_filled(tmp_path: Path, capture: Path) -> None:
    """Snakemake makes the parent folders of its outputs beforehand."""
    (tmp_path / "out/images").mkdir(parents=True)
    assert len(run(dataset("colmap", capture), tmp_path / "out").views) == 9


# Faults of the input: each one a clear error, and nothing written.


def fails(config: dict[str, Any], tmp_path: Path, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(config, tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_missing_image(tmp_path: Path, capture: Path) -> None:
    (capture / "images/view_02.png").unlink()
    fails(dataset("colmap", capture), tmp_path, SceneError, "1 of 9 images that do not exist: .*view_02.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_cut_image(tmp_path: Path, capture: Path, suffix: str) -> None:
    path = capture / "images/view_08.png"
    Image.open(path).save(path.with_suffix(".data"), {"png": "PNG", "jpg": "JPEG"}[suffix])
    path.write_bytes(path.with_suffix(".data").read_bytes()[:-90])
    fails(dataset("colmap", capture), tmp_path, SceneError, r"view_08\.png cannot be decoded .*export it again")


def test_size_of_image_and_camera_differ(tmp_path: Path, capture: Path) -> None:
    write_images(capture / "images", ["view_01.png"], size=(24, 18))
    message = r"view_01\.png is 24x18, but its camera has 48x36.*protocol\.scale.*source\.resized_images"
    fails(dataset("colmap", capture), tmp_path, SceneError, message)


@pytest.mark.parametrize(("size", "said"), [((24, 18), ""), ((25, 18), ""), ((24, 12), "another aspect ratio")])
def test_images_resized_after_calibration(tmp_path: Path, capture: Path, size: tuple[int, int], said: str) -> None:
    """Cameras follow images axis by axis, as with those of Tanks and Temples; stretched ones do not pass."""
    write_images(capture / "images", [f"view_{index:02d}.png" for index in range(9)], size=size)
    config = dataset("colmap", capture, source={"resized_images": True})
    if said:
        fails(config, tmp_path, SceneError, said)
        return
    camera = run(config, tmp_path / "out").views[0].camera
    assert (camera.width, camera.height) == size
    assert (camera.fx, camera.fy) == pytest.approx((40.0 * size[0] / WIDTH, 42.0 * size[1] / HEIGHT))
    assert (camera.cx, camera.cy) == pytest.approx((23.0 * size[0] / WIDTH, 19.0 * size[1] / HEIGHT))


def test_pose_that_is_not_a_number(tmp_path: Path, capture: Path) -> None:
    text = (capture / "sparse/0/images.txt").read_text()
    (capture / "sparse/0/images.txt").write_text(text.replace("-0.2", "nan", 1))
    fails(dataset("colmap", capture), tmp_path, SceneError, "not finite")


def points_of(capture: Path, xyz: list[list[float]]) -> None:
    cloud = PointCloud(np.array(xyz, np.float64).reshape(-1, 3), np.zeros((len(xyz), 3), np.uint8))
    write_text_model(capture / "sparse/0", [CAMERA], ring_of_images(), cloud)


@pytest.mark.parametrize("xyz", [[], [[float("nan"), 0.0, 0.0]], [[1e300, 0.0, 0.0]]])
def test_no_usable_points(tmp_path: Path, capture: Path, xyz: list[list[float]]) -> None:
    points_of(capture, xyz)
    fails(dataset("colmap", capture), tmp_path, SceneError, f"has {len(xyz)} points, none of them finite.*random")


def test_points_that_are_not_finite_are_dropped_and_duplicates_kept(tmp_path: Path, capture: Path) -> None:
    points_of(capture, [[1.0, 2.0, 3.0], [0.0, float("inf"), 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, float("nan")]])
    with EventLog(tmp_path / "capture/events.jsonl") as events:
        scene = run(dataset("colmap", capture), tmp_path / "out", events)
    assert scene.points.tolist() == [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    log = [json.loads(line) for line in (tmp_path / "capture/events.jsonl").read_text().splitlines()]
    assert [(line["event"], line["num_points"]) for line in log if line["event"] == "points_dropped"] == [
        ("points_dropped", 2)
    ]


def test_blender_captures_have_no_points_of_their_own(tmp_path: Path) -> None:
    config = dataset("blender", blender_capture(tmp_path / "capture"), initial_points={"kind": "sfm"})
    fails(config, tmp_path, SceneError, "comes without points.*random")


def test_too_few_views(tmp_path: Path) -> None:
    capture = colmap_capture(tmp_path / "capture", num_views=7)
    fails(dataset("colmap", capture), tmp_path, SceneError, "7 posed views; .*8 are needed.*min_views")
    assert len(run(dataset("colmap", capture, protocol={"min_views": 7}), tmp_path / "out").views) == 7


def test_a_split_by_files_needs_a_capture_that_declares_one(tmp_path: Path, capture: Path) -> None:
    config = dataset("colmap", capture, protocol={"split": {"kind": "files"}})
    fails(config, tmp_path, SceneError, "declares none.*every_nth")


def test_no_test_views(tmp_path: Path) -> None:
    capture = blender_capture(tmp_path / "capture", num_train=9, num_test=0)
    fails(dataset("blender", capture), tmp_path, SceneError, "has no test views")


def test_too_small_a_picture(tmp_path: Path, capture: Path) -> None:
    config = dataset("colmap", capture, protocol={"scale": 0.1})
    fails(config, tmp_path, SceneError, "would be 4x3 pixels.*protocol.scale")


def test_unset_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    fails(dataset("colmap", "${NO_SUCH_FOLDER}/x"), tmp_path, ConfigError, r"NO_SUCH_FOLDER")


def test_variable_and_default(tmp_path: Path, capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_CAPTURES", str(tmp_path))
    assert run(dataset("colmap", "${MY_CAPTURES}/capture"), tmp_path / "a").hash
    monkeypatch.delenv("MY_CAPTURES")
    assert run(dataset("colmap", f"${{MY_CAPTURES:-{tmp_path}}}/capture"), tmp_path / "b").hash


def test_path_that_does_not_exist(tmp_path: Path) -> None:
    fails(dataset("colmap", tmp_path / "nowhere"), tmp_path, ConfigError, "nowhere.* does not exist.*source.local")


def test_source_without_a_place(tmp_path: Path) -> None:
    fails(dataset("colmap", None), tmp_path, ConfigError, "source.local is missing")


def test_full_disk(tmp_path: Path, capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fourth image meets ENOSPC."""
    written = []
    write_bytes = Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill)
    fails(dataset("colmap", capture), tmp_path, DeviceError, "no space left while writing .*out.*free disk space")


def test_interruption(tmp_path: Path, capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    run(dataset("colmap", capture, protocol={"scale": 0.5}), tmp_path / "out")
    before = (tmp_path / "out/scene.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "resize", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(dataset("colmap", capture), tmp_path / "out")
    assert leftovers(tmp_path) == ["out"]
    assert (tmp_path / "out/scene.json").read_bytes() == before
    assert run(dataset("colmap", capture), tmp_path / "out").views[0].camera.width == 48


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path, capture: Path) -> None:
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from tests.unit.data.capture_builders import dataset
        from hemgs.core.events import EventLog
        from hemgs.data import prepare
        prepare.resize = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        config = dataset("colmap", {str(capture)!r})
        prepare.prepare_scene(config, "thing", Path({str(tmp_path / "out")!r}), events=EventLog())
        """
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "out" not in leftovers(tmp_path)
    assert leftovers(tmp_path) != []
    run(dataset("colmap", capture), tmp_path / "out")
    assert leftovers(tmp_path) == ["out"]


def test_procedural_settings_are_checked(tmp_path: Path) -> None:
    config = dataset("procedural", None, source={"procedural": {"views": 40}})
    fails(config, tmp_path, ConfigError, "unknown key 'views'.*num_views")
