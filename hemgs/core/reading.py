"""Check of YAML and JSON against models.

Owns the base class of models, and the conversion of pydantic's faults into one :class:`ConfigError`. The error names
the file, the key, the value and the allowed values. Does not own the meaning of any key.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from hemgs.core.errors import ConfigError

_Path = tuple[int | str, ...]

#: The expected type, by the type of pydantic's error.
_TYPES = {
    "int_type": "integer",
    "int_from_float": "integer",
    "float_type": "number",
    "string_type": "string",
    "bool_type": "boolean",
    "list_type": "array",
    "tuple_type": "array",
    "dict_type": "object",
    "mapping_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "dataclass_type": "object",
}
#: The fix for a value out of range, by the type of pydantic's error; names in braces come from the error.
_LIMITS = {
    "greater_than": "it must be above {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than": "it must be below {lt:g}",
    "less_than_equal": "it must be at most {le:g}",
    "finite_number": "give a finite number",
    "multiple_of": "it must be a multiple of {multiple_of:g}",
    "too_short": "at least {min_length} entries are expected",
    "too_long": "at most {max_length} entries are expected",
    "string_too_short": "at least {min_length} characters are expected",
    "string_too_long": "at most {max_length} characters are expected",
    "string_pattern_mismatch": "it must match {pattern}",
}
#: A fault as pydantic describes it: ``type``, ``loc``, ``input``, ``msg``, and ``ctx`` with limits or our own error.
_Fault = Mapping[str, Any]


class RefusedError(ValueError):
    """The error that a validator of a model raises.

    Args:
        fix: the allowed values, or another way to correct the fault.
        unknown_key: the key, if the fault is a key that does not exist.
    """

    def __init__(self, fix: str, unknown_key: str = "") -> None:
        super().__init__(fix)
        self.fix = fix
        self.unknown_key = unknown_key


class Entry(BaseModel):
    """A mapping of a file with the keys that a subclass names; other keys are ignored. Values do not change."""

    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)


class Section(Entry):
    """A mapping of a file with the keys that a subclass names; other keys are refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        """Name the first unknown key and all known keys: the error of pydantic names only the former."""
        for key in data if isinstance(data, Mapping) else ():
            if key not in cls.model_fields:
                raise RefusedError(closest(str(key), cls.model_fields), unknown_key=str(key))
        return data


def checked(kind: Any, data: Any, origin: str, context: Any = None) -> Any:
    """Check data as YAML or JSON gives them, and return what they describe.

    Args:
        kind: an :class:`Entry`, a :class:`Section`, or another type that pydantic checks.
        data: mappings, lists, texts, numbers, truth values and ``None``.
        origin: the file, or the key in it, that messages name.
        context: what validators of ``kind`` find as their context.

    Returns:
        A value of type ``kind``.

    Raises:
        ConfigError: names the first offending key, its value, and what is allowed.
    """
    try:
        return _validated(kind, data, context)
    except ValidationError as fault:
        raise fault_in(fault, kind, data, origin) from fault


def fault_in(fault: ValidationError, kind: Any, data: Any, origin: str = "") -> ConfigError:
    """Build an error from the first fault that pydantic found in ``data``; unknown keys come first.

    A misspelt key is both unknown and missing, and the unknown key shows the typo.
    """
    errors = fault.errors(include_url=False)
    error = min(errors, key=lambda each: (not _unknown_key(each), len(each["loc"])))
    missing = [each["loc"][-1] for each in errors if each["type"] == "missing" and _have_one_parent(each, error)]
    path, where = _existing(error["loc"], data), f"{origin}: " if origin else ""
    if missing and isinstance(missing[-1], int):  # a list that is too short; the value is the list
        fix = f"at least {missing[-1] + 1} entries are expected"
        return ConfigError(f"{where}'{_dotted(path)}' cannot be {_shown(error['input'])}", fix)
    message = _message(error, _dotted(path), [str(key) for key in missing])
    return ConfigError(f"{where}{message}", _fix(error, path, kind, data))


def closest(word: str, known: Iterable[str]) -> str:
    """Return what a message about an unknown name suggests.

    >>> closest("qualty", ["quality", "storage"])
    "did you mean 'quality'? known: quality, storage"
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return (f"did you mean '{near[0]}'? " if near else "") + f"known: {', '.join(names) or 'none'}"


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _validated(kind: Any, data: Any, context: Any = None) -> Any:
    """In JSON mode a list stands for a tuple and a mapping for a model, and nothing else is converted."""
    return _adapter(kind).validate_json(json.dumps(data, default=str), context=context)


def _have_one_parent(one: _Fault, other: _Fault) -> bool:
    return bool(one["loc"][:-1] == other["loc"][:-1])


def _existing(location: _Path, data: Any) -> _Path:
    """Return the keys and indices of a pydantic location that are in the data; others name a union's alternatives."""
    found: list[int | str] = []
    for part in location:
        if part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data)):
            data = data[part]
            found.append(part)
    return tuple(found)


def _unknown_key(error: _Fault) -> str:
    own = error.get("ctx", {}).get("error")
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return str(error["loc"][-1])
    return own.unknown_key if isinstance(own, RefusedError) else ""


def _message(error: _Fault, where: str, missing: list[str]) -> str:
    inside = f" in '{where}'" if where else ""
    kind, value = error["type"], error["input"]
    if key := _unknown_key(error):
        return f"unknown key '{key}'" + inside
    if kind in ("missing", "union_tag_not_found"):
        names = ", ".join(f"'{name}'" for name in missing) or error["ctx"]["discriminator"]
        return f"'{where}' lacks {names}" if where else f"lacks {names}"
    if error["loc"] and error["loc"][-1] == "[key]":
        parent = where.rpartition(".")[0]
        return f"the name '{value}'" + (f" in '{parent}'" if parent else "") + " is not lower snake_case"
    return (f"'{where}' cannot be " if where else "it cannot be ") + _shown(value)


def _fix(error: _Fault, path: _Path, kind: Any, data: Any) -> str:
    name, value, context = error["type"], error["input"], error.get("ctx", {})
    if isinstance(context.get("error"), RefusedError):
        return str(context["error"].fix)
    if name in ("missing", "union_tag_not_found"):
        return "add it"
    if name == "literal_error":
        return "allowed: " + ", ".join(re.findall("'([^']*)'", context["expected"]))
    if name == "union_tag_invalid":
        key, tags = (context[name].replace("'", "") for name in ("discriminator", "expected_tags"))
        return f"allowed values of '{_dotted((*path, key))}': {tags}"
    if name in _TYPES:
        if isinstance(value, str) and _TYPES[name] in ("number", "integer") and _is_number(value):
            return "this is text; write a number without quotes and, in YAML, with a decimal point, such as 1.0e-3"
        if isinstance(value, bool) and _TYPES[name] == "string":
            return "YAML reads on, off, yes and no as truth values; put the text into quotes"
        return f"a value of type {_TYPES[name]}{' or null' if _takes_null(kind, data, path) else ''} is expected"
    return _LIMITS[name].format(**context) if name in _LIMITS else error["msg"]


def _takes_null(kind: Any, data: Any, path: _Path) -> bool:
    """Return whether the model accepts null at that place; pydantic names only the other type."""
    try:
        _validated(kind, _replaced(data, path, None))
    except ValidationError as fault:
        return path not in (_existing(each["loc"], data) for each in fault.errors(include_url=False))
    return True


def _replaced(data: Any, path: _Path, value: Any) -> Any:
    if not path:
        return value
    changed: Any = dict(data) if isinstance(data, Mapping) else list(data)
    changed[path[0]] = _replaced(changed[path[0]], path[1:], value)
    return changed


def _dotted(path: _Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
