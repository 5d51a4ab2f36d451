"""A tiny prepared scene, a trained toy and its bitstreams, made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from hemgs.bench import evaluation
from hemgs.bench.conformance import make_tiny_scene
from hemgs.bench.decoding import run_decode
from hemgs.bench.encoding import run_encode
from hemgs.bench.isolation import Decoded
from hemgs.bench.rates import rate_of
from hemgs.bench.training import TrainRequest, run_train

CPU = torch.device("cpu")
TOY = "tests.unit.bench.toy_methods:"


@pytest.fixture(scope="session")
def scene_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_scene(tmp_path_factory.mktemp("prepared") / "scene")


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory, scene_dir: Path) -> Path:
    """Folder of a trained ``ToyAll``; not to be changed."""
    out = tmp_path_factory.mktemp("toy") / "model"
    run_train(TrainRequest(scene_dir, f"{TOY}ToyAll", out), CPU)
    return out


@pytest.fixture
def toy_points(tmp_path: Path, toy_model: Path) -> Path:
    """Three bitstreams of the toy, which a test may damage."""
    run_encode(toy_model, tmp_path / "points", [rate_of(lmbda) for lmbda in (0.001, 0.002, 0.004)], CPU)
    return tmp_path / "points"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process, for tests that do not depend on a separate process."""

    @contextmanager
    def decode_here(path: Path, device: torch.device, entry: str, timeout_s: float) -> Iterator[Decoded]:
        yield Decoded(*run_decode(path, device, entry, repeat=False))

    monkeypatch.setattr(evaluation, "decode_alone", decode_here)
