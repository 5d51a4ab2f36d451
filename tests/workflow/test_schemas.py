"""The schemas of configuration files: they are strict, and describe and document every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from hemgs.analysis.tables import TABLE_SPECS
from hemgs.core.catalogue import ON_REQUEST_TABLES, TABLES
from tests.workflow.workflow_project import REPOSITORY

SCHEMAS = ("config", "dataset", "method")


def test_every_table_can_be_asked_for() -> None:
    schema = yaml.safe_load((REPOSITORY / "workflow/schemas/config.schema.yaml").read_text())
    tables = schema["$defs"]["PublishKeys"]["properties"]["tables"]["items"]["enum"]
    assert set(tables) == {*TABLES, *ON_REQUEST_TABLES} == set(TABLE_SPECS)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_key_is_described_in_schema_and_documentation(schema: str) -> None:
    text = (REPOSITORY / "workflow/config/README.md").read_text()
    data = yaml.safe_load((REPOSITORY / f"workflow/schemas/{schema}.schema.yaml").read_text())
    keys = dict(described_keys(data, data))
    assert len(keys) > 5
    for key, described in keys.items():
        assert described, f"{schema}: {key} has no description"
        assert re.search(rf"[`.{{ ]{re.escape(key)}[`:,}} ]", text), f"config/README.md does not name {key} of {schema}"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_no_mapping_takes_unknown_keys(schema: str) -> None:
    data = yaml.safe_load((REPOSITORY / f"workflow/schemas/{schema}.schema.yaml").read_text())
    for node in nodes(data):
        if node.get("type") == "object":
            assert "additionalProperties" in node, node
            assert node["additionalProperties"] is not True, node


def described_keys(node: Any, root: Any) -> Iterator[tuple[str, bool]]:
    """Every property of a schema and whether it, or what it refers to, has a description."""
    for part in nodes(node):
        for key, value in part.get("properties", {}).items():
            target = root["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else value
            yield key, bool(value.get("description") or target.get("description"))


def nodes(data: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a nested structure."""
    if isinstance(data, dict):
        yield data
        for value in data.values():
            yield from nodes(value)
    elif isinstance(data, list):
        for value in data:
            yield from nodes(value)
