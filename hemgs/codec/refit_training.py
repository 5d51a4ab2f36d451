"""The refit: one entropy model per variant is fitted to the symbols of one trained model.

All variants are fitted with the same steps, in the same order of anchors. Pictures stay the same, so sizes alone
compare the variants. This takes minutes instead of a training for each.

Owns the fitting and the report on each variant. Does not own the symbols, their price or their streams (``refit``), nor
the table (``hemgs.bench.refit``).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch

from hemgs.codec.model import EntropyModel
from hemgs.codec.refit import (
    SECTIONS,
    VARIANTS,
    FrozenPrice,
    FrozenSymbols,
    TrainedModel,
    coded_bytes,
    float_bytes,
    freeze,
    fresh_model,
)
from hemgs.core.errors import TrainingError
from hemgs.core.events import EventLog
from hemgs.core.records import Value
from hemgs.core.timing import Stopwatch
from hemgs.protocol import RefitTask
from hemgs.training.networks import NetworkOptimizer, ParameterGroup

#: Name in the result of the entropy model with which the attributes were trained.
TRAINED = "trained"
#: First and last learning rate of networks and hash grid. The first is that of training. The last is higher, which fits
#: better in few steps, since nothing else changes.
LEARNING_RATE = (5e-3, 1e-4)
#: Anchors priced in a step.
BATCH = 1024
#: Fractions of the fit after which the hash grid begins to cost, and costs in full; see
#: ``SimulationSettings.grid_free``.
GRID_FREE, GRID_FULL = 0.3, 0.6


def refit(trained: TrainedModel, task: RefitTask, device: torch.device, events: EventLog) -> list[dict[str, Value]]:
    """Compare variants (:data:`hemgs.codec.refit.VARIANTS`) on one model; see :class:`hemgs.protocol.CanRefit`."""
    chosen = {name: trained.variant(name) for name in task.variants or VARIANTS}
    frozen = freeze(trained, task.lmbda)
    rows = [_row(TRAINED, trained.entropy, frozen, device)]
    models = {name: fresh_model(each, trained.entropy, frozen, task.seed) for name, each in chosen.items()}
    title, total = events.title, task.iterations * len(models)
    for number, (name, entropy) in enumerate(models.items()):
        events.title = f"{title} {name}"
        done = number * task.iterations
        with Stopwatch() as watch, _without_denormals():
            for iteration, bits_per_anchor in fit_entropy(entropy, frozen, task, device):
                events.progress(done + iteration, total, bits_per_anchor=bits_per_anchor)
        fit: dict[str, Value] = {"iterations": task.iterations, "fit_s": round(watch.seconds, 3)}
        rows.append(_row(name, entropy, frozen, device) | fit)
    return rows


def fit_entropy(
    entropy: EntropyModel, frozen: FrozenSymbols, task: RefitTask, device: torch.device
) -> Iterator[tuple[int, float]]:
    """Fit a model to frozen symbols; the same anchors in the same order for every model.

    Args:
        entropy: of ``fresh_model``; changed in place.
        frozen: the symbols.
        task: its steps and its seed.
        device: where to compute.

    Yields:
        After each step its number, from 1, and the price of its anchors in bits an anchor.

    Raises:
        TrainingError: the price is no longer finite.
    """
    price, grid = FrozenPrice(entropy, frozen, device), list(entropy.grid.parameters())
    networks = [weight for network in entropy.networks() for weight in network.parameters() if weight.requires_grad]
    groups = [ParameterGroup("hash_grid", grid, *LEARNING_RATE), ParameterGroup("networks", networks, *LEARNING_RATE)]
    optimizer = NetworkOptimizer(groups, task.iterations)
    generator = torch.Generator().manual_seed(task.seed)
    scalars = entropy.settings.feature_dim + entropy.settings.geometry_dim
    waiting = torch.empty(0, dtype=torch.int64)
    for iteration in range(1, task.iterations + 1):
        if not len(waiting):
            waiting = torch.randperm(frozen.num_anchors, generator=generator)
        rows, waiting = waiting[:BATCH].to(device), waiting[BATCH:]
        optimizer.set_iteration(iteration)
        bits = price.bits(rows) / len(rows)
        part = iteration / task.iterations
        weight = min(max((part - GRID_FREE) / (GRID_FULL - GRID_FREE), 0.0), 1.0)
        loss = (bits + weight * entropy.grid.bits() / frozen.num_anchors) / scalars
        bits_per_anchor = float(bits.detach())
        if not math.isfinite(bits_per_anchor):
            raise TrainingError(f"fit step {iteration}: the price is {bits_per_anchor}", "report this with the model")
        torch.autograd.backward(loss)
        optimizer.step()
        yield iteration, bits_per_anchor


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero: moments of unused hash entries become denormal, which makes processors slow."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _row(variant: str, entropy: EntropyModel, frozen: FrozenSymbols, device: torch.device) -> dict[str, Value]:
    in_float, sizes = float_bytes(entropy, frozen, device), coded_bytes(entropy, frozen)
    total_bytes = sum(sizes.values())
    row: dict[str, Value] = {
        "variant": variant,
        "num_anchors": frozen.num_anchors,
        "bytes_total": total_bytes,
        "bits_per_anchor": round(8 * total_bytes / frozen.num_anchors, 3),
        "bytes_float": in_float,
    }
    return row | {f"bytes_{name}": sizes[name] for name in SECTIONS}
