"""The trained model as input of encoding, for all methods with an entropy model; no training step is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hemgs.anchor_codec import method as coded_method
from hemgs.bench.rates import rate_of
from hemgs.bench.registry import get_method
from tests.tasks import task_on
from tests.unit.anchors.ball_scene import ball_scene
from tests.unit.codec.toy_anchors import toy_anchors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["context_gs", "hac", "hac_plus", "hemgs"])
def test_a_model_has_four_viewpoints_far_from_each_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coded_method, "train_anchors", lambda *_: toy_anchors(30))
    scene = ball_scene(24)
    grid = {"iterations": 100, "grid_resolutions_3d": "8", "grid_resolutions_2d": "8"}
    params = {} if name == "context_gs" else grid
    trained = get_method(name).train(task_on(scene, tmp_path, params, rate=rate_of(0.002)))
    found = trained.tensors["viewpoints"].numpy()
    centers = np.stack([view.camera.center for view in scene.split("train")]).astype(np.float32)
    assert found.shape == (4, 3)
    assert all((np.abs(centers - center).max(axis=1) == 0).any() for center in found)
    apart = [np.linalg.norm(one - other) for number, one in enumerate(found) for other in found[:number]]
    assert min(apart) > np.linalg.norm(centers[0] - centers[1])
