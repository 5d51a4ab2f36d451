"""Settings of a method: a frozen dataclass whose fields all have defaults, filled from YAML or the command line.

Owns the check of names and types. Ranges are the dataclass's own business (``__post_init__`` raising ConfigError).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest

T = TypeVar("T")


def params_of(kind: type[T], values: Mapping[str, Any]) -> T:
    """An instance of the dataclass ``kind``, with ``values`` in place of its defaults.

    Fields are of type ``bool``, ``int``, ``float`` or ``str``. A whole number is taken for a float, and so is text
    such as ``1e-4``, which YAML does not read as a number.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), or a value of another type.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown setting {key!r}", closest(str(key), known))
    return kind(**{key: _typed(key, value, hints[key]) for key, value in values.items()})


def _typed(key: str, value: Any, wanted: type) -> Any:
    if wanted is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    elif wanted is int and isinstance(value, float) and value.is_integer():
        return int(value)
    elif type(value) is wanted:
        return value
    raise ConfigError(f"{key}: {value!r} is not of type {wanted.__name__}", f"give one {wanted.__name__}")
