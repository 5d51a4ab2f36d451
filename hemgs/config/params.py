"""Settings of a method: a frozen dataclass whose fields all have defaults, filled from YAML or the command line.

Owns the check of names, types and ranges. A field's annotation says its range; what depends on several fields is the
dataclass's own business (``__post_init__`` raising ConfigError).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest, fault_in

T = TypeVar("T")

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
#: A finite number that is not negative.
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveAmount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Settings:
    """Base of settings that are checked whenever they are made."""

    def __post_init__(self) -> None:
        check_settings(self)


def check_settings(settings: Any) -> None:
    """Raise ConfigError for the first field of a dataclass whose value is out of the range that its annotation says."""
    _check(type(settings), {field.name: getattr(settings, field.name) for field in fields(settings)})


def params_of(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return an instance of the dataclass ``kind``, with ``values`` in place of its defaults.

    Fields are of type ``bool``, ``int``, ``float`` or ``str``. A whole number is taken for a float, and so is text
    such as ``1e-4``, which YAML does not read as a number.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), or a value of another type or out of range.
    """
    model: Any = _model(kind)  # type: ignore[arg-type]
    known = model.model_fields
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown setting {key!r}", closest(str(key), known))
    typed = {key: _as_number(value, known[key].annotation) for key, value in values.items()}
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    # Before it is made: what a class checks of several fields takes their types for granted.
    _check(kind, {**defaults, **typed})
    return kind(**typed)


def _check(kind: Any, values: Mapping[str, Any]) -> None:
    model = _model(kind)
    try:
        model.model_validate(values)
    except ValidationError as fault:
        raise fault_in(fault, model, values) from fault


@functools.cache
def _model(kind: Any) -> type[BaseModel]:
    hints = get_type_hints(kind, include_extras=True)
    typed: dict[str, Any] = {field.name: (hints[field.name], ...) for field in fields(kind)}
    return create_model(kind.__name__, __config__=ConfigDict(strict=True, protected_namespaces=()), **typed)


def _as_number(value: Any, wanted: Any) -> Any:
    """Return text as a number where a float is wanted, a whole float as an integer where one is, else the value."""
    if wanted is float and isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            return value
    return int(value) if wanted is int and isinstance(value, float) and value.is_integer() else value
