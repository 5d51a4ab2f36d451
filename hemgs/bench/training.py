"""Training as a use case: the work of the verb ``train``.

Owns files, seeds, timing and records around a method's own training. Does not own the work of a method, or the printed
output.
"""

from __future__ import annotations

import json
import math
import shutil
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
    read_train_record,
    trained_seconds,
    write_json,
    write_record,
)
from hemgs.config.params import params_of
from hemgs.core.bundle import Bundle, save_bundle
from hemgs.core.device import peak_memory_mib, reset_peak_memory, seed_everything, synchronize
from hemgs.core.errors import ConfigError, HemgsError
from hemgs.core.events import EventLog
from hemgs.core.files import read_note, sha256_of
from hemgs.core.provenance import config_hash
from hemgs.core.timing import Stopwatch
from hemgs.core.types import Rate, Scene
from hemgs.data.loader import load_scene
from hemgs.protocol import Method, TrainingTask

#: In the work folder: what is being trained there. The folder goes with it if nothing else has been left there.
_NOTE = ".request.json"


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
        overwrite: whether a training of another request in ``out``, finished or interrupted, is replaced.
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
    overwrite: bool = False


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
    next to them from the start. Checkpoints are in ``work/``, which is removed at the end. If another process already
    trains there (a job that outlived the workflow that had started it), the call waits for it. A finished training of
    the same request is left as it is.

    Args:
        request: the training.
        device: device of the training.
        stream: terminal for the live line, if any; also shows that the call waits, or that nothing is left to do.

    Raises:
        ConfigError: ``request.out`` contains a training of another request, and ``request.overwrite`` is not set.
        HemgsError: a subclass names the cause: settings, scene, training or device.
    """
    method = get_method(request.method)
    params = resolve_params(method, request.params, request.texts)
    rate, scene = training_rate(method.spec, request.rate), load_scene(request.scene)
    base = load_base(request.base, method.spec, scene, request.seed, device)
    training = _Training(request, method, params, rate, scene, base)
    with alone_in(request.out, stream) as place:
        record = training.finished()
        if record is None:
            is_new = training.take_over() or place.empty
            if is_new:
                (request.out / EVENTS_FILE).unlink(missing_ok=True)  # of another training
            return training.run(device, stream)
        if stream is not None:
            stream.write(f"{request.out} contains this training already; it is left as it is\n")
    return record


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Describe the first entry in which two identities differ, settings by their own names."""
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping) and other != value:
            return _difference(other, {**dict.fromkeys(other), **value})
        if other != value:
            return f"{name} is {other!r} there, and {value!r} here"
    return "it has no description"


def _decisive(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide the result: not how often a training reports and saves checkpoints."""
    return {name: value for name, value in params.items() if name not in ("log_every", "checkpoint_every")}


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
    def identity(self) -> dict[str, Any]:
        """What decides the result, by the names that a record has for it, as JSON gives it back."""
        decisive = {
            "method": self.method.spec.id,
            "variant": self.request.variant,
            "scene": self.scene.scene,
            "scene_hash": self.scene.hash,
            "rate": self.rate.id,
            "seed": self.request.seed,
            "params": _decisive(self.params),
            "base": dict(self.base.record) if self.base else {},
        }
        return dict(json.loads(json.dumps(decisive)))

    @property
    def config_hash(self) -> str:
        described = {"method": self.method.spec.id, "params": self.params, "protocol": dict(self.scene.protocol)}
        if self.base is not None:
            described["base"] = self.base.settings_hash
        return config_hash(described)

    def finished(self) -> TrainRecord | None:
        """Return the record in the folder, if it belongs to this training and the model is complete.

        Raises:
            ConfigError: the record belongs to another training, which must not be replaced.
        """
        out = self.request.out
        is_mine = read_note(out / WORK_FOLDER / _NOTE) == self.identity
        if not (out / TRAIN_FILE).exists() and (not (out / MODEL_FILE).exists() or is_mine):
            return None
        try:
            record = read_train_record(out)
        except HemgsError as fault:
            self._refuse(f"a model that cannot be identified ({fault.message})")
            return None
        found = {name: getattr(record, name) for name in self.identity} | {"params": _decisive(record.params)}
        if found != self.identity:
            self._refuse(f"a finished training of another request: {_difference(found, self.identity)}")
            return None
        is_whole = (out / MODEL_FILE).is_file() and sha256_of(out / MODEL_FILE) == record.model_sha256
        return record if is_whole else None

    def take_over(self) -> bool:
        """Note in the work folder what is trained there; clear away the checkpoints of another request.

        Returns:
            whether there was such a training.

        Raises:
            ConfigError: there is one, and it must not be replaced.
        """
        work = self.request.out / WORK_FOLDER
        note = work / _NOTE
        found = read_note(note)
        is_other = found != self.identity and any(path.name[0] != "." for path in work.iterdir())
        if is_other:
            self._refuse(f"an interrupted training of another request: {_difference(found, self.identity)}")
            for path in work.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif not path.name.startswith("."):
                    path.unlink()
        write_json(note, self.identity)
        return is_other

    def _refuse(self, what: str) -> None:
        """Raise ConfigError that names what is in the folder, unless the request allows to replace it."""
        if not self.request.overwrite:
            raise ConfigError(
                f"{self.request.out} contains {what}",
                "name another folder with --out, or replace that training with --overwrite",
            )

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
