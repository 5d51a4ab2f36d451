"""The measured figures that an estimate multiplies, as ``results/measured/costs.yaml`` contains them.

Owns their names and checks. Does not own what an estimate computes from them (``bench.estimate``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator

from hemgs.config.benchmark import MethodConfig
from hemgs.config.fields import LIST
from hemgs.core.reading import RefusedError, Section, checked
from hemgs.core.yaml_files import load_yaml

#: Path of the file in a checkout.
DEFAULT_COSTS = Path("results/measured/costs.yaml")
#: Entry for methods and datasets without an entry.
OTHER = "other"
T = TypeVar("T")


def _with_other(table: dict[str, T]) -> dict[str, T]:
    if OTHER not in table:
        raise RefusedError(f"add '{OTHER}', whose figures apply to everything that is not listed")
    return table


Table = Annotated[dict[str, T], AfterValidator(_with_other)]
Names = Annotated[tuple[str, ...], LIST]


class TrainingCosts(Section):
    """A training step of the method that is the unit of all others."""

    hardware: str
    alone_ms: float
    """Milliseconds of a step of a training that has the GPU for itself."""
    together_ms: float
    """The GPU's milliseconds per step with ``num_at_once`` trainings side by side."""
    num_at_once: int
    pixels: float
    """Pixels of the images that it was measured with."""
    iterations: int
    """Iterations of the trainings that it was measured in."""
    origin: str
    published: str
    """Durations of trainings that papers state, for comparison."""


class MethodCosts(Section):
    """Ratio of the training time to that of the unit; seconds per rate, and per rendered view."""

    train: float
    encode_s: float
    decode_s: float
    render_s: float


class DatasetCosts(Section):
    """Means over the scenes of a dataset; ``archive_bytes`` where its file states no sizes."""

    num_views: int
    num_test_views: int
    pixels: float
    archive_bytes: int = 0


class DiskCosts(Section):
    """Sizes. ``splats`` and ``anchors`` are bytes of a model by dataset; ratios have no unit."""

    png_bytes_per_pixel: float
    unpacked: float
    splats: Table[float]
    anchors: Table[float]
    methods_of_splats: Names
    checkpoint: float
    bitstream: float
    methods_uncompressed: Names


class Costs(Section):
    """Contents of the file, and its path."""

    file: Path
    training: TrainingCosts
    methods: Table[MethodCosts]
    datasets: Table[DatasetCosts]
    disk: DiskCosts

    def of_method(self, method: MethodConfig) -> tuple[MethodCosts, bool]:
        """Return the figures of a method or of the method that it extends, and whether either was measured."""
        for name, _ in reversed(method.layers):
            if name in self.methods:
                return self.methods[name], True
        return self.methods[OTHER], False

    def of_dataset(self, dataset: str) -> tuple[DatasetCosts, bool]:
        """Return the figures of a dataset, and whether it was measured."""
        return self.datasets.get(dataset, self.datasets[OTHER]), dataset in self.datasets


def load_costs(path: Path) -> Costs:
    """Read the file.

    Raises:
        ConfigError: the file is missing, lacks a figure, or contains an unknown one.
    """
    costs: Costs = checked(Costs, {**load_yaml(path), "file": path}, str(path))
    return costs
