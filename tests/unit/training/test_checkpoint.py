from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch

from hemgs.core.bundle import Bundle
from hemgs.core.errors import DeviceError
from hemgs.core.events import EventLog
from hemgs.training.checkpoint import identity_of, latest_checkpoint, save_checkpoint


def bundle(value: float) -> Bundle:
    return Bundle({"x": torch.full((3, 2), value), "n": torch.tensor(7), "none": torch.empty(0, 3)}, {"k": [1, "two"]})


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 12, bundle(0.5), "id")
    found = latest_checkpoint(tmp_path, "id")
    assert found is not None and found.iteration == 12
    assert found.bundle.meta == {"k": [1, "two"]}
    assert all(torch.equal(tensor, bundle(0.5).tensors[name]) for name, tensor in found.bundle.tensors.items())


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "absent") is None


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for iteration in (9, 100, 20, 1000):
        save_checkpoint(tmp_path, iteration, bundle(iteration))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint_00000100.safetensors",
        "checkpoint_00001000.safetensors",
    ]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_newest_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, 1, bundle(1.0))
    newest = save_checkpoint(tmp_path, 2, bundle(2.0))
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    damaged: dict[str, bytes] = {"cut": bytes(data[:-5]), "flipped": bytes(data), "empty": b"", "text": b"hello"}
    newest.write_bytes(damaged[damage])
    with EventLog(tmp_path / "events.jsonl") as events:
        found = latest_checkpoint(tmp_path, events=events)
    assert found is not None and found.iteration == 1 and float(found.bundle.tensors["x"][0, 0]) == 1.0
    event = json.loads((tmp_path / "events.jsonl").read_text())
    assert event["event"] == "checkpoint_discarded" and event["file"] == newest.name and event["reason"]


def test_altered_metadata_is_damage_too(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 2, bundle(2.0))
    data = path.read_bytes()
    assert b'\\"iteration\\": 2' in data
    path.write_bytes(data.replace(b'\\"iteration\\": 2', b'\\"iteration\\": 1'))
    assert latest_checkpoint(tmp_path) is None


def test_checkpoints_of_other_settings_are_deleted_never_used(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, bundle(1.0), "old")
    save_checkpoint(tmp_path, 2, bundle(1.0), "old")
    with EventLog(tmp_path / "events.jsonl") as events:
        assert latest_checkpoint(tmp_path, "new", events) is None
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["it belongs to other settings"] * 2
    assert not list(tmp_path.glob("checkpoint_*"))


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, 1, bundle(1.0))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DeviceError, match="no space left"):
        save_checkpoint(tmp_path, 2, bundle(2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_00000001.safetensors"]


def test_identity_depends_on_values_not_on_order() -> None:
    assert identity_of({"a": 1, "b": [2]}) == identity_of({"b": [2], "a": 1})
    assert identity_of({"a": 1}) != identity_of({"a": 2})
