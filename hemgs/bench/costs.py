"""The measured figures that an estimate multiplies, as ``results/measured/costs.yaml`` holds them.

Owns their names and checks. Does not own what is made of them (``bench.estimate``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from hemgs.config.benchmark import MethodConfig
from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest, load_yaml

#: Where a checkout keeps them.
DEFAULT_COSTS = Path("results/measured/costs.yaml")
#: Entry for whatever has none of its own.
OTHER = "other"
T = TypeVar("T")


@dataclass(frozen=True)
class TrainingCosts:
    """A training step of the method that all others are measured against.

    Attributes:
        alone_ms: milliseconds of a step of a training that has the GPU for itself.
        together_ms: the GPU's milliseconds per step with ``num_at_once`` trainings side by side.
        pixels: of the images it was measured with.
        iterations: of the trainings it was measured in.
        published: what others say of theirs, to compare.
    """

    hardware: str
    alone_ms: float
    together_ms: float
    num_at_once: int
    pixels: float
    iterations: int
    origin: str
    published: str


@dataclass(frozen=True)
class MethodCosts:
    """``train`` over the method all are measured against; seconds per rate, and per rendered view."""

    train: float
    encode_s: float
    decode_s: float
    render_s: float


@dataclass(frozen=True)
class DatasetCosts:
    """Means over the scenes of a data set; ``archive_bytes`` where its file states no sizes."""

    num_views: int
    num_test_views: int
    pixels: float
    archive_bytes: int = 0


@dataclass(frozen=True)
class DiskCosts:
    """Sizes; ``splats`` and ``anchors`` are bytes of a model by data set, ratios are without unit."""

    png_bytes_per_pixel: float
    unpacked: float
    splats: Mapping[str, float]
    anchors: Mapping[str, float]
    methods_of_splats: tuple[str, ...]
    checkpoint: float
    bitstream: float
    methods_uncompressed: tuple[str, ...]


@dataclass(frozen=True)
class Costs:
    """All of the file."""

    file: Path
    training: TrainingCosts
    methods: Mapping[str, MethodCosts]
    datasets: Mapping[str, DatasetCosts]
    disk: DiskCosts

    def of_method(self, method: MethodConfig) -> tuple[MethodCosts, bool]:
        """Return a method's figures, or those of what it extends, and whether it was measured itself."""
        for name, _ in reversed(method.layers):
            if name in self.methods:
                return self.methods[name], True
        return self.methods[OTHER], False

    def of_dataset(self, dataset: str) -> tuple[DatasetCosts, bool]:
        """Return a data set's figures, and whether it has any of its own."""
        return self.datasets.get(dataset, self.datasets[OTHER]), dataset in self.datasets


def load_costs(path: Path) -> Costs:
    """Read the file.

    Raises:
        ConfigError: it is missing, or lacks a figure, or has one that is unknown.
    """
    data = load_yaml(path)
    sections = {name: _mapping(data, name, f"{path}") for name in ("training", "methods", "datasets", "disk")}
    methods = {
        name: _record(MethodCosts, values, f"{path}: methods.{name}") for name, values in sections["methods"].items()
    }
    datasets = {
        name: _record(DatasetCosts, values, f"{path}: datasets.{name}") for name, values in sections["datasets"].items()
    }
    disk = _record(DiskCosts, sections["disk"], f"{path}: disk")
    for name, table in (
        ("methods", methods),
        ("datasets", datasets),
        ("disk.splats", disk.splats),
        ("disk.anchors", disk.anchors),
    ):
        if OTHER not in table:
            raise ConfigError(f"{path}: {name} lacks '{OTHER}'", "add it: what is not listed takes its figures")
    return Costs(path, _record(TrainingCosts, sections["training"], f"{path}: training"), methods, datasets, disk)


def _mapping(data: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(data.get(name), Mapping):
        raise ConfigError(f"{where}: the section '{name}' is missing", "take the file from the repository")
    found: Mapping[str, Any] = data[name]
    return found


def _record(kind: type[T], values: Any, where: str) -> T:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}", "give a mapping of figures")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{where}: unknown figure '{unknown[0]}'", closest(unknown[0], known))
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    except TypeError as fault:
        raise ConfigError(f"{where}: {str(fault).partition(') ')[2]}", "add the figure") from fault
