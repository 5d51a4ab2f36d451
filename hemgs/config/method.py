"""Methods and variants as their files describe them.

Owns the meaning of ``config/methods/<id>.yaml``: what extends what, and which rates a method is run at. Does not own
the settings of data sets or of a benchmark over a method's (``hemgs.config.benchmark``), nor whether the method's class
exists (``hemgs.config.entries``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest, load_named
from hemgs.core.types import SINGLE_RATE, FitKind, Rate

#: Fit id of a model that serves every rate.
ALL_RATES_FIT = "all"
#: Kinds of methods that have one bitstream for each model.
WITHOUT_RATES = ("single", "post")

Params = Mapping[str, Any]


@dataclass(frozen=True)
class MethodConfig:
    """One file of ``config/methods``, with what it extends filled in.

    Attributes:
        base: id of the method that all of this extends in the end; equals ``id`` unless this is a variant.
        layers: ``(id, params)`` from the base to this one, as their files say.
        rates_from: id of the one among them whose file says the rates; empty without rates.
        starts_from: id of the method or variant whose trained model one of kind ``post`` starts from; empty otherwise.
    """

    id: str
    label: str
    file: Path
    base: str
    entry: str
    kind: FitKind
    rates: tuple[Rate, ...]
    layers: tuple[tuple[str, Params], ...]
    rates_from: str = ""
    starts_from: str = ""
    citation: str = ""
    color: str | None = None
    marker: str | None = None

    @property
    def variant(self) -> str:
        """The variant's id, or an empty text for a method itself."""
        return "" if self.id == self.base else self.id


def load_methods(files: Iterable[Path]) -> dict[str, MethodConfig]:
    """Reads method files and resolves what extends what.

    Raises:
        ConfigError: against the schema, an unknown or circular ``extends``, rates that do not fit the kind.
    """
    raw: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in files:
        data = load_named(path, "method")
        if data["id"] in raw:
            raise ConfigError(
                f"{path}: the method '{data['id']}' is also in {raw[data['id']][0]}", "rename one of them"
            )
        raw[data["id"]] = (path, data)
    methods = {method: _method(method, raw) for method in raw}
    for method in methods.values():
        _check_start(method, methods)
    return methods


def _check_start(method: MethodConfig, methods: Mapping[str, MethodConfig]) -> None:
    """Raise ConfigError unless a method of kind ``post`` starts from one that has one model for each scene and seed."""
    if method.kind != "post":
        return
    if not method.starts_from:
        raise ConfigError(f"{method.file}: a method of kind post lacks 'base'", "name the method that it starts from")
    start = methods.get(method.starts_from)
    if start is None:
        raise ConfigError(
            f"{method.file}: base '{method.starts_from}' is not a known method", closest(method.starts_from, methods)
        )
    if start.kind not in ("single", "all_rates"):
        raise ConfigError(
            f"{method.file}: base '{start.id}' is of kind {start.kind}",
            "name a method of kind single or all_rates, which has one model for each scene and seed",
        )


def fit_rates(method: MethodConfig) -> dict[str, tuple[Rate, ...]]:
    """The fits of a method and the rates each of them serves."""
    if method.kind == "all_rates":
        return {ALL_RATES_FIT: method.rates}
    return {rate.id: (rate,) for rate in method.rates}


def with_rates(method: MethodConfig, spec: Any, origin: str) -> MethodConfig:
    """The method at other rates; ``spec`` as for :func:`parse_rates`.

    Raises:
        ConfigError: the method has no rate knob, or as :func:`parse_rates`.
    """
    if method.kind in WITHOUT_RATES:
        raise ConfigError(f"{origin}: '{method.id}' is of kind {method.kind} and has no rates", "remove them")
    return dataclasses.replace(method, rates=parse_rates(spec, origin))


def with_benchmark_rates(method: MethodConfig, by_method: Mapping[str, Any], origin: str) -> MethodConfig:
    """The method at the rates of a benchmark: those named for it, or for what it extends unless its own file says some.

    Raises:
        ConfigError: as :func:`with_rates`.
    """
    lineage = [link for link, _ in method.layers]
    if method.kind in WITHOUT_RATES or not method.rates_from:
        lineage = lineage[-1:]
    else:
        lineage = lineage[lineage.index(method.rates_from) :]
    named = [link for link in lineage if link in by_method]
    return with_rates(method, by_method[named[-1]], f"{origin}.{named[-1]}") if named else method


def parse_rates(spec: Any, origin: str) -> tuple[Rate, ...]:
    """Rates from a list of λ, or from ``start``, ``stop`` and ``step``; ascending.

    Raises:
        ConfigError: a λ that is not a positive number, is given twice, or a ``stop`` that the steps miss.
    """
    if isinstance(spec, Mapping):
        # Decimal arithmetic: 0.001 + 0.0002 must be the number that a reader would type, since ids come from it.
        start, stop, step = (Decimal(str(spec[key])) for key in ("start", "stop", "step"))
        if stop < start or (stop - start) % step != 0:
            raise ConfigError(
                f"{origin}: steps of {step} from {start} do not end at {stop}", "choose a stop that is start + n * step"
            )
        values = [float(start + step * index) for index in range(int((stop - start) / step) + 1)]
    else:
        values = list(spec)
    for value in values:
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise ConfigError(f"{origin}: λ cannot be {value!r}", "give positive numbers")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ConfigError(f"{origin}: λ {twice[0]} is given twice", "give each rate once")
    return tuple(Rate.of(value) for value in sorted(values))


def _method(name: str, raw: Mapping[str, tuple[Path, dict[str, Any]]]) -> MethodConfig:
    chain = [name]
    while extends := raw[chain[-1]][1].get("extends"):
        path = raw[chain[-1]][0]
        if extends not in raw:
            raise ConfigError(f"{path}: extends the unknown method '{extends}'", closest(extends, raw))
        if extends in chain:
            raise ConfigError(f"{path}: '{name}' extends itself by way of '{extends}'", "break the circle")
        chain.append(extends)
    chain.reverse()
    path, own = raw[name]
    base_path, base = raw[chain[0]]
    for key in ("entry", "kind"):
        if key not in base:
            raise ConfigError(f"{base_path}: lacks '{key}'", "add it, or say which method it 'extends'")
    for link in chain[1:]:
        if len({"entry", "kind"} & raw[link][1].keys()) == 1:
            fix = "give both for a class of its own, or neither"
            raise ConfigError(f"{raw[link][0]}: only one of 'entry' and 'kind'", fix)
    inherited: dict[str, Any] = {}
    for link in chain:
        inherited |= raw[link][1]
    if "base" in own and inherited["kind"] != "post":
        raise ConfigError(f"{path}: 'base' is for methods of kind post, not {inherited['kind']}", "remove it")
    method = MethodConfig(
        id=name,
        label=own["label"],
        file=path,
        base=chain[0],
        entry=inherited["entry"],
        kind=inherited["kind"],
        rates=(SINGLE_RATE,),
        layers=tuple((link, raw[link][1].get("params", {})) for link in chain),
        starts_from=inherited.get("base", "") if inherited["kind"] == "post" else "",
        citation=inherited.get("citation", ""),
        color=own.get("color"),
        marker=own.get("marker"),
    )
    if method.kind in WITHOUT_RATES and "rates" not in own:
        return method
    stated = [link for link in chain if "rates" in raw[link][1]]
    if not stated:
        raise ConfigError(f"{path}: a method of kind {method.kind} lacks 'rates'", "list the λ to encode at")
    method = dataclasses.replace(method, rates_from=stated[-1])
    return with_rates(method, inherited["rates"], f"{raw[stated[-1]][0]}: rates")
