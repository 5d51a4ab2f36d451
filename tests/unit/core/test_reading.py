"""Errors for YAML files that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from hemgs.config.dataset import DatasetFile
from hemgs.core.errors import ConfigError
from hemgs.core.reading import checked, closest

DATASET: dict[str, Any] = {
    "id": "toy",
    "label": "Toy",
    "source": {"kind": "colmap", "local": "here"},
    "protocol": {"max_width": 1600, "split": {"kind": "every_nth", "n": 8}, "background": [0, 0, 0]},
    "initial_points": {"kind": "sfm"},
    "scenes": {"one": {}},
}


def test_a_valid_file_passes() -> None:
    checked(DatasetFile, DATASET, "toy.yaml")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["protocol", "max_widht"], 800, "toy.yaml: unknown key 'max_widht' in 'protocol' — did you mean 'max_width'?"),
        (["protocol", "max_width"], 3, "toy.yaml: 'protocol.max_width' cannot be 3 — it must be at least 16"),
        (
            ["protocol", "max_width"],
            "wide",
            "'protocol.max_width' cannot be \"wide\" — a value of type integer or null",
        ),
        (["label"], True, "toy.yaml: 'label' cannot be true — YAML reads on, off, yes and no as truth values"),
        (["protocol", "scale"], "1e-1", "'protocol.scale' cannot be \"1e-1\" — this is text; write a number"),
        (["protocol", "background", 1], 7, "toy.yaml: 'protocol.background[1]' cannot be 7 — it must be at most 1"),
        (["protocol", "background"], [0], "'protocol.background' cannot be [0] — at least 3 entries are expected"),
        (["protocol", "split", "kind"], "random", "allowed values of 'protocol.split.kind': every_nth, files"),
        (["protocol", "split", "m"], 8, "toy.yaml: unknown key 'm' in 'protocol.split' — "),
        (["source", "kind"], "zip", "'source.kind' cannot be \"zip\" — allowed: colmap, blender, procedural"),
        (["scenes", "Two"], {}, "toy.yaml: the name 'Two' in 'scenes' is not lower snake_case"),
        (["scenes"], {}, "toy.yaml: 'scenes' cannot be {} — at least 1 entries are expected"),
        (["initial_points"], {"kind": "random"}, "toy.yaml: 'initial_points' lacks 'num_points', 'low', 'high'"),
    ],
)
def test_messages_name_key_value_and_what_is_allowed(path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as fault:
        checked(DatasetFile, replaced(DATASET, path, value), "toy.yaml")
    assert message in str(fault.value)


def test_a_missing_key_is_named() -> None:
    data = {key: value for key, value in DATASET.items() if key != "protocol"}
    with pytest.raises(ConfigError, match="toy.yaml: lacks 'protocol'"):
        checked(DatasetFile, data, "toy.yaml")


def test_a_misspelt_key_is_named_rather_than_the_missing_one() -> None:
    data = {("protocoll" if key == "protocol" else key): value for key, value in DATASET.items()}
    with pytest.raises(ConfigError, match="unknown key 'protocoll' — did you mean 'protocol'"):
        checked(DatasetFile, data, "toy.yaml")


def test_closest_says_what_is_known() -> None:
    assert closest("hemsg", ["hemgs", "hac"]) == "did you mean 'hemgs'? known: hac, hemgs"
    assert closest("zzz", ["hemgs"]) == "known: hemgs"
    assert closest("a", []) == "known: none"


def replaced(data: Any, path: list[Any], value: Any) -> Any:
    """A copy of nested data with one value in another's place."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(data, list):
        return [replaced(item, rest, value) if index == key else item for index, item in enumerate(data)]
    return {**data, key: replaced(data.get(key, {}), rest, value)}
