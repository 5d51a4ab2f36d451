"""Checks of methods before anything runs: that they exist, and that they take their settings and rates.

Owns finding the class behind ``package.module:Class`` and the names of its settings by reading source text, which needs
none of the libraries that the method needs. Values are checked by the class of settings itself, which is imported where
it has a module of its own. What cannot be known here is left to the run itself.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from hemgs.config.benchmark import Benchmark, resolve_params
from hemgs.config.dataset import DatasetConfig
from hemgs.config.fields import ALL_METHODS
from hemgs.config.method import MethodConfig
from hemgs.config.params import params_of
from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """Where a method's class stands.

    Attributes:
        file: the source that defines it.
        settings: names of the fields of its ``Params``; ``None`` where the text does not tell.
        params: the class ``Params``, where it is in a module of its own that can be imported here.
    """

    file: Path
    settings: frozenset[str] | None
    params: type | None = None


def find_entry(entry: str) -> Entry:
    """Finds ``package.module:Class``.

    Raises:
        ConfigError: no such module on the import path, or nothing of that name in it.
    """
    module, _, name = entry.partition(":")
    file = _module_file(module)
    if file is None:
        raise ConfigError(
            f"'{entry}': the module {module} cannot be imported",
            "install the package that holds it, or add its folder to PYTHONPATH",
        )
    found = _find_class(file, name)
    if found is None:
        if {name, "*"} & _bound_names(file):
            return Entry(file, None)
        classes = [node.name for node in _tree(file).body if isinstance(node, ast.ClassDef)]
        raise ConfigError(f"'{entry}': {file} has no class {name}", closest(name, classes))
    params = _params(*found)
    if params is None:
        return Entry(found[0], None)
    return Entry(found[0], _fields(*params), None if params[0] == found[0] else _imported(*params))


def check_entries(benchmark: Benchmark) -> None:
    """Refuse selected methods that do not exist, settings that they cannot take, and λ that they do not serve.

    Raises:
        ConfigError: names the file, the method and the setting.
    """
    for method in (*benchmark.methods.values(), *benchmark.bases.values()):
        try:
            entry = find_entry(method.entry)
        except ConfigError as fault:
            raise ConfigError(f"{method.file}: entry {fault.message}", fault.fix) from fault
        for dataset in benchmark.datasets.values():
            layers = list(_layers(benchmark, method, dataset))
            for origin, params in layers:
                _check_names(params, entry.settings, origin, method.id)
            if entry.params is not None:
                settings = resolve_params(method, dataset.method_params, benchmark.layers)
                _check_values(entry.params, settings, layers, f"the settings of '{method.id}' on '{dataset.id}'")
        interval: Any = getattr(entry.params, "lmbda_interval", None)
        for rate in method.rates if interval is not None else ():
            try:
                interval.check(rate.lmbda)
            except ConfigError as fault:
                raise ConfigError(f"{method.rates_origin}: {method.id}: {fault.message}", fault.fix) from fault


def _layers(benchmark: Benchmark, method: MethodConfig, dataset: DatasetConfig) -> Iterator[tuple[str, Params]]:
    """Where the settings of a method on a data set are said, and what is said there."""
    for _, params in method.layers:
        yield f"{method.file}: params", params
    for layer in (ALL_METHODS, *(name for name, _ in method.layers)):
        yield f"{dataset.file}: method_params.{layer}", dataset.method_params.get(layer, {})
        yield f"the benchmark's method_params.{layer}", benchmark.layers.get(layer, {})


def _check_names(params: Params, known: frozenset[str] | None, origin: str, method: str) -> None:
    for name in sorted(params):
        if known is not None and name not in known:
            raise ConfigError(f"{origin}: the method '{method}' has no setting '{name}'", closest(name, known))


def _check_values(kind: type, settings: Params, layers: Sequence[tuple[str, Params]], together: str) -> None:
    """Raise ConfigError for settings out of range: names the last place that says such a value, if it is one alone."""
    if (fault := _fault(kind, settings)) is not None:
        origin = next((origin for origin, params in reversed(layers) if _fault(kind, params) is not None), together)
        raise ConfigError(f"{origin}: {fault.message}", fault.fix) from fault


def _fault(kind: type, settings: Params) -> ConfigError | None:
    try:
        params_of(kind, settings)
    except ConfigError as fault:
        return fault
    except ValueError as fault:
        return ConfigError(str(fault))
    return None


def _module_file(module: str) -> Path | None:
    """The source file of a module, without importing its parents."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module without a spec, such as __main__
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    # By folders: below a package without an __init__.py, find_spec needs the package itself to be imported.
    folders = [Path(place).joinpath(*rest) for place in spec.submodule_search_locations or ()]
    candidates = [file for folder in folders for file in (folder / "__init__.py", folder.with_name(f"{rest[-1]}.py"))]
    return next((file for file in candidates if file.is_file()), None)


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _find_class(file: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    """A class by its name in a module: defined there, or imported there from another module."""
    for node in _tree(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return file, node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    origin = _origin(file, node)
                    return _find_class(origin, alias.name) if origin else None
    return None


def _origin(file: Path, statement: ast.ImportFrom) -> Path | None:
    """The source that a ``from … import`` in ``file`` takes names from."""
    if not statement.level:
        return _module_file(statement.module) if statement.module else None
    # One dot is the folder of the file, also in an __init__.py; each further dot is one folder up.
    path = file.parents[statement.level - 1].joinpath(*(statement.module or "").split("."))
    candidates = path.with_name(f"{path.name}.py"), path / "__init__.py"
    return next((candidate for candidate in candidates if candidate.is_file() and candidate != file), None)


def _bound_names(file: Path) -> set[str]:
    """Names that a module imports or assigns at its top level, ``*`` among them where it imports all of another."""
    names = set()
    for node in _tree(file).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _params(file: Path, method: ast.ClassDef) -> tuple[Path, ast.ClassDef] | None:
    """The class's ``Params``: nested in it, assigned from a class that can be found, or inherited."""
    for node in method.body:
        if isinstance(node, ast.ClassDef) and node.name == "Params":
            return file, node
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Name):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "Params" for target in targets):
                return _find_class(file, node.value.id)
    for base in method.bases:
        found = _find_class(file, base.id) if isinstance(base, ast.Name) else None
        if found and (inherited := _params(*found)) is not None:
            return inherited
    return None


def _imported(file: Path, params: ast.ClassDef) -> type | None:
    """The class itself; ``None`` where its module needs what is not installed here, as on a machine that only plans."""
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        parts, folder = [folder.name, *parts], folder.parent
    try:
        found = getattr(importlib.import_module(".".join(parts)), params.name)
    except ImportError:
        return None
    return found if is_dataclass(found) and isinstance(found, type) else None


def _fields(file: Path, params: ast.ClassDef) -> frozenset[str] | None:
    """Annotated names of a dataclass and of the classes it derives from."""
    names = {
        node.target.id
        for node in params.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and "ClassVar" not in ast.unparse(node.annotation)
    }
    for base in params.bases:
        found = _find_class(file, base.id) if isinstance(base, ast.Name) else None
        inherited = _fields(*found) if found else None
        if inherited is None:
            return None
        names |= inherited
    return frozenset(names)
