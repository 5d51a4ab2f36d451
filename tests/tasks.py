"""Trainings for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hemgs.core.events import EventLog
from hemgs.core.types import SINGLE_RATE, Rate, Scene
from hemgs.protocol import TrainingTask


def task_on(
    scene: Scene,
    workdir: Path,
    params: Mapping[str, Any] | None = None,
    *,
    events: EventLog | None = None,
    rate: Rate = SINGLE_RATE,
    seed: int = 0,
) -> TrainingTask:
    """Return the task to train on a scene, on the CPU; without ``events``, nothing is logged."""
    return TrainingTask(scene, params or {}, workdir, events or EventLog(), rate, seed, torch.device("cpu"))
