"""A short run of the fuzzer, and tests that it finds each kind of failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hemgs.core.errors import BitstreamError, HemgsError
from tests.fuzz import worker as fuzz_worker
from tests.fuzz.mutations import KINDS, Subject, mutation
from tests.fuzz.session import FAILURES, FINE, fuzz
from tests.fuzz.subjects import write_subjects

NUM_FILES = 300


@pytest.fixture(scope="module")
def bitstreams(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_subjects(tmp_path_factory.mktemp("subjects"))


@pytest.mark.slow
def test_altered_files_are_refused_or_harmless(bitstreams: list[Path]) -> None:
    tally = fuzz(bitstreams, NUM_FILES, seed=0, limit_s=60.0)
    assert not tally.failures, tally.failures
    assert tally.num_files == NUM_FILES
    assert {kind for kind, _ in tally.counts} == set(KINDS)
    assert {outcome for _, outcome in tally.counts} == set(FINE)
    assert sum(number for (_, outcome), number in tally.counts.items() if outcome == "refused") > 0.8 * NUM_FILES


def test_a_number_gives_the_same_file_each_time(bitstreams: list[Path]) -> None:
    subjects = [Subject.read(path) for path in bitstreams]
    methods = {"context_gs", "gs3d", "hac", "hac_plus", "hemgs", "scaffold_gs"}
    assert {subject.method for subject in subjects} == methods
    first = [mutation(subjects, 7, index) for index in range(200)]
    again = [mutation([Subject.read(path) for path in bitstreams], 7, index) for index in reversed(range(200))][::-1]
    assert [altered for _, altered in first] == [altered for _, altered in again]
    assert len({altered.data for _, altered in first}) > 190
    assert mutation(subjects, 8, 0)[1] != first[0][1]


class _Decoder:
    """In place of a method: does what its constructor was asked for, except with the intact file."""

    def __init__(self, method: Any, intact: bytes, does: str) -> None:
        self._method, self._intact, self._does = method, intact, does

    def decode(self, path: Path, *, device: Any) -> Any:
        if path.read_bytes() == self._intact:
            return self._method.decode(path, device=device)
        if self._does == "exception":
            raise ZeroDivisionError
        if self._does == "file not named":
            raise HemgsError("something is wrong")
        if self._does == "memory":
            bytearray(b"x" * (16 << 20))
            raise BitstreamError(f"{path}: large")
        original = path.with_name("intact.gsc")
        original.write_bytes(self._intact)
        decoded = self._method.decode(original, device=device)
        if self._does != "same scene":
            tensor = next(iter(decoded.to_bundle().tensors.values()))
            tensor.view(-1)[0] = float("nan") if self._does == "not finite" else 1e3
        return decoded


@pytest.mark.parametrize("does", ["exception", "file not named", "memory", "same scene", "accepted", "not finite"])
def test_each_outcome_is_seen(does: str, bitstreams: list[Path], tmp_path: Path) -> None:
    path = next(path for path in bitstreams if path.stem == "gs3d")
    worker = fuzz_worker.Worker([path], tmp_path / "altered.gsc")
    method = worker._methods["gs3d"]
    worker._methods["gs3d"] = _Decoder(method, path.read_bytes(), does)  # type: ignore[assignment]
    subject = Subject.read(path)
    wanted = ("forged settings",) if does == "not finite" else ("swapped payloads",)
    found = [
        worker.examine(0, index)["outcome"] for index in range(60) if mutation([subject], 0, index)[1].kind in wanted
    ]
    assert set(found) == {does}
    assert (does in FINE) != (does in FAILURES)


@pytest.mark.parametrize(("ending", "outcome"), [("os._exit(3)", "crash"), ("time.sleep(60)", "hang")])
def test_a_worker_that_ends_or_hangs_is_replaced(
    ending: str, outcome: str, bitstreams: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the worker: the second file is its end, wherever it starts."""
    (tmp_path / "stub.py").write_text(
        "import json, os, sys, time\n"
        "first, stop = int(sys.argv[2]), int(sys.argv[3])\n"
        "print(json.dumps({'peaks_mib': {}}), flush=True)\n"
        "for index in range(first, stop):\n"
        f"    {ending} if index == 1 else None\n"
        "    print(json.dumps({'index': index, 'kind': 'x', 'outcome': 'refused'}), flush=True)\n"
    )
    from tests.fuzz import session

    start = session.subprocess.Popen
    monkeypatch.setattr(
        session.subprocess,
        "Popen",
        lambda command, **named: start([command[0], str(tmp_path / "stub.py"), *command[3:]], **named),
    )
    tally = fuzz(bitstreams, 4, seed=0, limit_s=2.0)
    assert tally.num_files == 4
    (failure,) = tally.failures
    assert (failure["index"], failure["outcome"]) == (1, outcome)
    assert failure["kind"] in KINDS
