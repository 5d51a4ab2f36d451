from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.reading import load_named
from hemgs.data.prepare import prepare_scene
from hemgs.data.settings import Protocol, SceneSettings
from tests.unit.data.capture_builders import dataset

DATASETS = Path(__file__).resolve().parents[3] / "workflow/config/datasets"


@pytest.mark.parametrize(
    ("protocol", "size", "expected"),
    [
        (Protocol(), (800, 533), (800, 533)),
        (Protocol(scale=0.25), (800, 533), (200, 133)),
        (Protocol(scale=0.1), (990, 545), (99, 54)),
        (Protocol(scale=0.29), (100, 200), (29, 58)),  # 100 * 0.29 is 28.999999999999996 in floating point
        (Protocol(max_width=1600), (1599, 1200), (1599, 1200)),
        # the photographs of Mip-NeRF 360; as int(W / (W / 1600)) gives in floating point
        (Protocol(max_width=1600), (4946, 3286), (1600, 1063)),
        (Protocol(max_width=1600), (3118, 2078), (1600, 1066)),
        (Protocol(max_width=1600), (5187, 3361), (1600, 1036)),
        (Protocol(max_width=1600), (1601, 1000), (1600, 999)),
        (Protocol(max_width=1600, scale=0.5), (4946, 3286), (1600, 1063)),
        (Protocol(max_width=1600, scale=0.25), (4946, 3286), (1236, 821)),
    ],
)
def test_size_policy(protocol: Protocol, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert protocol.resized(*size) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenes": {}}, "has no scene 'thing'"),
        ({"source": {"kind": "colmap", "image": "images"}}, "unknown key 'image'"),
        ({"source": {"kind": "kolmap"}}, "'kolmap'.*choose one of colmap, blender, procedural"),
        ({"protocol": {"scale": 1.5}}, "protocol.scale is 1.5"),
        ({"protocol": {"scale": float("nan")}}, "protocol.scale is nan"),
        ({"protocol": {"max_width": 0}}, "protocol.max_width is 0"),
        ({"protocol": {"filter": "sharp"}}, "'sharp'"),
        ({"protocol": {"split": {"kind": "every_nth", "n": 1}}}, "split.n is 1"),
        ({"protocol": {"split": {"kind": "random"}}}, "'random'"),
        ({"protocol": {"split": "files"}}, "split is 'files'"),
        ({"protocol": {"background": [0, 0, 2]}}, "background is"),
        ({"protocol": {"background": [0, 0]}}, "background is"),
        ({"protocol": {"principal_point": "left"}}, "'left'"),
        ({"protocol": {"min_views": 1}}, "min_views is 1"),
        ({"protocol": {"resolution": 4}}, "unknown key 'resolution'"),
        ({"initial_points": {"kind": "dense"}}, "'dense'"),
        ({"initial_points": {"kind": "random", "num_points": 0}}, "num_points is 0"),
        ({"initial_points": {"kind": "random", "low": 1.0, "high": 1.0}}, "low below high"),
        ({"initial_points": {"kind": "random", "seed": -1}}, "seed is -1"),
        ({"initial_points": {"kind": "sfm", "number": 1}}, "unknown key 'number'"),
    ],
)
def test_unusable_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SceneSettings.of({**dataset("colmap", "."), **change}, "thing")


# The dataset files that come with the project.


@pytest.mark.parametrize("name", ["procedural", "bonsai_capture", "chair", "cup"])
def test_own_dataset_files_are_valid(name: str) -> None:
    config = load_named(DATASETS / f"{name}.yaml", "dataset")
    for scene in config["scenes"]:
        assert SceneSettings.of(config, scene).dataset == name


@pytest.mark.parametrize(
    ("name", "scene_id", "sizes", "num_points", "width"),
    [
        ("bonsai_capture", "bonsai", (255, 37), 94_518, 200),
        ("chair", "chair", (100, 200), 10_000, 100),
        ("cup", "cup", (67, 10), 8_470, 400),
    ],
)
@pytest.mark.slow
def test_real_captures(
    tmp_path: Path,
    captures: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    scene_id: str,
    sizes: tuple[int, int],
    num_points: int,
    width: int,
) -> None:
    monkeypatch.setenv("HEMGS_TEST_DATA", str(captures))
    config = load_named(DATASETS / f"{name}.yaml", "dataset")
    scene = prepare_scene(config, scene_id, tmp_path / "out", events=EventLog())
    assert (len(scene.split("train")), len(scene.split("test"))) == sizes
    assert len(scene.points) == num_points
    assert {view.camera.width for view in scene.views} == {width}
    assert 0.05 < np.mean([scene.read_image(view).mean() for view in scene.views[::20]]) < 0.7
