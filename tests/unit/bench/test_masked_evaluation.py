"""Measuring a scene with masks: hidden pixels enter no figure and no picture of the showcase."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hemgs.bench import decoding
from hemgs.bench.encoding import run_encode
from hemgs.bench.evaluation import EvaluateRequest, run_evaluate
from hemgs.bench.rates import rate_of
from hemgs.bench.runs import bitstream_path
from hemgs.bench.training import TrainRequest, run_train
from hemgs.bench.viewing import psnr_of_views, run_render
from hemgs.core.records import read_views
from hemgs.core.types import Scene
from hemgs.data.loader import load_scene
from tests.unit.bench.conftest import CPU, TOY
from tests.unit.bench.toy_methods import ToyAll
from tests.unit.data.test_masks import masked_colmap, run, some_mask


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared scene ``scene`` and bitstreams ``points`` of a toy that was trained on it."""
    folder = tmp_path_factory.mktemp("masked")
    run(masked_colmap(folder / "capture"), folder / "scene")
    run_train(TrainRequest(folder / "scene", f"{TOY}ToyAll", folder / "model"), CPU)
    run_encode(folder / "model", folder / "points", [rate_of(0.001)], CPU)
    return folder


def expected_psnr(shown: NDArray[np.uint8], scene: Scene, name: str) -> float:
    view = next(view for view in scene.views if view.name == name)
    difference = (shown / 255.0 - scene.read_image(view))[some_mask(int(name[-2:]))]
    return float(-10 * np.log10(np.mean(difference**2)))


@pytest.mark.usefixtures("in_process")
def test_hidden_pixels_are_not_measured(masked: Path, tmp_path: Path) -> None:
    scene = load_scene(masked / "scene")
    run_evaluate(EvaluateRequest(masked / "points", masked / "scene", tmp_path, num_showcase=9), CPU)
    rows = read_views(tmp_path / "views.csv")
    assert len(rows) == len(scene.split("test"))
    for row in rows:
        name = str(row["view"])
        shown = np.asarray(Image.open(tmp_path / "showcase/lmbda_0.0010" / f"{name}.png"))
        target = np.asarray(Image.open(tmp_path / "showcase/target" / f"{name}.png"))
        assert row["psnr"] == pytest.approx(expected_psnr(shown, scene, name), abs=1e-4)
        hidden = ~some_mask(int(name[-2:]))
        np.testing.assert_array_equal(shown[hidden], target[hidden])
        assert (shown != target)[~hidden].any()
        whole = -10 * np.log10(np.mean((shown / 255.0 - target / 255.0) ** 2))
        assert abs(whole - float(row["psnr"] or 0)) > 1.0  # half of the pixels are hidden


def test_rendered_views_are_compared_under_the_mask(
    masked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "list_methods", lambda: ["toy_all"])
    monkeypatch.setattr(decoding, "get_method", lambda name: ToyAll())
    scene = load_scene(masked / "scene")
    path = bitstream_path(masked / "points", "lmbda_0.0010")
    pictures = run_render(path, masked / "scene", "test", tmp_path, CPU)
    for picture in pictures:
        name = picture.file.stem
        assert picture.psnr == pytest.approx(expected_psnr(np.asarray(Image.open(picture.file)), scene, name), abs=1e-4)
        error = np.asarray(Image.open(tmp_path / "compare" / picture.file.name))[:, -48:]
        assert not error[~some_mask(int(name[-2:]))].any()
    decoded = ToyAll().decode(path, device=CPU)
    mean = np.mean([picture.psnr for picture in pictures if picture.psnr is not None])
    assert psnr_of_views(decoded, scene, scene.split("test")) == pytest.approx(mean, abs=1e-4)
