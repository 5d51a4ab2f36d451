"""YAML files checked against the schemas of ``workflow/schemas``, with messages a person can act on.

Owns reading YAML strictly and turning a schema violation into one :class:`ConfigError` that names file, key, value
and what is allowed. Does not know what any key means (``hemgs.config.benchmark`` does).
"""

from __future__ import annotations

import difflib
import functools
import json
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema.exceptions import ValidationError

from hemgs.core.errors import ConfigError

#: Where the schemas lie in a source tree, and where a wheel puts them.
_SCHEMA_FOLDERS = (
    Path(__file__).resolve().parents[2] / "workflow" / "schemas",
    Path(sysconfig.get_path("data")) / "share" / "hemgs" / "schemas",
)


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, refusing a key that is given twice (the second would silently win)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, gives a key twice, or is not a mapping.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            # _StrictLoader derives from SafeLoader: it builds plain data only.
            data = yaml.load(file, _StrictLoader)
    except FileNotFoundError as fault:
        raise ConfigError(f"{path}: no such file", "check the path") from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read ({fault})") from fault
    except yaml.YAMLError as fault:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(fault)}", "mend the line that is named") from fault
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a mapping of keys is expected, not {_shown(data)}")
    return data


def schema_path(name: str) -> Path:
    """The file of a schema: ``config``, ``dataset``, ``method`` or ``points``."""
    for folder in _SCHEMA_FOLDERS:
        path = folder / f"{name}.schema.yaml"
        if path.is_file():
            return path
    raise ConfigError(
        f"{name}.schema.yaml is in none of {', '.join(map(str, _SCHEMA_FOLDERS))}",
        "install the package again, or run from its source tree",
    )


@functools.cache
def load_schema(name: str) -> Mapping[str, Any]:
    """The schema of that name as plain data."""
    return load_yaml(schema_path(name))


def validate(data: Mapping[str, Any], schema: str, origin: str) -> None:
    """Checks ``data`` against a schema.

    Args:
        data: what was read.
        schema: name of the schema.
        origin: the file that the message names.

    Raises:
        ConfigError: names the first offending key, its value, and what is allowed.
    """
    errors = [_innermost(error) for error in _validator(schema).iter_errors(data)]
    if not errors:
        return
    # Misspelt keys first: a missing key is often only the same typo seen from the other side.
    error = min(errors, key=lambda e: (e.validator != "additionalProperties", len(e.absolute_path)))
    raise ConfigError(f"{origin}: {_message(error)}", _fix(error))


def load_named(path: Path, schema: str) -> dict[str, Any]:
    """Reads a file that is named after the ``id`` inside, and checks it against a schema.

    Raises:
        ConfigError: as :func:`load_yaml` and :func:`validate`; also where name and id differ.
    """
    data = load_yaml(path)
    validate(data, schema, str(path))
    if data["id"] != path.stem:
        raise ConfigError(f"{path}: 'id' is '{data['id']}'", f"make it '{path.stem}', or rename the file")
    return data


def closest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'? known: x, y`` for messages about an unknown name."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return (f"did you mean '{near[0]}'? " if near else "") + f"known: {', '.join(names) or 'none'}"


@functools.cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(dict(load_schema(schema)))


def _innermost(error: ValidationError) -> ValidationError:
    """Follows alternatives (``oneOf``) to the one that was meant: of the right type and the right ``kind``."""
    while error.context:
        branches: dict[int, list[ValidationError]] = {}
        for child in error.context:
            branches.setdefault(int(child.schema_path[0]), []).append(child)
        meant = [
            children
            for children in branches.values()
            if not any(
                child.validator == "const" or (child.validator == "type" and not child.path) for child in children
            )
        ]
        if len(meant) != 1:
            return error
        error = max(meant[0], key=lambda child: (child.validator == "additionalProperties", len(child.path)))
    return error


def _rule(error: ValidationError) -> Any:
    """What the violated keyword of the schema says."""
    return error.validator_value


def _instance(error: ValidationError) -> Any:
    """The value that violates it."""
    return error.instance


def _subschema(error: ValidationError) -> Mapping[str, Any]:
    return error.schema if isinstance(error.schema, Mapping) else {}


def _message(error: ValidationError) -> str:
    where = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        return f"unknown key '{_unknown_key(error)}'" + (f" in '{where}'" if where else "")
    if error.validator == "required":
        missing = [key for key in _rule(error) if key not in _instance(error)]
        return f"'{where}' lacks {_quoted(missing)}" if where else f"lacks {_quoted(missing)}"
    if "propertyNames" in error.absolute_schema_path:
        return f"the name '{error.instance}'" + (f" in '{where}'" if where else "") + " is not lower snake_case"
    return f"'{where}' cannot be {_shown(error.instance)}"


def _fix(error: ValidationError) -> str:
    value = _rule(error)
    if error.validator == "additionalProperties":
        return closest(_unknown_key(error), _subschema(error).get("properties", {}))
    if error.validator == "required":
        return "add it"
    if error.validator == "enum":
        return f"allowed: {', '.join(map(str, value))}"
    if error.validator == "type":
        kinds = [value] if isinstance(value, str) else list(value)
        if isinstance(error.instance, str) and {"number", "integer"} & set(kinds) and _is_number(error.instance):
            return "YAML reads this as text; write it with a decimal point, such as 1.0e-3"
        return f"a value of type {' or '.join(kinds)} is expected"
    if error.validator in ("oneOf", "anyOf"):
        return _alternatives(error)
    limits = {
        "minimum": f"it must be at least {value}",
        "exclusiveMinimum": f"it must be above {value}",
        "maximum": f"it must be at most {value}",
        "exclusiveMaximum": f"it must be below {value}",
        "minItems": f"at least {value} entries are expected",
        "maxItems": f"at most {value} entries are expected",
        "minProperties": f"at least {value} entries are expected",
        "uniqueItems": "give each entry once",
        "pattern": f"it must match {value}",
    }
    return limits.get(str(error.validator), error.message)


def _alternatives(error: ValidationError) -> str:
    kinds = [
        str(branch["properties"]["kind"]["const"])
        for branch in _rule(error)
        if "const" in branch.get("properties", {}).get("kind", {})
    ]
    if kinds:
        return f"allowed values of '{_dotted([*error.absolute_path, 'kind'])}': {', '.join(kinds)}"
    return str(_subschema(error).get("description", error.message))


def _unknown_key(error: ValidationError) -> str:
    known = _subschema(error).get("properties", {})
    return next(str(key) for key in _instance(error) if key not in known)


def _dotted(path: Iterable[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())
