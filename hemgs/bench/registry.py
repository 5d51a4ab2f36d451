"""Look-up of methods by name.

A name is the id of an entry point in the group ``hemgs.methods``, which an installed package declares in its
``pyproject.toml``, or ``package.module:Class``. A method is imported only when it is requested.
"""

from __future__ import annotations

import re
from importlib import metadata

from hemgs.config.entries import declared, import_class
from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest
from hemgs.protocol import Method

ENTRY_POINT_GROUP = "hemgs.methods"
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def list_methods() -> dict[str, str]:
    """Return ids of the installed methods, sorted, each with its entry ``package.module:Class``.

    Raises:
        ConfigError: two packages declare the same id differently.
    """
    found: dict[str, str] = {}
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        if found.setdefault(point.name, point.value) != point.value:
            raise ConfigError(
                f"two installed packages declare the method {point.name!r}: {found[point.name]} and {point.value}",
                "uninstall one of them",
            )
    return dict(sorted(found.items()))


def get_method(name: str) -> Method:
    """Return an instance of the method with this id or entry ``package.module:Class``.

    Raises:
        ConfigError: the method does not exist, its code cannot be imported, or the class is not a method.
    """
    if _ENTRY.fullmatch(name):
        return _load(name)
    entries = list_methods()
    if name not in entries:
        raise ConfigError(
            f"there is no method {name!r}", f"{closest(name, entries)}; or name a class as package.module:Class"
        )
    method = _load(entries[name])
    if method.spec.id != name:
        raise ConfigError(
            f"the method declared as {name!r} calls itself {method.spec.id!r}", f"give {entries[name]} the same id"
        )
    return method


def _load(entry: str) -> Method:
    kind = import_class(entry)
    method = kind()
    declared(getattr(method, "spec", None), getattr(method, "Params", None), entry)
    if not isinstance(method, Method):
        raise ConfigError(f"'{entry}' is not a method", "it must fulfil hemgs.protocol.Method")
    return method
