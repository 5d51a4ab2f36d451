"""Training as a use case: files, records, seeds, and what is never replaced."""

from __future__ import annotations

import fcntl
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.bench import training
from hemgs.bench.registry import get_method
from hemgs.bench.runs import read_train_record
from hemgs.bench.training import TrainRequest, resolve_params, run_train
from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError
from hemgs.core.files import sha256_of
from hemgs.core.types import Rate
from hemgs.data.loader import load_scene
from hemgs.protocol import TrainingTask
from hemgs.training.interrupt import TrainingInterrupted
from tests.unit.bench.conftest import CPU, TOY
from tests.unit.bench.toy_methods import ToyAll
from tests.unit.bench.verb_cases import files_in, request


def test_parameters_are_defaults_with_overrides() -> None:
    method = get_method(f"{TOY}ToyAll")
    resolved = resolve_params(method, {"iterations": 7, "gain": 1})
    assert resolved["iterations"] == 7
    assert resolved["gain"] == 1.0
    assert resolved["shade"] == "none"
    assert len(resolved) == 6


def test_typed_texts_are_read_as_what_the_method_wants() -> None:
    texts = {"iterations": "7", "gain": "1e-3", "shade": "16", "strict": "false"}
    resolved = resolve_params(get_method(f"{TOY}ToyAll"), {"iterations": 3, "checkpoint_every": 2}, texts)
    assert resolved["iterations"] == 7
    assert resolved["checkpoint_every"] == 2
    assert resolved["gain"] == 0.001
    assert resolved["shade"] == "16"
    assert resolved["strict"] is False
    for wrong in ({"iterations": "7.5"}, {"strict": "no"}, {"gain": "much"}, {"iteratoins": "7"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            resolve_params(get_method(f"{TOY}ToyAll"), {}, wrong)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"iteratoins": 7}, r"toy_all: unknown setting 'iteratoins'.*'iterations'"),
        ({"iterations": 7.5}, "iterations"),
        ({"iterations": "many"}, "iterations"),
        ({"strict": 1}, "strict"),
        ({"shade": 3}, "shade"),
        ({"gain": -1.0}, "gain: -1.0"),
        ({"gain": float("nan")}, "gain is nan"),
        ({"iterations": 0}, "iterations: 0"),
    ],
)
def test_wrong_parameters_are_config_errors(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_params(get_method(f"{TOY}ToyAll"), overrides)


def test_training_writes_model_record_and_log_and_nothing_else(scene_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    record = run_train(request(scene_dir, out, params={"iterations": 9}, seed=3, variant="v", label="L"), CPU)
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "train.json", "events.jsonl"}
    assert read_train_record(out) == record
    assert (record.method, record.variant, record.label, record.seed) == ("toy_all", "v", "L", 3)
    assert (record.fit, record.rate, record.iterations, record.dataset) == ("all", "single", 9, "procedural")
    assert record.params["checkpoint_every"] == 6
    assert record.counts == {"num_gaussians": 1}
    assert record.model_sha256 == sha256_of(out / "model.safetensors")
    assert 0 < record.train_s < 60
    assert record.train_peak_mib > 50
    events = [json.loads(line)["event"] for line in (out / "events.jsonl").read_text().splitlines()]
    assert events[0] == "session"
    assert "progress" in events
    assert events[-1] == "trained"


def test_the_method_is_given_what_was_asked_for(
    scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[TrainingTask] = []
    train = ToyAll.train

    def watched(self: ToyAll, task: TrainingTask) -> Bundle:
        given.append(task)
        return train(self, task)

    monkeypatch.setattr(ToyAll, "train", watched)
    wanted: dict[str, Any] = {"rate": "lmbda_0.0020", "params": {"iterations": 3}, "texts": {"gain": "0.5"}, "seed": 11}
    run_train(TrainRequest(scene_dir, f"{TOY}ToyPerRate", tmp_path / "m", **wanted), CPU)
    (task,) = given
    assert (task.scene.hash, task.workdir) == (load_scene(scene_dir).hash, tmp_path / "m" / "work")
    assert (task.params["iterations"], task.params["gain"]) == (3, 0.5)
    assert (task.rate, task.seed, task.device, task.base) == (Rate.of(0.002), 11, CPU, None)


def test_seed_decides_the_model(scene_dir: Path, tmp_path: Path) -> None:
    models = []
    for index, seed in enumerate((1, 1, 2)):
        torch.rand(index)  # Earlier random draws must have no effect.
        models.append(run_train(request(scene_dir, tmp_path / str(index), seed=seed), CPU).model_sha256)
    assert models[0] == models[1] != models[2]


def test_interrupted_training_continues_from_its_checkpoint(
    scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_train(request(scene_dir, tmp_path / "whole", params={"log_every": 8}), CPU)
    out = tmp_path / "parts"

    def interrupted(*_: object, **__: object) -> None:
        raise TrainingInterrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr("hemgs.core.events.EventLog.progress", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_train(request(scene_dir, out, params={"log_every": 8}), CPU)
    assert {path.name for path in out.iterdir()} == {"work", "events.jsonl"}
    parts = run_train(request(scene_dir, out, params={"log_every": 8}), CPU)
    assert parts.model_sha256 == whole.model_sha256
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("session") == 2
    trained = events[-1]
    assert trained["resumed_from"] == 6
    assert parts.train_s == trained["train_s"]


def test_new_training_starts_a_new_log(scene_dir: Path, tmp_path: Path) -> None:
    for seed in range(2):
        run_train(request(scene_dir, tmp_path / "model", seed=seed, overwrite=True), CPU)
    text = (tmp_path / "model" / "events.jsonl").read_text()
    assert text.count('"session"') == 1


def test_failed_training_leaves_the_former_result_alone(
    scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    before = run_train(request(scene_dir, out), CPU)

    def full(path: Path, bundle: Bundle) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "save_bundle", full)
    with pytest.raises(OSError, match="No space"):
        run_train(request(scene_dir, out, seed=1, overwrite=True), CPU)
    assert read_train_record(out) == before
    assert sha256_of(out / "model.safetensors") == before.model_sha256


def test_out_that_is_a_file_is_refused(scene_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        run_train(request(scene_dir, tmp_path / "model"), CPU)


def test_a_finished_training_of_the_same_request_is_left_as_it_is(scene_dir: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "model", io.StringIO()
    first = run_train(request(scene_dir, out), CPU)
    before = files_in(out)
    assert run_train(request(scene_dir, out), CPU, words) == first
    assert run_train(request(scene_dir, out, overwrite=True), CPU) == first
    assert files_in(out) == before
    assert f"{out} contains this training already" in words.getvalue()


@pytest.mark.parametrize(
    ("kind", "named", "difference"),
    [
        ("ToyAll", {"seed": 1}, "seed is 0 there, and 1 here"),
        ("ToyAll", {"params": {"gain": 0.5}}, "gain is [0-9.]+ there, and 0.5 here"),
        ("ToyAll", {"variant": "other"}, "variant is '' there, and 'other' here"),
        ("ToyPerRate", {"rate": "lmbda_0.0020"}, "method is 'toy_all' there, and 'toy_per_rate' here"),
    ],
)
def test_a_finished_training_of_another_request_is_replaced_only_with_overwrite(
    scene_dir: Path, tmp_path: Path, kind: str, named: dict[str, object], difference: str
) -> None:
    out = tmp_path / "model"
    run_train(request(scene_dir, out), CPU)
    before = files_in(out)
    with pytest.raises(ConfigError, match=f"finished training of another request: {difference}.*--overwrite"):
        run_train(request(scene_dir, out, kind, **named), CPU)
    assert files_in(out) == before
    run_train(request(scene_dir, out, kind, overwrite=True, **named), CPU)
    assert files_in(out) != before


def test_checkpoints_of_another_request_are_dropped_only_with_overwrite(
    scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"

    def interrupted(*_: object, **__: object) -> None:
        raise TrainingInterrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr("hemgs.core.events.EventLog.progress", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_train(request(scene_dir, out, params={"log_every": 8, "gain": 0.25}), CPU)
    before = files_in(out)
    assert any("checkpoint" in name for name in before)
    with pytest.raises(ConfigError, match=r"an interrupted training of another request: gain is 0.25 there, and 0.5"):
        run_train(request(scene_dir, out, params={"log_every": 8, "gain": 0.5}), CPU)
    assert files_in(out) == before
    run_train(request(scene_dir, out, params={"log_every": 4, "gain": 0.5}, overwrite=True), CPU)
    events = (out / "events.jsonl").read_text()
    assert events.count('"session"') == 1
    assert "resumed" not in [json.loads(line)["event"] for line in events.splitlines()]
    assert not (out / "work").exists()


def test_how_often_a_training_reports_makes_no_other_request(scene_dir: Path, tmp_path: Path) -> None:
    first = run_train(request(scene_dir, tmp_path / "model"), CPU)
    assert run_train(request(scene_dir, tmp_path / "model", params={"log_every": 3}), CPU) == first


@pytest.mark.parametrize("record", ["{", '{"schema_version": 99}', None])
def test_a_model_that_cannot_be_identified_is_replaced_only_with_overwrite(
    scene_dir: Path, tmp_path: Path, record: str | None
) -> None:
    out = tmp_path / "model"
    whole = run_train(request(scene_dir, out), CPU)
    (out / "train.json").unlink()
    if record is not None:
        (out / "train.json").write_text(record)
    with pytest.raises(ConfigError, match="cannot be identified.*--overwrite"):
        run_train(request(scene_dir, out), CPU)
    assert sha256_of(out / "model.safetensors") == whole.model_sha256
    assert run_train(request(scene_dir, out, overwrite=True), CPU).model_sha256 == whole.model_sha256


@pytest.mark.parametrize("name", ["thesis.txt", ".env"])
def test_a_work_folder_of_somebody_else_is_left_alone(scene_dir: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "model/work" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="contains files of somebody else"):
            run_train(request(scene_dir, tmp_path / "model", overwrite=overwrite), CPU)
    assert mine.read_text() == "mine"


def test_a_model_that_does_not_fit_its_record_is_trained_again(scene_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    whole = run_train(request(scene_dir, out), CPU)
    (out / "model.safetensors").write_bytes(b"cut")
    assert run_train(request(scene_dir, out), CPU).model_sha256 == whole.model_sha256


def test_a_second_training_of_the_same_waits_and_takes_the_result(scene_dir: Path, tmp_path: Path) -> None:
    """This is the case of a workflow that starts again while a job of its killed predecessor is still training."""
    out, words = tmp_path / "model", io.StringIO()
    (out / "work").mkdir(parents=True)
    with (out / "work" / ".lock").open("w") as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = pool.submit(run_train, request(scene_dir, out), CPU, words)
        while not words.getvalue():
            assert not second.done()
        assert str(out) in words.getvalue()
        # The first one ends: its result, then no work folder, then no lock.
        first = run_train(request(scene_dir, tmp_path / "elsewhere"), CPU)
        for name in ("model.safetensors", "train.json"):
            shutil.copy(tmp_path / "elsewhere" / name, out)
        shutil.rmtree(out / "work")
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert second.result(timeout=60) == first
    assert not (out / "events.jsonl").exists(), "it did not train"
    assert not (out / "work").exists()


def test_a_second_training_of_something_else_waits_and_trains(scene_dir: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "model", io.StringIO()
    run_train(request(scene_dir, out), CPU)
    (out / "work").mkdir()
    with (out / "work" / ".lock").open("w") as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = pool.submit(run_train, request(scene_dir, out, seed=1, overwrite=True), CPU, words)
        while not words.getvalue():
            assert not second.done()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert second.result(timeout=60).seed == 1
