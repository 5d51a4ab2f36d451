"""3DGS on the toy scene, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from baselines.gs3d.method import Gs3d
from baselines.gs3d.params import Gs3dParams
from hemgs.core.events import EventLog
from hemgs.core.types import Scene
from hemgs.protocol import Model
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.model import SplatModel
from hemgs.splats.training import SplatTrainee
from tests.tasks import task_on

CPU = torch.device("cpu")
#: A training that is short enough for a test, with growth, pruning, opacity resets and all degrees. The toy's Gaussians
#: are large compared with the path of its cameras.
SHORT = {
    "iterations": 60,
    "densify_interval": 7,
    "gradient_threshold": 1e-6,
    "large_fraction": 100.0,
    "max_gaussians": 60,
    "checkpoint_every": 10,
}


def train(scene: Scene, workdir: Path, seed: int = 0, **params: Any) -> Model:
    with EventLog(workdir / "events.jsonl") as events:
        return Gs3d().train(task_on(scene, workdir, {**SHORT, **params}, events=events, seed=seed))


def trainee_of(scene: Scene, params: Gs3dParams) -> SplatTrainee:
    return SplatTrainee(scene, SplatModel(params), CPU)


def cloud_of(trainee: SplatTrainee) -> GaussianCloud:
    return GaussianCloud.from_bundle(trainee.bundle())
