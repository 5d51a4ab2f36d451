"""The two JSON files that the workflow writes for the analysis: the expected results, and their looks.

Owns their fields and checks. ``plan.json`` decides numbers: the fits, rates and scenes of a mean. ``style.json``
decides looks: labels, colours, order and the published parts. A new colour therefore recomputes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo

from hemgs.core.errors import ConfigError
from hemgs.core.reading import Entry, checked

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


def _under_root(path: Path, info: ValidationInfo) -> Path:
    return (info.context or Path()) / path


def _in_order_of_work(logs: Mapping[str, Path]) -> Mapping[str, Path]:
    return {step: logs[step] for step in sorted(logs, key=lambda step: (*STEPS, step).index(step))}


#: A path of the file, relative to :func:`_root_of` there.
Place = Annotated[Path, AfterValidator(_under_root)]
#: Id of the method that a variant extends, and the entry's own id for a method.
Base = Annotated[str, Field(default_factory=lambda entry: entry["id"])]


class Named(Entry):
    """An entry with a printed name: a method, a variant, a dataset or a scene."""

    id: str
    label: str


class PlannedMethod(Named):
    """A method or variant; ``id`` is the variant's id for a variant."""

    base: Base
    kind: str
    rates: tuple[str, ...]


class DatasetNames(Named):
    """A dataset and its scenes, in the order of the tables."""

    scenes: tuple[Named, ...]

    def label_of(self, scene: str) -> str:
        return next((known.label for known in self.scenes if known.id == scene), scene)


class Fit(Entry):
    """One training whose points should exist.

    Attributes:
        base: id of the method, or of the one that the variant extends.
        variant: id of the variant, if it is one.
        rates: rate ids that its ``points.csv`` should contain.
        finished: false if a later attempt to make the points has failed; an old file does not count.
        points: path of that file.
        logs: step → log file, in the order of the work.
    """

    base: str = Field(alias="method")
    variant: str | None = None
    dataset: str
    scene: str
    fit: str
    seed: int
    rates: tuple[str, ...]
    finished: bool = True
    points: Place
    logs: Annotated[Mapping[str, Place], AfterValidator(_in_order_of_work)] = Field(default_factory=dict)

    @property
    def method(self) -> str:
        """Id of the variant; without a variant, id of the method."""
        return self.variant or self.base


class Plan(Entry):
    """``plan.json``: methods and datasets in the order of the tables, and every expected fit.

    ``refit`` lists the fits whose entropy models must be compared; their ``points`` is the table of that comparison.
    """

    title: str
    methods: tuple[PlannedMethod, ...]
    datasets: tuple[DatasetNames, ...]
    fits: tuple[Fit, ...]
    refit: tuple[Fit, ...] = ()


class MethodStyle(Named):
    """Looks of a method; colour and marker are ``None`` if the analysis may choose.

    ``kind`` says whether one model serves all rates.
    """

    base: Base
    color: str | None = None
    marker: str | None = None
    kind: str = ""


class Showcase(Entry):
    """A scene that gets a visual comparison: folders with decoded views, by method id."""

    dataset: str
    scene: str
    folders: Mapping[str, tuple[Place, ...]] = Field(alias="showcases")


class Style(Entry):
    """``style.json``: the published parts, with their order, names and colours."""

    title: str
    methods: tuple[MethodStyle, ...]
    datasets: tuple[DatasetNames, ...]
    tables: tuple[str, ...]
    visual: tuple[Showcase, ...]
    variable_rate: tuple[str, ...]

    def label_of(self, method: str) -> str:
        """Return the printed name of a method id; the id itself if the style lacks it."""
        return next((known.label for known in self.methods if known.id == method), method)

    def dataset(self, dataset: str) -> DatasetNames:
        """Return the names of a dataset; its id if the style lacks it."""
        return next(
            (known for known in self.datasets if known.id == dataset),
            DatasetNames(id=dataset, label=dataset, scenes=()),
        )

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
        ConfigError: the file cannot be read or is of another version, or a field is missing or of the wrong type.
    """
    return _load(Plan, Path(path))


def load_style(path: Path) -> Style:
    """Read ``style.json``. Raises ``ConfigError`` as :func:`load_plan` does."""
    return _load(Style, Path(path))


def _load(kind: type[T], path: Path) -> T:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path} cannot be read: {fault}", "let the workflow write it again") from fault
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: schema version {version!r}, this program reads {SCHEMA_VERSION}", "write it with this version"
        )
    found: T = checked(kind, data, str(path), _root_of(path))
    return found


def _root_of(path: Path) -> Path:
    """Return the folder that paths in a file are relative to.

    That is the working directory, unless results are kept in a separate storage and this is a local copy of them.
    """
    return path.parents[2] if path.parts[-3:-1] == ("results", "summary") else Path()
