"""The lossless comparison as a use case: what the verb ``ablate`` does.

Fits one entropy model per variant to the symbols of one trained model, all with the same steps and seed, and writes
their sizes as a table. Pictures stay the same, so sizes alone compare the variants, in minutes instead of a training
each.

Owns the fitting and the table. Does not own the symbols, their price or their streams (``hemgs.codec.refit``).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import torch

from hemgs.bench.runner import load_model, resolve_params
from hemgs.bench.runs import TrainRecord
from hemgs.codec.model import EntropyModel
from hemgs.codec.refit import (
    SECTIONS,
    VARIANTS,
    FrozenSymbols,
    OfflinePrice,
    TrainedModel,
    coded_bytes,
    float_bytes,
    freeze,
    fresh_model,
)
from hemgs.core.errors import ConfigError, TrainingError
from hemgs.core.events import EventLog
from hemgs.core.records import LOSSLESS_COLUMNS, write_rows
from hemgs.core.timing import Stopwatch
from hemgs.protocol import Model
from hemgs.training.networks import NetworkOptimizer, ParameterGroup

#: Row of the trained model's own entropy model, the one that its attributes were trained with.
TRAINED = "trained"
#: First and last learning rate of networks and hash grid: the first of training; with nothing else moving, a higher
#: last one fits better in few steps.
LEARNING_RATE = (5e-3, 1e-4)
#: Anchors priced in a step.
BATCH = 1024
#: Parts of the fit after which the hash grid begins to cost and costs in full; see ``SimulationSettings.grid_free``.
GRID_FREE, GRID_FULL = 0.3, 0.6
#: One line of the table, by column.
Row = dict[str, str | int | float]


@runtime_checkable
class HasEntropyModel(Protocol):
    """A method whose entropy model can be fitted anew."""

    def trained(self, model: Model, params: Mapping[str, Any], device: torch.device) -> TrainedModel:
        """The parts of a trained model; ``params`` are the settings of the variants' models."""
        ...


@dataclass(frozen=True)
class LosslessRequest:
    """What to compare.

    Attributes:
        model: folder of a finished training.
        out: table to write, CSV.
        variants: of ``hemgs.codec.refit.VARIANTS``.
        iterations: steps of each fit.
        lmbda: the rate.
        texts: settings of the variants over the model's own, as typed by a person.
        seed: of the fits.
    """

    model: Path
    out: Path
    variants: Sequence[str] = tuple(VARIANTS)
    iterations: int = 3000
    lmbda: float = 0.002
    texts: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0


def run_lossless(request: LosslessRequest, device: torch.device, stream: IO[str] | None = None) -> list[Row]:
    """Compares variants on the symbols of one model; writes and gives a row for each, the model's own first.

    Raises:
        ConfigError: no such variant or rate, no finished training, or a method without such an entropy model.
    """
    if request.iterations < 1:
        raise ConfigError(f"--iterations {request.iterations}: nothing would be fitted", "give 1 or more")
    if not request.variants or len(set(request.variants)) < len(request.variants):
        raise ConfigError(f"variants {','.join(request.variants)!r}: none, or one twice", "name each once")
    if request.out.is_dir():
        raise ConfigError(f"--out {request.out} is a folder", "name a file such as table.csv")
    record, method, model = load_model(request.model, device)
    if not isinstance(method, HasEntropyModel):
        raise ConfigError(f"{method.spec.id} has no entropy model that can be fitted anew", "name a model of hemgs")
    params = resolve_params(method, record.params, request.texts)
    trained = method.trained(model, params, device)
    settings = {name: trained.variant(name) for name in request.variants}
    frozen = freeze(trained, request.lmbda)
    rows = [_row(record, request, TRAINED, record.iterations, record.train_s, frozen, trained.entropy, device)]
    models = {name: fresh_model(each, trained.entropy, frozen, request.seed) for name, each in settings.items()}
    with EventLog(None, f"fitting {record.scene}", stream) as events:
        for number, (name, entropy) in enumerate(models.items()):
            events.title = f"fitting {record.scene} {name}"
            with Stopwatch() as watch, _without_denormals():
                fit_entropy(entropy, frozen, request, device, events, number)
            rows.append(_row(record, request, name, request.iterations, watch.seconds, frozen, entropy, device))
    write_rows(request.out, rows, LOSSLESS_COLUMNS)
    return rows


def fit_entropy(
    entropy: EntropyModel,
    frozen: FrozenSymbols,
    request: LosslessRequest,
    device: torch.device,
    events: EventLog,
    number: int = 0,
) -> None:
    """Fits a model to frozen symbols; the same anchors in the same order for every model.

    Args:
        entropy: of ``fresh_model``.
        frozen: the symbols.
        request: steps, seed and how many variants there are.
        device: where to compute.
        events: for progress.
        number: of the variant, from 0.

    Raises:
        TrainingError: the price is no longer finite.
    """
    price, grid = OfflinePrice(entropy, frozen, device), list(entropy.grid.parameters())
    networks = [weight for network in entropy.networks() for weight in network.parameters() if weight.requires_grad]
    groups = [ParameterGroup("hash_grid", grid, *LEARNING_RATE), ParameterGroup("networks", networks, *LEARNING_RATE)]
    optimizer = NetworkOptimizer(groups, request.iterations)
    generator = torch.Generator().manual_seed(request.seed)
    scalars = entropy.settings.feature_dim + entropy.settings.geometry_dim
    total = request.iterations * len(request.variants)
    waiting = torch.empty(0, dtype=torch.int64)
    for iteration in range(1, request.iterations + 1):
        if not len(waiting):
            waiting = torch.randperm(frozen.num_anchors, generator=generator)
        rows, waiting = waiting[:BATCH].to(device), waiting[BATCH:]
        optimizer.set_iteration(iteration)
        bits = price.bits(rows) / len(rows)
        part = iteration / request.iterations
        weight = min(max((part - GRID_FREE) / (GRID_FULL - GRID_FREE), 0.0), 1.0)
        loss = (bits + weight * entropy.grid.bits() / frozen.num_anchors) / scalars
        figure = float(bits.detach())
        if not math.isfinite(figure):
            raise TrainingError(f"fit step {iteration}: the price is {figure}", "report this with the model")
        torch.autograd.backward(loss)
        optimizer.step()
        events.progress(number * request.iterations + iteration, total, bits_per_anchor=figure)


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Takes denormal numbers for zero: the moments of hash entries that no anchor meets fade into them, and a processor
    is many times slower there."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _row(
    record: TrainRecord,
    request: LosslessRequest,
    variant: str,
    iterations: int,
    fit_s: float,
    frozen: FrozenSymbols,
    entropy: EntropyModel,
    device: torch.device,
) -> Row:
    in_float, sizes = float_bytes(entropy, frozen, device), coded_bytes(entropy, frozen)
    total_bytes = sum(sizes.values())
    row: Row = {
        "method": record.method,
        "method_variant": record.variant,
        "dataset": record.dataset,
        "scene": record.scene,
        "seed": record.seed,
        "lmbda": request.lmbda,
        "variant": variant,
        "iterations": iterations,
        "num_anchors": frozen.num_anchors,
        "fit_s": round(fit_s, 3),
        "bytes_total": total_bytes,
        "bits_per_anchor": round(8 * total_bytes / frozen.num_anchors, 3),
    }
    return row | {f"bytes_{name}": sizes[name] for name in SECTIONS} | {"bytes_float": in_float}
