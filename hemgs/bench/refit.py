"""The refit as a use case: the work of the verb ``refit``.

A method that can refit quantises the attributes of one trained model once and fits other entropy models to these
symbols. Pictures stay the same, so sizes alone compare the entropy models.

Owns the request and the table. Does not own the fits, which belong to the method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import torch

from hemgs.bench.runner import load_model, resolve_params
from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.records import REFIT_COLUMNS, Value, write_rows
from hemgs.protocol import Model


@runtime_checkable
class CanRefit(Protocol):
    """A method whose entropy model can be fitted again to the symbols of a trained model."""

    def refit(
        self,
        model: Model,
        params: Mapping[str, Any],
        *,
        variants: Sequence[str],
        lmbda: float,
        iterations: int,
        seed: int,
        device: torch.device,
        events: EventLog,
    ) -> list[dict[str, Value]]:
        """Compare entropy models.

        Args:
            model: a trained model.
            params: settings of the variants' models.
            variants: names of the method's entropy models; empty for all of them.
            lmbda: rate–distortion trade-off of the symbols.
            iterations: steps of each fit, at least 1.
            seed: of the fits.
            device: device of the fits.
            events: log of the progress.

        Returns:
            Rows of ``REFIT_COLUMNS`` without the model's identity, the trained entropy model's first. That one has
            neither ``iterations`` nor ``fit_s``.

        Raises:
            ConfigError: the variant or the rate does not exist.
        """
        ...


@dataclass(frozen=True)
class RefitRequest:
    """A request to compare entropy models.

    Attributes:
        model: folder of a finished training.
        out: table to write, CSV.
        variants: names of the method's entropy models; empty for all of them.
        iterations: steps of each fit.
        lmbda: the rate.
        texts: settings of the variants that replace those of the model, as typed on the command line.
        seed: of the fits.
    """

    model: Path
    out: Path
    variants: Sequence[str] = ()
    iterations: int = 3000
    lmbda: float = 0.002
    texts: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0


def run_refit(request: RefitRequest, device: torch.device, stream: IO[str] | None = None) -> list[dict[str, Value]]:
    """Compare entropy models on the symbols of one model.

    Returns:
        The rows that were written, the trained entropy model's first.

    Raises:
        ConfigError: the variant, the rate or a finished training does not exist, or the method cannot refit.
    """
    if request.iterations < 1:
        raise ConfigError(f"--iterations {request.iterations}: nothing would be fitted", "give 1 or more")
    if len(set(request.variants)) < len(request.variants):
        raise ConfigError(f"--variants {','.join(request.variants)}: one is named twice", "name each once")
    if request.out.is_dir():
        raise ConfigError(f"--out {request.out} is a folder", "name a file such as table.csv")
    record, method, model = load_model(request.model, device)
    if not isinstance(method, CanRefit):
        raise ConfigError(f"{method.spec.id} has no entropy model that can be fitted again", "name a model of hemgs")
    with EventLog(None, f"fitting {record.scene}", stream) as events:
        fits = method.refit(
            model,
            resolve_params(method, record.params, request.texts),
            variants=request.variants,
            lmbda=request.lmbda,
            iterations=request.iterations,
            seed=request.seed,
            device=device,
            events=events,
        )
    identity: dict[str, Value] = {
        "method": record.method,
        "method_variant": record.variant,
        "dataset": record.dataset,
        "scene": record.scene,
        "seed": record.seed,
        "lmbda": request.lmbda,
        "iterations": record.iterations,
        "fit_s": round(record.train_s, 3),
    }
    # The trained entropy model was fitted by the training itself.
    rows = [identity | row for row in fits]
    write_rows(request.out, rows, REFIT_COLUMNS)
    return rows
