"""Training as a use case: the work of the verb ``train``.

Owns files, seeds, timing and records around a method's own training. Does not own the work of a method, or the printed
output.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, get_type_hints

import torch

from hemgs.bench.base import Base, load_base
from hemgs.bench.rates import fit_of, training_rate
from hemgs.bench.registry import get_method
from hemgs.bench.runs import (
    EVENTS_FILE,
    MODEL_FILE,
    TRAIN_FILE,
    WORK_FOLDER,
    TrainRecord,
    alone_in,
    counts_of,
    load_trained,
    origin_of,
    trained_seconds,
    write_record,
)
from hemgs.config.params import params_of
from hemgs.core.bundle import Bundle, save_bundle
from hemgs.core.device import peak_memory_mib, reset_peak_memory, seed_everything, synchronize
from hemgs.core.errors import ConfigError, HemgsError
from hemgs.core.events import EventLog
from hemgs.core.files import sha256_of
from hemgs.core.provenance import config_hash
from hemgs.core.timing import Stopwatch
from hemgs.core.types import Rate, Scene
from hemgs.data.loader import load_scene
from hemgs.protocol import Method, TrainingTask


@dataclass(frozen=True)
class TrainRequest:
    """A request to train a model.

    Attributes:
        scene: folder of a prepared scene.
        method: id, or ``package.module:Class``.
        out: folder for the results.
        rate: id of the rate; needed for methods that are trained once per rate.
        params: settings that replace the method's defaults.
        texts: further settings as typed on the command line, which replace ``params``; converted to the types of the
            method.
        seed: 0 to 2^32 - 1.
        variant: id of the variant with these settings; empty for the method itself.
        label: name for print; the method's own if empty.
        base: folder of the finished training that a method of kind ``post`` starts from, or a PLY file.
    """

    scene: Path
    method: str
    out: Path
    rate: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    variant: str = ""
    label: str = ""
    base: Path | None = None


def resolve_params(
    method: Method, overrides: Mapping[str, Any], texts: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return every setting of a method, with ``overrides`` and then ``texts`` in place of its defaults.

    Args:
        method: the method; its ``Params`` declares the settings.
        overrides: values of the right type.
        texts: values as typed on the command line. ``7`` stays a text if the setting is a text, else it is a number.

    Raises:
        ConfigError: a setting is unknown, or a value is of the wrong type or out of range.
    """
    hints = get_type_hints(method.Params)
    typed = {name: text if hints.get(name) is str else _value_of(text) for name, text in (texts or {}).items()}
    try:
        params = asdict(params_of(method.Params, {**overrides, **typed}))
    except ConfigError as fault:
        raise ConfigError(f"{method.spec.id}: {fault.message}", fault.fix) from fault
    except ValueError as fault:
        raise ConfigError(f"{method.spec.id}: {fault}", f"see `hemgs describe {method.spec.id}`") from fault
    for name, value in params.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{method.spec.id}: {name} is {value}", "give a finite number")
    return params


def _value_of(text: str) -> Any:
    """Return the number, truth value or list that the text is in JSON; else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def run_train(request: TrainRequest, device: torch.device, stream: IO[str] | None = None) -> TrainRecord:
    """Train one model; continue an interrupted call with the same request.

    Writes ``model.safetensors`` and, last, ``train.json`` into ``request.out``. Progress goes to ``events.jsonl``
    next to them from the start. Checkpoints are in ``work/``, which is removed at the end. Where another process is at
    it already (a job that outlived the workflow that had started it), waits for it and takes its result.

    Args:
        request: the training.
        device: device of the training.
        stream: terminal for the live line, if any; also shows that it waits.

    Raises:
        HemgsError: a subclass names the cause: settings, scene, training or device.
    """
    method = get_method(request.method)
    params = resolve_params(method, request.params, request.texts)
    rate, scene = training_rate(method.spec, request.rate), load_scene(request.scene)
    base = load_base(request.base, method.spec, scene, request.seed, device)
    training = _Training(request, method, params, rate, scene, base)
    with alone_in(request.out, stream) as place:
        record = training.finished() if place.waited else None
        if record is None:
            if place.empty:
                (request.out / EVENTS_FILE).unlink(missing_ok=True)  # of a finished training
            record = training.run(device, stream)
    return record


@dataclass(frozen=True)
class _Training:
    """A request whose scene, method and settings are loaded."""

    request: TrainRequest
    method: Method
    params: Mapping[str, Any]
    rate: Rate
    scene: Scene
    base: Base | None

    @property
    def config_hash(self) -> str:
        described = {"method": self.method.spec.id, "params": self.params, "protocol": dict(self.scene.protocol)}
        if self.base is not None:
            described["base"] = self.base.settings_hash
        return config_hash(described)

    def finished(self) -> TrainRecord | None:
        """Return the record in the folder, if it belongs to this training and the model is complete."""
        request = self.request
        try:
            record, _, _ = load_model(request.out, torch.device("cpu"))
        except HemgsError:
            return None
        base = self.base.record if self.base else {}
        found = (record.variant, record.rate, record.seed, record.scene_hash, record.config_hash, record.base)
        wanted = (request.variant, self.rate.id, request.seed, self.scene.hash, self.config_hash, base)
        return record if found == wanted else None

    def run(self, device: torch.device, stream: IO[str] | None) -> TrainRecord:
        """Train in the work folder and write the result."""
        request, spec, scene, rate = self.request, self.method.spec, self.scene, self.rate
        log = request.out / EVENTS_FILE
        origin = origin_of(self.method, device)
        title = f"{spec.id} {scene.scene}" + ("" if rate.lmbda is None else f" {rate.id}")
        with EventLog(log, title, stream) as events, Stopwatch() as watch:
            events.write("session", method=spec.id, seed=request.seed, origin=origin)
            seed_everything(request.seed)
            reset_peak_memory(device)
            work, base = request.out / WORK_FOLDER, self.base.cloud if self.base else None
            model = self.method.train(TrainingTask(scene, self.params, work, events, rate, request.seed, device, base))
            synchronize(device)
            peak_mib = peak_memory_mib(device)

        (request.out / TRAIN_FILE).unlink(missing_ok=True)
        save_bundle(request.out / MODEL_FILE, model)
        record = TrainRecord(
            method=spec.id,
            entry=request.method,
            variant=request.variant,
            label=request.label or spec.label,
            dataset=scene.dataset,
            scene=scene.scene,
            scene_hash=scene.hash,
            fit=fit_of(spec.kind, rate),
            rate=rate.id,
            seed=request.seed,
            params=self.params,
            iterations=int(self.params.get("iterations", 0)) + (self.base.iterations if self.base else 0),
            train_s=trained_seconds(log, watch.seconds) + (self.base.train_s if self.base else 0.0),
            train_peak_mib=peak_mib,
            counts=counts_of(model),
            model_sha256=sha256_of(request.out / MODEL_FILE),
            device=str(device),
            config_hash=self.config_hash,
            origin=origin,
            base=self.base.record if self.base else {},
        )
        write_record(request.out / TRAIN_FILE, record)
        return record


def load_model(model_dir: Path, device: torch.device) -> tuple[TrainRecord, Method, Bundle]:
    """Load a finished training: return its record, its method, and the model on ``device``.

    Raises:
        ConfigError: there is no finished training in the folder, or its method is not installed.
        HemgsError: the model is damaged, or not the one that the record describes.
    """
    record, model = load_trained(model_dir, device)
    return record, get_method(record.entry), model
