"""COLMAP models of other shapes than COLMAP's own default: camera models, one line an image, several models."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from hemgs.core.errors import SceneError
from hemgs.core.events import EventLog
from hemgs.data.prepare import prepare_scene
from hemgs.data.readers.colmap import read_colmap
from hemgs.data.readers.colmap_model import ColmapCamera, read_text_images, write_text_model
from tests.unit.data.capture_builders import (
    CAMERA,
    HEIGHT,
    WIDTH,
    colmap_capture,
    dataset,
    ring_of_images,
    same_views,
    some_points,
    write_binary_model,
)

PARAMS = {
    "SIMPLE_RADIAL": (40.0, 23.0, 19.0, 0.0),
    "RADIAL": (40.0, 23.0, 19.0, 0.0, -0.0),
    "OPENCV": (40.0, 42.0, 23.0, 19.0, 0.0, 0.0, 0.0, 0.0),
    "FULL_OPENCV": (40.0, 42.0, 23.0, 19.0, *[0.0] * 8),
    "FOV": (40.0, 42.0, 23.0, 19.0, 0.0),
}
NOT_PERSPECTIVE = {
    "OPENCV_FISHEYE": (40.0, 42.0, 23.0, 19.0, 0.0, 0.0, 0.0, 0.0),
    "SIMPLE_RADIAL_FISHEYE": (40.0, 23.0, 19.0, 0.0),
    "RADIAL_FISHEYE": (40.0, 23.0, 19.0, 0.0, 0.0),
    "THIN_PRISM_FISHEYE": (40.0, 42.0, 23.0, 19.0, *[0.0] * 8),
    "EQUIRECTANGULAR": (40.0,),
}


def capture_with(root: Path, camera: ColmapCamera, *, binary: bool) -> Path:
    colmap_capture(root)
    write = write_binary_model if binary else write_text_model
    write(root / "sparse/0", [camera], ring_of_images(), some_points())
    return root


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("model", PARAMS)
def test_perspective_models_without_distortion_are_pinholes(tmp_path: Path, model: str, binary: bool) -> None:
    camera = ColmapCamera(1, model, WIDTH, HEIGHT, PARAMS[model])
    focal_y = 40.0 if "RADIAL" in model else 42.0
    pinhole = dataclasses.replace(CAMERA, params=(40.0, focal_y, 23.0, 19.0))
    assert same_views(
        read_colmap(capture_with(tmp_path / "a", camera, binary=binary)),
        read_colmap(capture_with(tmp_path / "b", pinhole, binary=binary)),
    )


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("model", PARAMS)
@pytest.mark.parametrize("value", [1e-9, -0.2, float("nan")])
def test_the_slightest_distortion_is_refused_with_its_value(
    tmp_path: Path, model: str, value: float, binary: bool
) -> None:
    camera = ColmapCamera(1, model, WIDTH, HEIGHT, (*PARAMS[model][:-1], value))
    with pytest.raises(SceneError, match=rf"camera 1 has the model {model} with the distortion .*{value!r}.*undistort"):
        read_colmap(capture_with(tmp_path, camera, binary=binary))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("model", NOT_PERSPECTIVE)
def test_other_projections_are_refused_without_distortion_too(tmp_path: Path, model: str, binary: bool) -> None:
    camera = ColmapCamera(1, model, WIDTH, HEIGHT, NOT_PERSPECTIVE[model])
    with pytest.raises(SceneError, match=rf"camera 1 has the model ({model}|number 99 \(unknown\)); .*undistort"):
        read_colmap(capture_with(tmp_path, camera, binary=binary))


# One line an image


def test_one_line_an_image_reads_every_image(tmp_path: Path) -> None:
    path = colmap_capture(tmp_path) / "sparse/0/images.txt"
    before = read_colmap(tmp_path)
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if line))
    assert same_views(before, read_colmap(tmp_path))


@pytest.mark.parametrize(
    "names", [["a b.png", "1 2 3.png"], ["x 7", "y 8 9"], ["12", "13"], ["a 2 3", "4 b 6"], ["nan", "inf"]]
)
@pytest.mark.parametrize("second", ["", "1.5 2.5 -1", "1.5 2.5 -1 3 4.25 7", None])
def test_names_do_not_decide_what_a_line_is(tmp_path: Path, names: list[str], second: str | None) -> None:
    images = [dataclasses.replace(image, name=name) for image, name in zip(ring_of_images(2), names, strict=True)]
    write_text_model(tmp_path, [CAMERA], images, some_points())
    path = tmp_path / "images.txt"
    header, *lines = [line for line in path.read_text().splitlines() if line]
    path.write_text("\n".join([header, *(f"{line}\n{second}" if second is not None else line for line in lines), ""]))
    assert read_text_images(path) == images


@pytest.mark.parametrize("line", ["1.5 2.5", "1.5 2.5 -1 3", "1.5 2.5 x", "1.5 2 3 4 5 6 7 8 9 10"])
def test_a_second_line_that_is_neither_names_its_line(tmp_path: Path, line: str) -> None:
    path = colmap_capture(tmp_path) / "sparse/0/images.txt"
    header, first, _, *rest = path.read_text().split("\n")
    path.write_text("\n".join([header, first, line, *rest]))
    with pytest.raises(SceneError, match=r"images\.txt, line 3: '1"):
        read_colmap(tmp_path)


# Several models


def split_capture(root: Path, counts: dict[str, int], *, binary: bool) -> Path:
    """A capture whose images COLMAP has divided among several models."""
    colmap_capture(root, 12)
    shutil.rmtree(root / "sparse")
    write = write_binary_model if binary else write_text_model
    for name, count in counts.items():
        write(root / name, [CAMERA], ring_of_images(12)[:count], some_points())
    return root


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("first", [2, 10])
def test_a_larger_model_next_to_the_first_is_an_error(tmp_path: Path, first: int, binary: bool) -> None:
    """Also where the first one alone would do: most of the capture would be left out without a word."""
    root = split_capture(tmp_path, {"sparse/0": first, "sparse/1": 12, "sparse/2": 3}, binary=binary)
    message = rf"sparse/0 contains {first} images, but .*sparse/1 contains 12: .*source\.sparse to sparse/1, or"
    with pytest.raises(SceneError, match=message):
        read_colmap(root)
    for name, count in (("sparse/0", first), ("sparse/1", 12)):
        assert len(read_colmap(root, sparse=name).views) == count


def test_the_first_model_is_read_if_it_is_the_largest(tmp_path: Path) -> None:
    root = split_capture(tmp_path, {"sparse/0": 12, "sparse/1": 12, "sparse/2": 3}, binary=True)
    (root / "sparse/2/images.bin").write_bytes(b"\xff" * 40)  # damaged, and not asked for
    assert len(read_colmap(root).views) == 12


def test_source_sparse_chooses_the_model(tmp_path: Path) -> None:
    root = split_capture(tmp_path / "capture", {"sparse/0": 9, "sparse/1": 12}, binary=False)
    config = dataset("colmap", root)
    with pytest.raises(SceneError, match=r"source\.sparse to sparse/1"):
        prepare_scene(config, "thing", tmp_path / "out", events=EventLog())
    for name, count in (("sparse/0", 9), ("sparse/1", 12)):
        config["source"]["sparse"] = name
        assert len(prepare_scene(config, "thing", tmp_path / "out", events=EventLog()).views) == count


@pytest.mark.parametrize(("given", "there"), [(None, "sparse"), (None, "sparse/3"), ("sparse/0", "sparse")])
def test_a_model_elsewhere_is_named(tmp_path: Path, given: str | None, there: str) -> None:
    """`colmap image_undistorter` writes into `sparse` itself."""
    root = split_capture(tmp_path, {there: 12}, binary=True)
    with pytest.raises(SceneError, match=rf"sparse/0 has neither .*there are models in .*{there} — set source\.sparse"):
        read_colmap(root, sparse=given)
