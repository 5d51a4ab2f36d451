"""Write the JSON schemas of ``workflow/schemas`` from the models that check configurations, and from the columns.

Editors read them to complete and to explain keys. Nothing else does: a test keeps them equal to the models.

    python -m tools.make_schemas [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from hemgs.config.benchmark import BenchmarkFile
from hemgs.config.dataset import DatasetFile
from hemgs.config.method import MethodFile
from hemgs.core.reading import Section
from hemgs.core.records import NOT_AVAILABLE, POINT_COLUMNS, SCHEMA_VERSION, STATUSES, DType

FOLDER = Path(__file__).resolve().parents[1] / "workflow" / "schemas"
MODELS: dict[str, type[Section]] = {"config": BenchmarkFile, "dataset": DatasetFile, "method": MethodFile}


def schemas() -> dict[str, str]:
    """Return the text of each schema, by file name."""
    found = {name: schema_of(model) for name, model in MODELS.items()} | {"points": points_schema()}
    head = "# Made by tools/make_schemas.py (`make schemas`); a test keeps it equal to what the code checks.\n"
    return {
        f"{name}.schema.yaml": head + yaml.safe_dump(schema, sort_keys=False, allow_unicode=True, width=120)
        for name, schema in found.items()
    }


def schema_of(model: type[Section]) -> dict[str, Any]:
    """Return the schema of a model, without the titles that pydantic makes of names."""
    schema: dict[str, Any] = _tidy(model.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def points_schema() -> dict[str, Any]:
    """Return the schema of one typed row of ``points.csv``."""
    kinds: dict[DType, str] = {"text": "string", "int": "integer", "float": "number"}
    properties: dict[str, Any] = {}
    for column in POINT_COLUMNS:
        unit = f" [{column.unit}]" if column.unit else ""
        properties[column.name] = {"type": [kinds[column.dtype], "null"], "description": column.description + unit}
    properties["schema_version"]["const"] = SCHEMA_VERSION
    properties["status"]["enum"] = list(STATUSES)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One row of points.csv",
        "description": f"The text `{NOT_AVAILABLE}` in the CSV is null here.",
        "type": "object",
        "additionalProperties": False,
        "required": [column.name for column in POINT_COLUMNS],
        "properties": properties,
        # Sections that only a codec knows.
        "patternProperties": {
            "^bytes_": {"type": ["integer", "null"]},
            "^estimated_bits_": {"type": ["number", "null"]},
        },
    }


def _tidy(node: Any) -> Any:
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return " ".join(node.split()) if isinstance(node, str) else node
    # A property may be called title; the title of a schema is a text.
    found = {key: _tidy(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}
    if "patternProperties" in found:
        found["additionalProperties"] = False
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, text in schemas().items():
        (target / name).write_text(text, encoding="utf-8")
