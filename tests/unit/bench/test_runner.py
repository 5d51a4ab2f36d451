"""Training and encoding as use cases, with a toy."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.bench import training
from hemgs.bench.encoding import run_encode, run_encode_file
from hemgs.bench.evaluation import EvaluateRequest, run_evaluate
from hemgs.bench.rates import rate_of
from hemgs.bench.registry import get_method
from hemgs.bench.runs import alone_in, bitstream_path, read_encode_record, read_rates, read_train_record
from hemgs.bench.training import TrainRequest, resolve_params, run_train
from hemgs.core.bundle import Bundle, save_bundle
from hemgs.core.errors import BitstreamError, ConfigError, HemgsError
from hemgs.core.files import sha256_of
from hemgs.core.types import Rate
from hemgs.data.loader import load_scene
from hemgs.protocol import TrainingTask
from hemgs.training.interrupt import TrainingInterrupted
from tests.unit.bench.conftest import CPU, TOY
from tests.unit.bench.toy_methods import ToyAll


def request(scene_dir: Path, out: Path, kind: str = "ToyAll", **named: object) -> TrainRequest:
    return TrainRequest(scene_dir, f"{TOY}{kind}", out, **named)  # type: ignore[arg-type]


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


def test_encoding_many_rates(toy_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "points"
    record = run_encode(toy_model, out, [], CPU)
    assert len(record.rates) == 16
    assert read_encode_record(out) == record
    assert record.train == read_train_record(toy_model)
    for rate_id, encoded in record.rates.items():
        path = bitstream_path(out, rate_id)
        assert encoded.total_bytes == path.stat().st_size
        assert encoded.sha256 == sha256_of(path)
    sizes = [encoded.total_bytes for encoded in record.rates.values()]
    assert sizes == sorted(sizes, reverse=True)


def files_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of the last change and contents of all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


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
        ("ToyAll", {"params": {"log_every": 7}}, "log_every is 5 there, and 7 here"),
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
            run_train(request(scene_dir, out, params={"log_every": 8}), CPU)
    before = files_in(out)
    assert any("checkpoint" in name for name in before)
    with pytest.raises(ConfigError, match=r"an interrupted training of another request: log_every is 8 there, and 4"):
        run_train(request(scene_dir, out, params={"log_every": 4}), CPU)
    assert files_in(out) == before
    run_train(request(scene_dir, out, params={"log_every": 4}, overwrite=True), CPU)
    events = (out / "events.jsonl").read_text()
    assert events.count('"session"') == 1
    assert "resumed" not in [json.loads(line)["event"] for line in events.splitlines()]
    assert not (out / "work").exists()


def test_a_model_that_does_not_fit_its_record_is_trained_again(scene_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    whole = run_train(request(scene_dir, out), CPU)
    (out / "model.safetensors").write_bytes(b"cut")
    assert run_train(request(scene_dir, out), CPU).model_sha256 == whole.model_sha256


def test_encoding_again_adds_rates_and_leaves_files_of_others(toy_model: Path, toy_points: Path) -> None:
    mine = toy_points / "bitstreams/my_best.gsc"
    mine.write_bytes(b"mine")
    before = files_in(toy_points / "bitstreams")
    listed = before.pop("rates.json")
    record = run_encode(toy_model, toy_points, [Rate.of(0.001), Rate.of(0.0022)], CPU)
    assert read_encode_record(toy_points) == record
    assert list(record.rates) == ["lmbda_0.0010", "lmbda_0.0022"]
    after = files_in(toy_points / "bitstreams")
    assert after.pop("rates.json") != listed
    assert set(after) - set(before) == {"lmbda_0.0022.gsc"}
    assert {name: after[name] for name in before} == before
    there = read_rates(toy_points)
    assert there is not None
    assert [f"{rate}.gsc" for rate in there.rates] == sorted(set(after) - {"my_best.gsc"})
    assert all(encoded.origin["code_fingerprint"] for encoded in record.rates.values())


def test_bitstreams_of_another_model_are_replaced_only_with_overwrite(
    scene_dir: Path, toy_points: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    run_train(request(scene_dir, other, seed=3), CPU)
    (toy_points / "bitstreams/my_best.gsc").write_bytes(b"mine")
    before = files_in(toy_points)
    with pytest.raises(ConfigError, match="bitstreams of another model.*--overwrite"):
        run_encode(other, toy_points, [Rate.of(0.002)], CPU)
    assert files_in(toy_points) == before
    run_encode(other, toy_points, [Rate.of(0.002)], CPU, overwrite=True)
    assert set(files_in(toy_points / "bitstreams")) == {"lmbda_0.0020.gsc", "my_best.gsc", "rates.json"}
    assert list(read_encode_record(toy_points).rates) == ["lmbda_0.0020"]


def test_rates_that_were_finished_when_encoding_failed_are_not_encoded_again(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rates = tmp_path / "points", [Rate.of(lmbda) for lmbda in (0.001, 0.002, 0.003)]
    encode, calls = ToyAll.encode, []

    def full_at_the_third(self: ToyAll, model: Bundle, rate: Rate, path: Path, **named: object) -> object:
        calls.append(rate.lmbda)
        if rate.lmbda == 0.003 and calls.count(0.003) == 1:
            raise OSError(28, "No space left on device")
        return encode(self, model, rate, path, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ToyAll, "encode", full_at_the_third)
    with pytest.raises(OSError, match="No space"):
        run_encode(toy_model, out, rates, CPU)
    assert not (out / "encode.json").exists()
    record = run_encode(toy_model, out, rates, CPU)
    assert calls.count(0.001) == 2, "twice to compare, and not again"
    assert (calls.count(0.002), calls.count(0.003)) == (1, 3)
    assert [path.stem for path in sorted((out / "bitstreams").glob("*.gsc"))] == list(record.rates)
    assert not (out / "work").exists()


def test_the_same_request_is_left_as_it_is(toy_model: Path, toy_points: Path) -> None:
    rates = [rate_of(encoded.lmbda or 0.0) for encoded in read_encode_record(toy_points).rates.values()]
    before = files_in(toy_points / "bitstreams")
    before.pop("rates.json")
    run_encode(toy_model, toy_points, rates, CPU)
    assert files_in(toy_points / "bitstreams").items() >= before.items()


def test_a_bitstream_that_was_altered_is_encoded_again(toy_model: Path, toy_points: Path) -> None:
    path = bitstream_path(toy_points, "lmbda_0.0010")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    run_encode(toy_model, toy_points, [Rate.of(0.001)], CPU)
    assert path.read_bytes() == whole


def test_a_record_of_the_first_version_is_read(toy_points: Path) -> None:
    record = read_encode_record(toy_points)
    data = json.loads((toy_points / "encode.json").read_text())
    data |= {"schema_version": 1, "device": "cpu", "origin": {"code_version": "1"}}
    for values in data["rates"].values():
        del values["origin"]
    (toy_points / "encode.json").write_text(json.dumps(data))
    read = read_encode_record(toy_points)
    assert list(read.rates) == list(record.rates)
    assert {tuple(encoded.origin.items()) for encoded in read.rates.values()} == {
        (("device", "cpu"), ("code_version", "1"))
    }


def test_encoding_one_file(toy_model: Path, tmp_path: Path) -> None:
    encoded = run_encode_file(toy_model, tmp_path / "one.gsc", Rate.of(0.003), CPU)
    assert encoded.total_bytes == (tmp_path / "one.gsc").stat().st_size
    with pytest.raises(ConfigError, match="name it"):
        run_encode_file(toy_model, tmp_path / "other.gsc", None, CPU)
    assert not (tmp_path / "other.gsc").exists()


@pytest.mark.parametrize(
    ("kind", "message"), [("Unsteady", "encoding twice"), ("Miscounting", "were reported, the file contains")]
)
def test_encoders_that_cannot_be_trusted(scene_dir: Path, tmp_path: Path, kind: str, message: str) -> None:
    run_train(request(scene_dir, tmp_path / "model", kind), CPU)
    with pytest.raises(BitstreamError, match=message):
        run_encode(tmp_path / "model", tmp_path / "points", [], CPU)
    assert not (tmp_path / "points" / "encode.json").exists()


def test_model_that_is_not_the_recorded_one(scene_dir: Path, tmp_path: Path) -> None:
    run_train(request(scene_dir, tmp_path / "model"), CPU)
    save_bundle(tmp_path / "model" / "model.safetensors", Bundle({"color": torch.zeros(3)}))
    with pytest.raises(HemgsError, match="not the model"):
        run_encode(tmp_path / "model", tmp_path / "points", [], CPU)


def test_one_training_per_rate(scene_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="once per rate"):
        run_train(request(scene_dir, tmp_path / "model", "ToyPerRate"), CPU)
    record = run_train(request(scene_dir, tmp_path / "model", "ToyPerRate", rate="lmbda_0.0020"), CPU)
    assert (record.fit, record.rate) == ("lmbda_0.0020", "lmbda_0.0020")
    assert list(run_encode(tmp_path / "model", tmp_path / "points", [], CPU).rates) == ["lmbda_0.0020"]


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


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("verb", "record"), [("encode", "encode.json"), ("evaluate", "points.csv")])
def test_encoding_and_measuring_wait_too(
    scene_dir: Path, toy_model: Path, toy_points: Path, verb: str, record: str
) -> None:
    """A job that outlived its workflow is not disturbed: its files stay while it works."""
    run_evaluate(EvaluateRequest(toy_points, scene_dir, toy_points), CPU)
    words, written = io.StringIO(), (toy_points / record).stat().st_mtime_ns

    def second() -> object:
        if verb == "encode":
            return run_encode(toy_model, toy_points, [rate_of(0.003)], CPU, words)
        return run_evaluate(EvaluateRequest(toy_points, scene_dir, toy_points), CPU, words)

    (toy_points / "work").mkdir()
    with (toy_points / "work" / ".lock").open("w") as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = pool.submit(second)
        while not words.getvalue():
            assert not waiting.done()
            time.sleep(0.01)
        assert len(list((toy_points / "bitstreams").glob("*.gsc"))) == 3
        assert (toy_points / record).stat().st_mtime_ns == written
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert waiting.result(timeout=60)
    assert (toy_points / record).stat().st_mtime_ns != written
    assert not (toy_points / "work").exists()


def test_a_work_folder_stays_where_work_is_in_it(tmp_path: Path) -> None:
    """A failed training continues from its checkpoint; a failed encoding leaves no files."""
    for name, stays in (("checkpoint", True), (".lock", False)):
        with contextlib.suppress(ZeroDivisionError), alone_in(tmp_path / name, None):
            (tmp_path / name / "work" / name).touch()
            raise ZeroDivisionError
        assert (tmp_path / name / "work").exists() == stays
