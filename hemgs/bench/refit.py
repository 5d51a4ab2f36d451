"""The refit as a use case: the work of the verb ``refit``.

A method that can refit quantises the attributes of one trained model once and fits other entropy models to these
symbols. Pictures stay the same, so sizes alone compare the entropy models.

Owns the checks of a task, and the table. Does not own the fits, which belong to the method.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import torch

from hemgs.bench.training import load_model, resolve_params
from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.records import REFIT_COLUMNS, Value, write_rows
from hemgs.protocol import CanRefit, RefitTask


def run_refit(
    model_dir: Path,
    out: Path,
    task: RefitTask,
    texts: Mapping[str, str],
    device: torch.device,
    stream: IO[str] | None = None,
) -> list[dict[str, Value]]:
    """Compare entropy models on the symbols of one model, and write a table.

    Args:
        model_dir: folder of a finished training.
        out: table to write, CSV.
        task: what to compare.
        texts: settings of the variants that replace those of the model, as typed on the command line.
        device: device of the fits.
        stream: terminal for the live line, if any.

    Returns:
        The rows that were written, the trained entropy model's first.

    Raises:
        ConfigError: the variant, the rate or a finished training does not exist, or the method cannot refit.
    """
    if task.iterations < 1:
        raise ConfigError(f"--iterations {task.iterations}: nothing would be fitted", "give 1 or more")
    if len(set(task.variants)) < len(task.variants):
        raise ConfigError(f"--variants {','.join(task.variants)}: one is named twice", "name each once")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder", "name a file such as table.csv")
    record, method, model = load_model(model_dir, device)
    if not isinstance(method, CanRefit):
        raise ConfigError(f"{method.spec.id} has no entropy model that can be fitted again", "name a model of hemgs")
    with EventLog(None, f"fitting {record.scene}", stream) as events:
        fits = method.refit(model, resolve_params(method, record.params, texts), task, device, events)
    identity: dict[str, Value] = {
        "method": record.method,
        "method_variant": record.variant,
        "dataset": record.dataset,
        "scene": record.scene,
        "seed": record.seed,
        "lmbda": task.lmbda,
        "iterations": record.iterations,
        "fit_s": round(record.train_s, 3),
    }
    # The trained entropy model was fitted by the training itself.
    rows = [identity | row for row in fits]
    write_rows(out, rows, REFIT_COLUMNS)
    return rows
