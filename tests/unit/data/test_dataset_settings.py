from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hemgs.config.dataset import Protocol, load_dataset, scene_of
from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.yaml_files import load_yaml
from hemgs.data.prepare import prepare_scene
from tests.unit.data.capture_builders import dataset, protocol

DATASETS = Path(__file__).resolve().parents[3] / "workflow/config/datasets"


@pytest.mark.parametrize(
    ("applied", "size", "expected"),
    [
        (protocol(), (800, 533), (800, 533)),
        (protocol(scale=0.25), (800, 533), (200, 133)),
        (protocol(scale=0.1), (990, 545), (99, 54)),
        (protocol(scale=0.29), (100, 200), (29, 58)),  # 100 * 0.29 is 28.999999999999996 in floating point
        (protocol(max_width=1600), (1599, 1200), (1599, 1200)),
        # the photographs of Mip-NeRF 360; as int(W / (W / 1600)) gives in floating point
        (protocol(max_width=1600), (4946, 3286), (1600, 1063)),
        (protocol(max_width=1600), (3118, 2078), (1600, 1066)),
        (protocol(max_width=1600), (5187, 3361), (1600, 1036)),
        (protocol(max_width=1600), (1601, 1000), (1600, 999)),
        (protocol(max_width=1600, scale=0.5), (4946, 3286), (1600, 1063)),
        (protocol(max_width=1600, scale=0.25), (4946, 3286), (1236, 821)),
    ],
)
def test_size_policy(applied: Protocol, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert applied.resized(*size) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenes": {"other": {}}}, "has no scene 'thing'"),
        ({"source": {"kind": "colmap", "image": "images"}}, "unknown key 'image' in 'source' — did you mean 'images'"),
        ({"source": {"kind": "kolmap"}}, "'source.kind' cannot be \"kolmap\" — allowed: colmap, blender, procedural"),
        ({"source": {"kind": "procedural"}}, "has no layout, and there is none named 'thing' — known: court, garden"),
        ({"source": {"procedural": {"layout": "cort"}}}, "'source.procedural.layout' cannot be .*court, garden"),
        ({"protocol": {"scale": 1.5}}, "'protocol.scale' cannot be 1.5 — it must be at most 1"),
        ({"protocol": {"scale": float("nan")}}, "'protocol.scale' cannot be NaN"),
        ({"protocol": {"max_width": 0}}, "'protocol.max_width' cannot be 0 — it must be at least 16"),
        ({"protocol": {"filter": "sharp"}}, 'cannot be "sharp" — allowed: nearest, box'),
        ({"protocol": {"split": {"kind": "every_nth", "n": 1}}}, "'protocol.split.n' cannot be 1"),
        ({"protocol": {"split": {"kind": "random"}}}, "allowed values of 'protocol.split.kind': every_nth, files"),
        ({"protocol": {"split": "files"}}, "'protocol.split' cannot be \"files\" — a value of type object"),
        ({"protocol": {"background": [0, 0, 2]}}, r"'protocol.background\[2\]' cannot be 2 — it must be at most 1"),
        ({"protocol": {"background": [0, 0]}}, "'protocol.background' cannot be"),
        ({"protocol": {"principal_point": "left"}}, '"left" — allowed: as_given, centered'),
        ({"protocol": {"min_views": 1}}, "'protocol.min_views' cannot be 1"),
        ({"protocol": {"resolution": 4}}, "unknown key 'resolution'"),
        ({"scenes": {"thing": {"protocol": {"scale": 2}}}}, "'scenes.thing.protocol.scale' cannot be 2"),
        ({"scenes": {"thing": {"initial_points": {"kind": "random"}}}}, "'scenes.thing.initial_points' lacks 'num_po"),
        ({"initial_points": {"kind": "dense"}}, "allowed values of 'initial_points.kind': sfm, random"),
        ({"initial_points": {"kind": "random", "num_points": 0, "low": 0, "high": 1}}, "num_points' cannot be 0"),
        ({"initial_points": {"kind": "random", "num_points": 1, "low": 1.0, "high": 1.0}}, "give a low below high"),
        (
            {"initial_points": {"kind": "random", "num_points": 1, "low": 0, "high": 1, "seed": -1}},
            "seed' cannot be -1",
        ),
        ({"initial_points": {"kind": "sfm", "number": 1}}, "unknown key 'number'"),
    ],
)
def test_unusable_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scene_of(changed(dataset("colmap", "."), change), "thing")


def changed(data: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Sections are merged, what names another kind or other scenes replaces them."""
    merged = {
        key: value if "kind" in value or key == "scenes" else {**data[key], **value} for key, value in change.items()
    }
    return {**data, **merged}


# The dataset files that come with the project.


@pytest.mark.parametrize("name", ["procedural", "bonsai_capture", "chair", "cup"])
def test_own_dataset_files_are_valid(name: str) -> None:
    for scene in load_dataset(DATASETS / f"{name}.yaml").scenes.values():
        assert scene.dataset == name


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
    config = load_yaml(DATASETS / f"{name}.yaml")
    scene = prepare_scene(config, scene_id, tmp_path / "out", events=EventLog())
    assert (len(scene.split("train")), len(scene.split("test"))) == sizes
    assert len(scene.points) == num_points
    assert {view.camera.width for view in scene.views} == {width}
    assert 0.05 < np.mean([scene.read_image(view).mean() for view in scene.views[::20]]) < 0.7
