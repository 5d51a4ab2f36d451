"""Pictures and exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hemgs.bench import decoding
from hemgs.bench.runs import bitstream_path
from hemgs.bench.viewing import (
    comparison_strip,
    picture_file,
    read_cameras,
    run_export,
    run_render,
    run_render_cameras,
    to_bytes,
)
from hemgs.core.errors import ConfigError, SceneError
from hemgs.core.types import Camera
from hemgs.data.loader import load_scene
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.ply import read_ply
from hemgs.splats.rendering import RenderableSplats
from tests.unit.bench.conftest import CPU
from tests.unit.bench.toy_methods import ToyAll, ToyScene

POSE = np.eye(4).tolist()
CAMERA = {"name": "front", "width": 20, "height": 16, "fx": 20, "fy": 20, "cx": 10, "cy": 8, "world_to_camera": POSE}


@pytest.fixture
def bitstream(toy_points: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(decoding, "list_methods", lambda: ["toy_all"])
    monkeypatch.setattr(decoding, "get_method", lambda name: ToyAll())
    return bitstream_path(toy_points, "lmbda_0.0020")


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_eight_bits_are_rounded_to_nearest_and_clamped() -> None:
    values = np.array([-1.0, 0.0, 0.49 / 255, 0.51 / 255, 1.0, 7.0], np.float32)
    assert to_bytes(values).tolist() == [0, 0, 0, 1, 255, 255]


def test_views_of_a_scene_with_comparison(bitstream: Path, scene_dir: Path, tmp_path: Path) -> None:
    pictures = run_render(bitstream, scene_dir, "test", tmp_path, CPU)
    scene = load_scene(scene_dir)
    assert [picture.file.name for picture in pictures] == [picture_file(view.name) for view in scene.split("test")]
    for view, picture in zip(scene.split("test"), pictures, strict=True):
        shown = pixels_of(picture.file)
        target = to_bytes(scene.read_image(view))
        strip = pixels_of(tmp_path / "compare" / picture.file.name)
        width = view.camera.width
        assert shown.shape == target.shape
        assert np.array_equal(strip[:, :width], target)
        assert np.array_equal(strip[:, width + 4 : 2 * width + 4], shown)
        error = np.mean((shown / 255.0 - target / 255.0) ** 2)
        assert picture.psnr == pytest.approx(-10 * np.log10(error), abs=1e-4)


def test_error_in_the_strip_is_amplified_four_times() -> None:
    target, pixels = np.full((2, 3, 3), 100, np.uint8), np.full((2, 3, 3), 90, np.uint8)
    strip = comparison_strip(target, pixels)
    assert strip.shape == (2, 3 * 3 + 8, 3)
    assert (strip[:, -3:] == 40).all()


def test_cameras_of_ones_own(bitstream: Path, tmp_path: Path) -> None:
    second = {**CAMERA, "name": "a/b", "width": 32}
    (tmp_path / "cameras.json").write_text(json.dumps([CAMERA, second]))
    pictures = run_render_cameras(bitstream, tmp_path / "cameras.json", (0.0, 0.0, 0.0), tmp_path, CPU)
    assert [picture.file.name for picture in pictures] == ["front.png", "a_b.png"]
    assert pixels_of(pictures[0].file).shape == (16, 20, 3)
    assert pixels_of(pictures[1].file).shape == (16, 32, 3)


@pytest.mark.parametrize(
    ("camera", "kind", "message"),
    [
        ([], ConfigError, "no camera"),
        (3, ConfigError, r"cameras.json: '\[0\]' cannot be 3 — a value of type object"),
        ([CAMERA, CAMERA], ConfigError, "same name"),
        ([CAMERA, {**CAMERA, "fov": 3}], ConfigError, r"unknown key 'fov' in '\[1\]' — .*known: cx, cy, fx"),
        ({key: value for key, value in CAMERA.items() if key != "fx"}, ConfigError, "lacks 'fx'"),
        ({**CAMERA, "width": 0}, ConfigError, r"\.width' cannot be 0 — it must be at least 1"),
        ({**CAMERA, "height": 10**6}, ConfigError, "it must be at most 16384"),
        ({**CAMERA, "width": 20.5}, ConfigError, "a value of type integer"),
        ({**CAMERA, "fx": "wide"}, ConfigError, "a value of type number"),
        ({**CAMERA, "fx": -1}, SceneError, "focal"),
        ({**CAMERA, "world_to_camera": [1, 2]}, ConfigError, r"world_to_camera.* cannot be"),
        ({**CAMERA, "world_to_camera": (np.eye(4) * 2).tolist()}, SceneError, "rotation"),
        ({**CAMERA, "world_to_camera": np.full((4, 4), float("nan")).tolist()}, SceneError, "not finite"),
    ],
)
def test_cameras_that_are_none(tmp_path: Path, camera: Any, kind: type[Exception], message: str) -> None:
    (tmp_path / "cameras.json").write_text(json.dumps(camera))
    with pytest.raises(kind, match=message):
        read_cameras(tmp_path / "cameras.json")


def test_camera_without_a_name_gets_one(tmp_path: Path) -> None:
    (tmp_path / "cameras.json").write_text(json.dumps({key: CAMERA[key] for key in CAMERA if key != "name"}))
    assert read_cameras(tmp_path / "cameras.json")[0].name == "camera_0000"


def test_export_states_number_and_loss(
    bitstream: Path, scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, loss = run_export(bitstream, tmp_path / "toy.ply", None, CPU)
    assert (number, loss) == (1, None)
    assert read_ply(tmp_path / "toy.ply").num_gaussians == 1
    # A Gaussian that fills every view with the toy's colour has the same quality as the toy's own pictures.
    color = ToyAll().decode(bitstream, device=CPU).color
    monkeypatch.setattr("hemgs.bench.viewing.RenderableSplats", lambda cloud: ToyScene(color))
    _, loss = run_export(bitstream, tmp_path / "toy.ply", scene_dir, CPU)
    assert loss is not None
    assert loss.loss_db == 0.0
    assert 0 < loss.decoded < 60
    monkeypatch.setattr("hemgs.bench.viewing.RenderableSplats", lambda cloud: ToyScene(torch.zeros(3)))
    _, loss = run_export(bitstream, tmp_path / "toy.ply", scene_dir, CPU)
    assert loss is not None
    assert loss.loss_db == pytest.approx(loss.decoded - loss.exported)
    assert loss.loss_db > 1


@pytest.mark.parametrize(("lean", "num_rest", "degree"), [(False, 45, 3), (True, 0, 0)])
def test_exports_have_the_records_that_the_viewer_of_3dgs_reads(
    bitstream: Path, tmp_path: Path, lean: bool, num_rest: int, degree: int
) -> None:
    """That viewer reads 62 numbers for each Gaussian, whatever the header lists."""
    run_export(bitstream, tmp_path / "toy.ply", None, CPU, lean=lean)
    header = (tmp_path / "toy.ply").read_bytes().partition(b"end_header\n")[0]
    assert header.count(b"f_rest_") == num_rest
    assert header.count(b"property float") == 17 + num_rest
    cloud = read_ply(tmp_path / "toy.ply")
    assert cloud.sh_degree == degree
    assert not cloud.sh[:, 1:].any()


def test_plain_gaussians_are_drawn_with_their_own_parametrisation() -> None:
    camera = Camera("c", 32, 32, 32.0, 32.0, 16.0, 16.0, np.eye(4))
    cloud = GaussianCloud(
        means=torch.tensor([[0.0, 0.0, 4.0]]),
        log_scales=torch.full((1, 3), 2.0).log(),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        opacity_logits=torch.tensor([4.0]),
        sh=torch.full((1, 1, 3), 0.25 / 0.28209479177387814),
    )
    image = RenderableSplats(cloud).render(camera, (0.0, 0.0, 0.0))
    peak = 0.75 * torch.sigmoid(torch.tensor(4.0)).item()
    assert torch.allclose(image[16, 16], torch.full((3,), peak), atol=0.01)
    away_px, sigma_px = 12.5, 2.0 * 32.0 / 4.0
    assert image[16, 28, 0].item() == pytest.approx(peak * np.exp(-0.5 * (away_px / sigma_px) ** 2), abs=0.01)
