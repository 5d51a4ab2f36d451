"""What can be known of a method's class without importing it.

Owns finding the class behind ``package.module:Class`` and the names of its settings by reading source text, so that
a dry run can refuse a method that does not exist, or a misspelt setting, in milliseconds and without torch. Does not
run any of the code it reads; what cannot be told from the text is left to the run itself.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hemgs.config.benchmark import ALL_METHODS, Benchmark, MethodConfig
from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest


@dataclass(frozen=True)
class Entry:
    """Where a method's class stands.

    Attributes:
        file: the source that defines it.
        settings: names of the fields of its ``Params``; ``None`` where the text does not tell.
    """

    file: Path
    settings: frozenset[str] | None


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
    return Entry(found[0], _settings(*found))


def check_entries(benchmark: Benchmark) -> None:
    """Refuses selected methods that do not exist and settings they do not have.

    Raises:
        ConfigError: names the file, the method or the setting.
    """
    for method in (*benchmark.methods.values(), *benchmark.bases.values()):
        try:
            entry = find_entry(method.entry)
        except ConfigError as fault:
            raise ConfigError(f"{method.file}: entry {fault.message}", fault.fix) from fault
        if entry.settings is None:
            continue
        for layer, params in method.layers:
            _check_settings(params, entry.settings, f"{method.file}: params", layer)
        for dataset in benchmark.datasets.values():
            _check_layers(dataset.method_params, method, entry.settings, f"{dataset.file}: method_params")
        _check_layers(benchmark.layers, method, entry.settings, "the benchmark's method_params")


def _check_layers(
    layers: Mapping[str, Mapping[str, object]], method: MethodConfig, known: frozenset[str], where: str
) -> None:
    for layer in (ALL_METHODS, *(name for name, _ in method.layers)):
        _check_settings(layers.get(layer, {}), known, f"{where}.{layer}", method.id)


def _check_settings(params: Mapping[str, object], known: frozenset[str], where: str, method: str) -> None:
    for name in sorted(params):
        if name not in known:
            raise ConfigError(f"{where}: the method '{method}' has no setting '{name}'", closest(name, known))


def _module_file(module: str) -> Path | None:
    """The source file of a module, without importing its parents."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module without a spec, such as __main__
        return None
    name = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


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


def _settings(file: Path, method: ast.ClassDef) -> frozenset[str] | None:
    """Field names of the class's ``Params``: nested in it, assigned from a class that can be found, or inherited."""
    for node in method.body:
        if isinstance(node, ast.ClassDef) and node.name == "Params":
            return _fields(file, node)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Name):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "Params" for target in targets):
                found = _find_class(file, node.value.id)
                return _fields(*found) if found else None
    for base in method.bases:
        found = _find_class(file, base.id) if isinstance(base, ast.Name) else None
        if found and (inherited := _settings(*found)) is not None:
            return inherited
    return None


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
