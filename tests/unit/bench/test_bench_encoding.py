"""Encoding as a use case: bitstreams, records, and what is never replaced."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from hemgs.bench.encoding import run_encode, run_encode_file
from hemgs.bench.evaluation import EvaluateRequest, run_evaluate
from hemgs.bench.rates import rate_of
from hemgs.bench.runs import alone_in, bitstream_path, read_encode_record, read_rates, read_train_record
from hemgs.bench.training import run_train
from hemgs.core.bundle import Bundle, save_bundle
from hemgs.core.errors import BitstreamError, ConfigError, HemgsError
from hemgs.core.files import sha256_of
from hemgs.core.types import Rate
from tests.unit.bench.conftest import CPU
from tests.unit.bench.toy_methods import ToyAll
from tests.unit.bench.verb_cases import files_in, request


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
    with pytest.raises(ConfigError, match="is no bitstream of the model in .*--overwrite"):
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


@pytest.mark.parametrize("listed", [None, "{"])
def test_bitstreams_that_no_record_lists_are_replaced_only_with_overwrite(
    toy_model: Path, toy_points: Path, listed: str | None
) -> None:
    path = bitstream_path(toy_points, "lmbda_0.0010")
    path.write_bytes(b"mine")
    index = toy_points / "bitstreams/rates.json"
    index.unlink()
    if listed is not None:
        index.write_text(listed)
    with pytest.raises(ConfigError, match=re.escape(f"{path} is no bitstream of the model")):
        run_encode(toy_model, toy_points, [Rate.of(0.001)], CPU)
    assert path.read_bytes() == b"mine"
    run_encode(toy_model, toy_points, [Rate.of(0.001)], CPU, overwrite=True)
    assert path.read_bytes() != b"mine"


def test_an_altered_bitstream_stays_listed_until_it_is_encoded_again(toy_model: Path, toy_points: Path) -> None:
    path = bitstream_path(toy_points, "lmbda_0.0010")
    path.write_bytes(b"cut")
    run_encode(toy_model, toy_points, [Rate.of(0.0022)], CPU)
    there = read_rates(toy_points)
    assert there is not None and "lmbda_0.0010" in there.rates
    run_encode(toy_model, toy_points, [Rate.of(0.001)], CPU)
    assert sha256_of(path) == there.rates["lmbda_0.0010"].sha256


def test_a_folder_on_another_disk_is_written_through_its_link(toy_model: Path, tmp_path: Path) -> None:
    disk = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    with tempfile.TemporaryDirectory(dir=disk) as elsewhere:
        (tmp_path / "points").mkdir()
        (tmp_path / "points/bitstreams").symlink_to(elsewhere)
        run_encode(toy_model, tmp_path / "points", [Rate.of(0.001)], CPU)
        assert (Path(elsewhere) / "lmbda_0.0010.gsc").stat().st_size > 0


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
