"""Checks of methods before anything runs: each exists, is of its kind, and accepts its settings and rates.

Owns the declaration of a method ``package.module:Class``, which needs no run: its spec and its class of settings. A
module ``package.params`` declares both, so a machine that only plans needs none of the method's libraries. For a method
without such a module the class itself is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import ModuleType
from typing import Any

from hemgs.config.benchmark import Benchmark, resolve_params
from hemgs.config.dataset import DatasetConfig
from hemgs.config.fields import ALL_METHODS
from hemgs.config.method import MethodConfig
from hemgs.config.params import params_of
from hemgs.core.errors import ConfigError
from hemgs.core.libraries import library_of
from hemgs.core.reading import closest
from hemgs.core.types import MethodSpec

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Declared:
    """The declaration of a method.

    Attributes:
        spec: kind and λ of the method.
        params: the dataclass of its settings.
    """

    spec: MethodSpec
    params: type


def find_entry(entry: str) -> Declared:
    """Return the declaration of the method ``package.module:Class``, from ``package.params`` or else from its class.

    ``SPECS`` of ``package.params`` maps names of classes to specs, and ``Params`` is their class of settings.

    Raises:
        ConfigError: the module or the class does not exist, the module cannot be imported, or the class is not a
            method.
    """
    module, _, name = entry.partition(":")
    package = module.rpartition(".")[0]
    if package and _exists(f"{package}.params"):
        params = _imported(f"{package}.params", entry)
        specs = getattr(params, "SPECS", None)
        if isinstance(specs, Mapping):
            if name not in specs:
                raise ConfigError(f"'{entry}': SPECS of {params.__file__} has no class {name}", closest(name, specs))
            if not _exists(module):
                raise ConfigError(f"'{entry}': there is no module {module}", "name the module of the class")
            return declared(specs[name], getattr(params, "Params", None), entry)
    method = import_class(entry)
    return declared(getattr(method, "spec", None), getattr(method, "Params", None), entry)


def import_class(entry: str) -> Any:
    """Return the object ``package.module:Class``.

    Raises:
        ConfigError: the module cannot be imported for any reason, or lacks the class.
    """
    module, _, name = entry.partition(":")
    found = _imported(module, entry)
    if not hasattr(found, name):
        classes = [known for known, value in vars(found).items() if isinstance(value, type)]
        raise ConfigError(f"'{entry}': {found.__file__} has no class {name}", closest(name, classes))
    return getattr(found, name)


def declared(spec: Any, params: Any, entry: str) -> Declared:
    """Return the spec and the class of settings of a method.

    Raises:
        ConfigError: they have other types, or a method of kind ``all_rates`` lacks the λ that its models serve.
    """
    if not (isinstance(spec, MethodSpec) and isinstance(params, type) and is_dataclass(params)):
        raise ConfigError(
            f"'{entry}' is not a method: it lacks a MethodSpec 'spec' or a dataclass 'Params'",
            "it must fulfil hemgs.protocol.Method",
        )
    interval = spec.lmbda_interval
    if spec.kind == "all_rates" and (interval is None or not spec.sweep or not all(map(interval.holds, spec.sweep))):
        raise ConfigError(
            f"'{entry}' is of kind all_rates, and its spec lacks lmbda_interval or a sweep of λ within it",
            "give both to its MethodSpec",
        )
    return Declared(spec, params)


def check_entries(benchmark: Benchmark) -> None:
    """Raise ConfigError for selected methods that do not exist, and for kinds, settings and λ that their code refuses.

    Raises:
        ConfigError: a method cannot be used. The error names the file, the method and the setting.
    """
    for method in (*benchmark.methods.values(), *benchmark.bases.values()):
        try:
            found = find_entry(method.entry)
        except ConfigError as fault:
            raise ConfigError(f"{method.file}: entry {fault.message}", fault.fix) from fault
        spec, known = found.spec, frozenset(field.name for field in fields(found.params))
        if method.kind != spec.kind:
            raise ConfigError(
                f"{method.file}: '{method.id}' is of kind {method.kind}, but {method.entry} of kind {spec.kind}",
                f"write 'kind: {spec.kind}'",
            )
        for dataset in benchmark.datasets.values():
            layers = list(_layers(benchmark, method, dataset))
            for origin, params in layers:
                _check_names(params, known, origin, method.id)
            settings = resolve_params(method, dataset.method_params, benchmark.layers)
            _check_values(found.params, settings, layers, f"the settings of '{method.id}' on '{dataset.id}'")
        for rate in method.rates:
            try:
                if spec.lmbda_interval is not None and rate.lmbda is not None:
                    spec.lmbda_interval.check(rate.lmbda)
            except ConfigError as fault:
                raise ConfigError(f"{method.rates_origin}: {method.id}: {fault.message}", fault.fix) from fault


def _layers(benchmark: Benchmark, method: MethodConfig, dataset: DatasetConfig) -> Iterator[tuple[str, Params]]:
    """Yield each place that gives settings of a method on a dataset, with these settings."""
    for _, params in method.layers:
        yield f"{method.file}: params", params
    for layer in (ALL_METHODS, *(name for name, _ in method.layers)):
        yield f"{dataset.file}: method_params.{layer}", dataset.method_params.get(layer, {})
        yield f"the benchmark's method_params.{layer}", benchmark.layers.get(layer, {})


def _check_names(params: Params, known: frozenset[str], origin: str, method: str) -> None:
    for name in sorted(params):
        if name not in known:
            raise ConfigError(f"{origin}: the method '{method}' has no setting '{name}'", closest(name, known))


def _check_values(kind: type, settings: Params, layers: Sequence[tuple[str, Params]], together: str) -> None:
    """Raise ConfigError for settings out of range; name the file with the value, if one alone is at fault."""
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


def _exists(module: str) -> bool:
    """Return whether the module exists; this imports the packages around it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (Exception, SystemExit):  # noqa: BLE001 - importing the class reports what is wrong with its packages
        return False


def _imported(module: str, entry: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as fault:
        if not isinstance(fault, ModuleNotFoundError) or fault.name is None:
            fix = f"`python -c 'import {module}'` shows where it fails"
        elif f"{module}.".startswith(f"{fault.name}."):
            fix = "correct the entry, install the package that contains it, or add its folder to PYTHONPATH"
        else:
            library = library_of(fault)
            fix = library.fix if library else f"install what contains {fault.name}"
        message = f"'{entry}': the module {module} cannot be imported ({type(fault).__name__}: {fault})"
        raise ConfigError(message, fix) from fault
