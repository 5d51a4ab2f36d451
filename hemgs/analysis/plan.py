"""What should exist and how it is to look: the two JSON files that the workflow hands over.

Owns their fields and checks. ``plan.json`` decides numbers (which fits, rates and scenes belong to a mean);
``style.json`` decides looks (labels, colours, order, what to publish), so that a new colour recomputes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hemgs.core.errors import ConfigError

SCHEMA_VERSION = 1
T = TypeVar("T")
#: Steps of a fit in the order of the work; JSON objects have none.
STEPS = (
    "fetch_archive",
    "prepare_scene",
    "train_base",
    "train_model",
    "encode_points",
    "evaluate_points",
    "refit_model",
)


@dataclass(frozen=True)
class PlannedMethod:
    """A method or variant; ``id`` is the variant's id for a variant.

    ``base`` is the id of the method that a variant extends, and the id itself for a method.
    """

    id: str
    base: str
    label: str
    kind: str
    rates: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """A data set's scene, or a data set."""

    id: str
    label: str


@dataclass(frozen=True)
class DatasetNames(Named):
    """A data set and its scenes, in the order of the tables."""

    scenes: tuple[Named, ...]

    def label_of(self, scene: str) -> str:
        return next((known.label for known in self.scenes if known.id == scene), scene)


@dataclass(frozen=True)
class Fit:
    """One training whose points should exist.

    Attributes:
        method: id of the method, or of the variant.
        rates: rate ids that its ``points.csv`` should hold.
        finished: false where a later attempt to make the points has not succeeded; an old file does not count.
        points: path of that file.
        logs: step → log file, in the order of the work.
    """

    method: str
    dataset: str
    scene: str
    fit: str
    seed: int
    rates: tuple[str, ...]
    finished: bool
    points: Path
    logs: Mapping[str, Path]


@dataclass(frozen=True)
class Plan:
    """``plan.json``: methods and data sets in the order of the tables, and every fit that should exist.

    ``refit`` are the fits whose entropy models are to be compared; their ``points`` is the table of that comparison.
    """

    title: str
    methods: tuple[PlannedMethod, ...]
    datasets: tuple[DatasetNames, ...]
    fits: tuple[Fit, ...]
    refit: tuple[Fit, ...] = ()


@dataclass(frozen=True)
class MethodStyle:
    """How a method looks; colour and marker are ``None`` where the analysis may choose.

    ``base`` is the id of the method that a variant extends, and the id itself for a method; ``kind`` says whether one
    model serves all rates.
    """

    id: str
    base: str
    label: str
    color: str | None
    marker: str | None
    kind: str = ""


@dataclass(frozen=True)
class Showcase:
    """A scene that gets a visual comparison: folders with decoded views, by method id."""

    dataset: str
    scene: str
    folders: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True)
class Style:
    """``style.json``: what is published, in which order, under which names and colours."""

    title: str
    methods: tuple[MethodStyle, ...]
    datasets: tuple[DatasetNames, ...]
    tables: tuple[str, ...]
    visual: tuple[Showcase, ...]
    variable_rate: tuple[str, ...]

    def label_of(self, method: str) -> str:
        """Return the print name of a method id; the id itself where none is known."""
        return next((known.label for known in self.methods if known.id == method), method)

    def dataset(self, dataset: str) -> DatasetNames:
        """Return a data set's names; its id where the style does not show it."""
        return next((known for known in self.datasets if known.id == dataset), DatasetNames(dataset, dataset, ()))

    def in_print(self, reason: str) -> str:
        """Return a reason with labels in place of the ids of methods."""
        labels = {known.id: known.label for known in self.methods}
        return re.sub(r"\b([a-z][a-z0-9_]*)(?=: | has )", lambda found: labels.get(found[1], found[1]), reason)

    def order_of(self, method: str) -> int:
        """Return the rank of a method in tables and legends; unknown ones come last."""
        return next((rank for rank, known in enumerate(self.methods) if known.id == method), len(self.methods))


def load_plan(path: Path) -> Plan:
    """Read ``plan.json``.

    Raises:
        ConfigError: unreadable, of another version, or a field is missing or of the wrong type.
    """
    reader = _Reader(path)
    return Plan(
        title=reader.text(reader.root, "title"),
        methods=tuple(
            PlannedMethod(
                reader.text(entry, "id"),
                reader.optional_text(entry, "base") or reader.text(entry, "id"),
                reader.text(entry, "label"),
                reader.text(entry, "kind"),
                reader.texts(entry, "rates"),
            )
            for entry in reader.items(reader.root, "methods")
        ),
        datasets=reader.datasets(),
        fits=tuple(_fit(reader, entry) for entry in reader.items(reader.root, "fits")),
        refit=tuple(_fit(reader, entry) for entry in reader.items(reader.root, "refit"))
        if "refit" in reader.root
        else (),
    )


def load_style(path: Path) -> Style:
    """Read ``style.json``. Raises ``ConfigError`` as :func:`load_plan` does."""
    reader = _Reader(path)
    return Style(
        title=reader.text(reader.root, "title"),
        methods=tuple(
            MethodStyle(
                reader.text(entry, "id"),
                reader.optional_text(entry, "base") or reader.text(entry, "id"),
                reader.text(entry, "label"),
                reader.optional_text(entry, "color"),
                reader.optional_text(entry, "marker"),
                reader.optional_text(entry, "kind") or "",
            )
            for entry in reader.items(reader.root, "methods")
        ),
        datasets=reader.datasets(),
        tables=reader.texts(reader.root, "tables"),
        visual=tuple(
            Showcase(
                reader.text(entry, "dataset"),
                reader.text(entry, "scene"),
                {
                    method: tuple(reader.base / folder for folder in reader.typed(folders, list, f"showcases.{method}"))
                    for method, folders in reader.field(entry, "showcases", dict).items()
                },
            )
            for entry in reader.items(reader.root, "visual")
        ),
        variable_rate=reader.texts(reader.root, "variable_rate"),
    )


def _fit(reader: _Reader, entry: Mapping[str, Any]) -> Fit:
    logs = reader.field(entry, "logs", dict) if "logs" in entry else {}
    steps = sorted(logs, key=lambda step: STEPS.index(step) if step in STEPS else len(STEPS))
    return Fit(
        method=reader.optional_text(entry, "variant") or reader.text(entry, "method"),
        dataset=reader.text(entry, "dataset"),
        scene=reader.text(entry, "scene"),
        fit=reader.text(entry, "fit"),
        seed=reader.field(entry, "seed", int),
        rates=reader.texts(entry, "rates"),
        finished=reader.field(entry, "finished", bool) if "finished" in entry else True,
        points=reader.base / reader.text(entry, "points"),
        logs={step: reader.base / reader.typed(logs[step], str, f"logs.{step}") for step in steps},
    )


def _root_of(path: Path) -> Path:
    """Return the folder that paths in a file are relative to.

    That is the working directory, unless results are kept in a storage of their own and this is a local copy of them.
    """
    return path.parents[2] if path.parts[-3:-1] == ("results", "summary") else Path()


class _Reader:
    """Typed access to one JSON file, with messages that name it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.base = _root_of(Path(path))
        try:
            root = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise ConfigError(f"{path} cannot be read: {fault}", "let the workflow write it again") from fault
        self.root: Mapping[str, Any] = self.typed(root, dict, "the file")
        if (version := self.root.get("schema_version")) != SCHEMA_VERSION:
            raise ConfigError(
                f"{path}: schema version {version!r}, this program reads {SCHEMA_VERSION}", "write it with this version"
            )

    def typed(self, value: Any, kind: type[T], what: str) -> T:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ConfigError(f"{self._path}: {what} is {value!r}, expected {kind.__name__}", "correct the file")
        return value

    def field(self, entry: Mapping[str, Any], name: str, kind: type[T]) -> T:
        if name not in entry:
            raise ConfigError(f"{self._path}: {name!r} is missing; there are {', '.join(entry)}", "correct the file")
        return self.typed(entry[name], kind, name)

    def text(self, entry: Mapping[str, Any], name: str) -> str:
        return self.field(entry, name, str)

    def optional_text(self, entry: Mapping[str, Any], name: str) -> str | None:
        return None if entry.get(name) is None else self.field(entry, name, str)

    def texts(self, entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
        return tuple(self.typed(item, str, f"an item of {name}") for item in self.field(entry, name, list))

    def items(self, entry: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
        return [self.typed(item, dict, f"an item of {name}") for item in self.field(entry, name, list)]

    def datasets(self) -> tuple[DatasetNames, ...]:
        return tuple(
            DatasetNames(
                self.text(entry, "id"),
                self.text(entry, "label"),
                tuple(
                    Named(self.text(scene, "id"), self.text(scene, "label")) for scene in self.items(entry, "scenes")
                ),
            )
            for entry in self.items(self.root, "datasets")
        )
