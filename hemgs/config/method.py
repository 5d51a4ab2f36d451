"""Methods and variants: the keys of their files, how variants extend methods, and the rates of each method.

Owns ``config/methods/<id>.yaml``: keys with their ranges, and the meaning of ``extends``. Does not own the settings of
datasets or of a benchmark over a method's (``hemgs.config.benchmark``), nor the declaration in the method's code
(``hemgs.config.entries``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from hemgs.config.dataset import load_named
from hemgs.config.fields import Id, Lmbdas, LmbdaSteps, Params, Text, lmbda_values
from hemgs.core.errors import ConfigError
from hemgs.core.reading import Section, checked, closest
from hemgs.core.types import SINGLE_RATE, FitKind, Rate

#: Fit id of a model that serves every rate.
ALL_RATES_FIT = "all"
#: Kinds of methods that have one bitstream for each model.
WITHOUT_RATES = ("single", "post")


class MethodFile(Section):
    """One file of workflow/config/methods/. A method has an entry; a variant extends one and changes parts of it."""

    id: Id
    """Name used in paths and selections; equals the file's name."""
    label: Text
    """Name used in print."""
    entry: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$")] = ""
    """The method's class as package.module:Class; it must be importable where the workflow runs. A variant names one,
    with its kind, only where a class of its own takes the same settings."""
    extends: Id = ""
    """The method that this variant extends; it supplies every key that this file lacks."""
    kind: Literal["single", "per_rate", "all_rates", "post"] = "single"
    """single has no rate knob: one model, one bitstream. per_rate has one training and one bitstream per rate.
    all_rates has one training, and one bitstream per rate. post has one model and one bitstream, and starts from the
    trained model of its base."""
    base: Id = ""
    """For kind post, the method or variant whose trained model of the same scene and seed this one starts from."""
    rates: Lmbdas = Field(default_factory=list)
    """The λ to encode at, as a list or as an arithmetic sequence that includes its ends."""
    params: Params = Field(default_factory=dict)
    """Settings over the defaults in the method's code; `hemgs describe METHOD` lists them."""
    citation: str = ""
    """Paper to cite."""
    color: Annotated[str | None, StringConstraints(pattern="^#[0-9a-fA-F]{6}$")] = None
    """Colour in figures."""
    marker: Annotated[str | None, Field(min_length=1, max_length=1)] = None
    """Marker in figures, by its matplotlib letter."""

    def says(self, key: str) -> bool:
        """Return whether the file itself has a key."""
        return key in self.model_fields_set


@dataclass(frozen=True)
class MethodConfig:
    """One file of ``config/methods``, completed from the methods that it extends.

    Attributes:
        base: id of the method at the end of the chain of ``extends``; equals ``id`` unless this is a variant.
        layers: ``(id, params)`` of each file from the base to this one.
        rates_from: id of the one among them whose file contains the rates; empty without rates.
        rates_origin: file and key that contain the rates.
        starts_from: for kind ``post``, id of the method or variant whose trained model training starts from; else
            empty.
    """

    id: str
    label: str
    file: Path
    base: str
    entry: str
    kind: FitKind
    rates: tuple[Rate, ...]
    layers: tuple[tuple[str, Mapping[str, Any]], ...]
    rates_from: str = ""
    rates_origin: str = ""
    starts_from: str = ""
    citation: str = ""
    color: str | None = None
    marker: str | None = None

    @property
    def variant(self) -> str:
        """The variant's id, or an empty text for a method itself."""
        return "" if self.id == self.base else self.id


def load_methods(files: Iterable[Path]) -> dict[str, MethodConfig]:
    """Read method files, and complete each variant from the methods that it extends.

    Raises:
        ConfigError: a key or value cannot be used, ``extends`` is unknown or circular, or the rates do not fit the
            kind.
    """
    found: dict[str, tuple[Path, MethodFile]] = {}
    for path in files:
        own: MethodFile = checked(MethodFile, load_named(path, MethodFile), str(path))
        if own.id in found:
            raise ConfigError(f"{path}: the method '{own.id}' is also in {found[own.id][0]}", "rename one of them")
        found[own.id] = (path, own)
    methods = {method: _method(method, found) for method in found}
    for method in methods.values():
        _check_start(method, methods)
    return methods


def _check_start(method: MethodConfig, methods: Mapping[str, MethodConfig]) -> None:
    """Raise ConfigError unless the base of a method of kind ``post`` has one model for each scene and seed."""
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
    """Return the fits of a method and the rates each of them serves."""
    if method.kind == "all_rates":
        return {ALL_RATES_FIT: method.rates}
    return {rate.id: (rate,) for rate in method.rates}


def with_rates(method: MethodConfig, rates: list[float] | LmbdaSteps, origin: str) -> MethodConfig:
    """Return the method at other rates.

    Raises:
        ConfigError: the method has no rate knob.
    """
    if method.kind in WITHOUT_RATES:
        raise ConfigError(f"{origin}: '{method.id}' is of kind {method.kind} and has no rates", "remove them")
    return dataclasses.replace(
        method, rates=tuple(Rate.of(lmbda) for lmbda in lmbda_values(rates)), rates_origin=origin
    )


def with_benchmark_rates(
    method: MethodConfig, by_method: Mapping[str, list[float] | LmbdaSteps], origin: str
) -> MethodConfig:
    """Return the method at a benchmark's rates: its own entry, else that of an extended method if its file has none.

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


def _method(name: str, found: Mapping[str, tuple[Path, MethodFile]]) -> MethodConfig:
    chain = _chain(name, found)
    path, own = found[name]

    def last(key: str) -> tuple[str, Any]:
        """Return a key's value from the last file of the chain that has the key, and that file's id; or the default."""
        link = next((link for link in reversed(chain) if found[link][1].says(key)), "")
        return link, getattr(found[link or name][1], key)

    kind = last("kind")[1]
    if own.says("base") and kind != "post":
        raise ConfigError(f"{path}: 'base' is for methods of kind post, not {kind}", "remove it")
    method = MethodConfig(
        id=name,
        label=own.label,
        file=path,
        base=chain[0],
        entry=last("entry")[1],
        kind=kind,
        rates=(SINGLE_RATE,),
        layers=tuple((link, found[link][1].params) for link in chain),
        starts_from=last("base")[1] if kind == "post" else "",
        citation=last("citation")[1],
        color=own.color,
        marker=own.marker,
    )
    if method.kind in WITHOUT_RATES and not own.says("rates"):
        return method
    stated, rates = last("rates")
    if not stated:
        raise ConfigError(f"{path}: a method of kind {method.kind} lacks 'rates'", "list the λ to encode at")
    return with_rates(dataclasses.replace(method, rates_from=stated), rates, f"{found[stated][0]}: rates")


def _chain(name: str, found: Mapping[str, tuple[Path, MethodFile]]) -> list[str]:
    """Return the ids of the chain from the first extended method to the one of this name."""
    chain = [name]
    while extends := found[chain[-1]][1].extends:
        path = found[chain[-1]][0]
        if extends not in found:
            raise ConfigError(f"{path}: extends the unknown method '{extends}'", closest(extends, found))
        if extends in chain:
            raise ConfigError(f"{path}: '{name}' extends itself by way of '{extends}'", "break the circle")
        chain.append(extends)
    chain.reverse()
    for link in chain:
        path, file = found[link]
        lacking = [key for key in ("entry", "kind") if not file.says(key)]
        if link == chain[0] and lacking:
            raise ConfigError(f"{path}: lacks '{lacking[0]}'", "add it, or name the method that it 'extends'")
        if len(lacking) == 1:
            raise ConfigError(f"{path}: only one of 'entry' and 'kind'", "give both for a class of its own, or neither")
    return chain
