"""Schemas follow from the models, and accept the same configurations as the models."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from tools.make_schemas import FOLDER, schemas

CONFIG = FOLDER.parent / "config"
KINDS = {"config": CONFIG, "dataset": CONFIG / "datasets", "method": CONFIG / "methods"}
FILES = [(name, path) for name, folder in KINDS.items() for path in sorted(folder.glob("*.yaml"))]


def test_committed_schemas_are_those_of_the_models() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == schemas(), "run `make schemas`"


@pytest.mark.parametrize(("name", "path"), FILES, ids=lambda value: getattr(value, "stem", value))
def test_they_accept_the_files_of_the_repository(name: str, path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), yaml.safe_load(schemas()[f"{name}.schema.yaml"]))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config", {"run": {"methods": [], "datasets": "toy"}}),
        ("config", {"publish": {"tables": ["qualty"]}}),
        ("config", {"rates": {"hemgs": [0.0]}}),
        ("config", {"rates": {"Hemgs": [0.1]}}),
        ("config", {"method_params": {"hemgs": {"depth": [1]}}}),
        ("config", {"titel": "x"}),
        ("method", {"entry": "a/b.py"}),
        ("dataset", {"initial_points": {"kind": "random"}}),
        ("dataset", {"scenes": {}}),
    ],
)
def test_they_refuse_what_the_models_refuse(name: str, change: dict[str, object]) -> None:
    path = next(path for kind, path in FILES if kind == name)
    schema = yaml.safe_load(schemas()[f"{name}.schema.yaml"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**yaml.safe_load(path.read_text()), **change}, schema)
