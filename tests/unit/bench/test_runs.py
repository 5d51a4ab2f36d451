"""Records between steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.bench.runs import counts_of, read_encode_record, read_train_record, trained_seconds
from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError, HemgsError


def spoil(path: Path, **changes: Any) -> None:
    data = json.loads(path.read_text())
    for name, value in changes.items():
        data.pop(name) if value is None else data.update({name: value})
    path.write_text(json.dumps(data))


def test_missing_records_say_which_verb_writes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no finished training.*hemgs train"):
        read_train_record(tmp_path)
    with pytest.raises(ConfigError, match=r"no finished encoding.*hemgs encode"):
        read_encode_record(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 99}, "schema version 99, this program reads 2"),
        ({"rates": {}}, "'rates' cannot be {} — at least 1 entries are expected"),
        ({"rates": []}, "'rates' cannot be [] — a value of type object is expected"),
        ({"rates": {"single": {"lmbda": 1}}}, "'rates.single' lacks 'sections', 'estimated_bits', 'encode_s'"),
        ({"train": None}, "lacks 'train'"),
        ({"train": {"method": "toy"}}, "'train' lacks 'entry', 'variant'"),
        ({"train": {"metod": "toy"}}, "unknown key 'metod' in 'train' — did you mean 'method'?"),
        ({"origin": 3}, "unknown key 'origin' — "),
    ],
)
def test_altered_records_are_errors(toy_points: Path, changes: dict[str, Any], reason: str) -> None:
    path = toy_points / "encode.json"
    spoil(path, **changes)
    with pytest.raises(HemgsError) as fault:
        read_encode_record(toy_points)
    assert str(fault.value).startswith(f"{path}: not a record that this version can read ({reason}")
    assert fault.value.fix == "make it again"


def test_figures_of_an_encoding_are_optional(toy_points: Path) -> None:
    """A record of a version without counts can be read; counts are read as they were written."""
    path = toy_points / "encode.json"
    data = json.loads(path.read_text())
    data["rates"]["lmbda_0.0010"].pop("figures")
    data["rates"]["lmbda_0.0020"]["figures"] = {"context_mean": 5.76}
    path.write_text(json.dumps(data))
    rates = read_encode_record(toy_points).rates
    assert rates["lmbda_0.0010"].figures == {}
    assert rates["lmbda_0.0020"].figures == {"context_mean": 5.76}
    data["rates"]["lmbda_0.0020"]["figures"] = 5.76
    path.write_text(json.dumps(data))
    with pytest.raises(HemgsError, match=r"encode\.json.*figures' cannot be 5\.76"):
        read_encode_record(toy_points)


def test_record_that_is_not_json(toy_points: Path) -> None:
    (toy_points / "encode.json").write_text("{")
    with pytest.raises(HemgsError, match=r"encode\.json"):
        read_encode_record(toy_points)


@pytest.mark.parametrize("value", ["9", True, 1.5])
def test_field_of_another_type(toy_points: Path, value: object) -> None:
    data = json.loads((toy_points / "encode.json").read_text())
    data["train"]["seed"] = value
    (toy_points / "encode.json").write_text(json.dumps(data))
    with pytest.raises(HemgsError, match=r"'train\.seed' cannot be"):
        read_encode_record(toy_points)


def test_counts_from_metadata_or_from_anchor_tensors() -> None:
    assert counts_of(Bundle({}, {"num_gaussians": 5})) == {"num_gaussians": 5}
    assert counts_of(Bundle({}, {})) == {}
    offsets = torch.zeros(4, 10, 3)
    assert counts_of(Bundle({"offsets": offsets}, {})) == {"num_anchors": 4, "num_gaussians": 40}
    masks = torch.zeros(4, 10)
    masks[0, :3] = 1
    assert counts_of(Bundle({"offsets": offsets, "masks": masks}, {})) == {"num_anchors": 4, "num_gaussians": 3}


def test_trained_seconds_are_those_of_the_last_event_of_each_stage(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_text('{"event": "trained", "train_s": 1.5}\n{"event": "prog\n3\n{"event": "trained", "train_s": 2.5}\n')
    assert trained_seconds(log, 9.0) == 2.5
    stages = [("prune", 3.0), ("distil", 1.0), ("prune", 4.0), ("distil", 2.0)]  # one more "prune" after a resumption
    events = [json.dumps({"event": "trained", "stage": stage, "train_s": seconds}) for stage, seconds in stages]
    log.write_text("\n".join(events) + "\n")
    assert trained_seconds(log, 9.0) == 6.0
    log.write_text('{"event": "progress"}\n')
    assert trained_seconds(log, 9.0) == 9.0
