"""Trainings that start from the model of another training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.bench.runs import TrainRecord, read_train_record
from hemgs.bench.training import TrainRequest, run_train
from hemgs.core.bundle import load_bundle
from hemgs.core.errors import ConfigError, SceneError
from hemgs.core.files import sha256_of
from hemgs.data.loader import load_scene
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.ply import write_ply
from hemgs.training.interrupt import TrainingInterrupted
from tests.unit.bench.conftest import CPU, TOY

POST = "tests.unit.splats.toy_splats:ToyPost"
SHORT = {"iterations": 3}


def train(scene: Path, out: Path, method: str = POST, **named: Any) -> TrainRecord:
    return run_train(TrainRequest(scene, method, out, **{"params": SHORT, **named}), CPU)


@pytest.fixture(scope="module")
def base(scene_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    train(scene_dir, folder, "gs3d", seed=2)
    return folder


def cloud_in(folder: Path) -> GaussianCloud:
    return GaussianCloud.from_bundle(load_bundle(folder / "model.safetensors"))


def test_a_post_method_goes_on_from_its_base_and_its_record_names_it(
    scene_dir: Path, base: Path, tmp_path: Path
) -> None:
    record = train(scene_dir, tmp_path / "post", base=base, seed=2, params={"iterations": 1})
    start, found = cloud_in(base), cloud_in(tmp_path / "post")
    assert start.num_gaussians == found.num_gaussians
    moved = (found.sh - start.sh).abs().max()
    assert 0 < float(moved) < 0.01  # one step of Adam
    before = read_train_record(base)
    assert (record.fit, record.iterations) == ("single", 1 + before.iterations)
    assert record.train_s > before.train_s
    assert record.base["method"] == "gs3d"
    assert record.base["model_sha256"] == sha256_of(base / "model.safetensors")
    assert read_train_record(tmp_path / "post") == record
    assert before.base == {}


def test_a_ply_can_be_the_base_and_is_named_by_its_hash(scene_dir: Path, base: Path, tmp_path: Path) -> None:
    write_ply(tmp_path / "theirs.ply", cloud_in(base))
    record = train(scene_dir, tmp_path / "post", base=tmp_path / "theirs.ply", seed=2)
    assert record.base == {"file": "theirs.ply", "sha256": sha256_of(tmp_path / "theirs.ply")}
    assert record.iterations == 3
    same = train(scene_dir, tmp_path / "same", base=base, seed=2)
    assert record.model_sha256 == same.model_sha256
    assert record.config_hash != same.config_hash


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "toy_post starts from trained Gaussians, and none are named — add --base MODEL_DIR"),
        ({"base": "absent", "seed": 2}, "absent contains no finished training"),
        ({"base": "base"}, "base.*: trained with seed 2, not 0 — add --seed 2"),
        (
            {"base": "base", "seed": 2, "method": "gs3d"},
            "gs3d is of kind single and starts from no model — leave --base",
        ),
        ({"base": "toy", "seed": 2}, "toy: a model of toy_all: .* no plain Gaussians: means, .* such as gs3d"),
        (
            {"base": "moved", "seed": 2},
            "moved: trained on .*, which is not .*name a base that was trained on this scene",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_error(
    scene_dir: Path, base: Path, tmp_path: Path, named: dict[str, Any], message: str
) -> None:
    if named.get("base") == "toy":
        train(scene_dir, tmp_path / "toy", f"{TOY}ToyAll", seed=2)
    if named.get("base") == "moved":
        (tmp_path / "moved").mkdir()
        for path in base.iterdir():
            (tmp_path / "moved" / path.name).write_bytes(path.read_bytes())
        text = (base / "train.json").read_text()
        (tmp_path / "moved/train.json").write_text(text.replace(load_scene(scene_dir).hash, "0" * 64))
    if "base" in named:
        named = named | {"base": base if named["base"] == "base" else tmp_path / named["base"]}
    with pytest.raises(ConfigError, match=message):
        train(scene_dir, tmp_path / "out", **named)
    assert not (tmp_path / "out/train.json").exists()


def test_a_ply_that_cannot_be_read_is_named(scene_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.ply").write_text("ply\n")
    with pytest.raises(SceneError, match=r"broken\.ply: not a PLY file"):
        train(scene_dir, tmp_path / "out", base=tmp_path / "broken.ply")


def test_checkpoints_of_a_training_from_another_base_are_not_continued(
    scene_dir: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = cloud_in(base)
    write_ply(tmp_path / "theirs.ply", dataclasses.replace(cloud, sh=cloud.sh + 0.5))
    whole = train(scene_dir, tmp_path / "whole", base=base, seed=2)

    def interrupted(*_: object, **__: object) -> None:
        raise TrainingInterrupted(3)

    with monkeypatch.context() as patch:
        patch.setattr("hemgs.splats.training.SplatTrainee.bundle", interrupted)
        with pytest.raises(TrainingInterrupted):
            train(scene_dir, tmp_path / "out", base=tmp_path / "theirs.ply", seed=2)
    assert list((tmp_path / "out/work").glob("checkpoint_*"))
    with pytest.raises(ConfigError, match="an interrupted training of another request: "):
        train(scene_dir, tmp_path / "out", base=base, seed=2)
    assert train(scene_dir, tmp_path / "out", base=base, seed=2, overwrite=True).model_sha256 == whole.model_sha256
    assert torch.isfinite(cloud_in(tmp_path / "out").means).all()
