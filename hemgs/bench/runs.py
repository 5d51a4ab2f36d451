"""Records of training and encoding, which the next step reads: ``train.json`` and ``encode.json``.

Owns their fields, the names of the files next to them, the description of code and machine, and reading them with
checks. ``encode.json`` repeats the record of the training, so that measuring a bitstream needs no model.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar

import torch
from pydantic import Field

from hemgs.core import provenance
from hemgs.core.bundle import Bundle, load_bundle
from hemgs.core.device import device_label
from hemgs.core.errors import ConfigError, HemgsError
from hemgs.core.files import LOCK_FILE, Workplace, sha256_of, sole_worker, write_text
from hemgs.core.reading import Section, checked
from hemgs.protocol import Method

#: Versions of ``train.json`` and ``encode.json``. Increase one when a field changes its name or meaning.
TRAIN_VERSION, ENCODE_VERSION = 1, 2
MODEL_FILE = "model.safetensors"
TRAIN_FILE = "train.json"
EVENTS_FILE = "events.jsonl"
WORK_FOLDER = "work"
ENCODE_FILE = "encode.json"
BITSTREAM_FOLDER = "bitstreams"
BITSTREAM_SUFFIX = ".gsc"
#: Lists all bitstreams of one model that are in the folder. ``encode.json`` lists those that the last call asked for.
RATES_FILE = "rates.json"

T = TypeVar("T")


class TrainRecord(Section):
    """One training.

    Attributes:
        method: id of the method; ``entry`` finds its class (an id, or ``package.module:Class``).
        variant: id of the variant, empty for the method itself.
        label: name for print.
        fit: ``all``, or the id of the trained rate, which is ``rate``.
        params: every setting, defaults included.
        iterations: iterations of the training, including those of the base.
        train_s: wall time of the training, including interrupted parts that led to the result and the base.
        train_peak_mib: peak memory of the process that finished (see ``core.device.peak_memory_mib``).
        counts: ``num_anchors`` and ``num_gaussians``, if known.
        model_sha256: SHA-256 of the model file that belongs to this record.
        device: torch device of the training.
        config_hash: hash of the method's settings and the scene's protocol.
        origin: code, machine and libraries.
        base: start of the training, for methods of kind ``post``; see :mod:`hemgs.bench.base`.
    """

    method: str
    entry: str
    variant: str
    label: str
    dataset: str
    scene: str
    scene_hash: str
    fit: str
    rate: str
    seed: int
    params: Mapping[str, Any]
    iterations: int
    train_s: float
    train_peak_mib: float
    counts: Mapping[str, int]
    model_sha256: str
    device: str
    config_hash: str
    origin: Mapping[str, Any]
    base: Mapping[str, Any] = Field(default_factory=dict)


class EncodedRate(Section):
    """One bitstream.

    Attributes:
        lmbda: λ, ``None`` for a method without a rate knob.
        sections: bytes by section; they add up to the file.
        estimated_bits: ideal bits of each entropy-coded section, under the model that coded it.
        encode_s: wall time of encoding, including writing.
        encode_peak_mib: peak memory while encoding.
        sha256: SHA-256 of the file.
        figures: counts of the method from encoding, by name, such as ``context_mean``.
        origin: code, machine and libraries that encoded it.
    """

    lmbda: float | None
    sections: Mapping[str, int]
    estimated_bits: Mapping[str, float]
    encode_s: float
    encode_peak_mib: float
    sha256: str
    figures: Mapping[str, float] = Field(default_factory=dict)
    origin: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Length of the file."""
        return sum(self.sections.values())


class EncodeRecord(Section):
    """The bitstreams of one model, by rate id in ascending order of λ, and the record of the training."""

    train: TrainRecord
    rates: Annotated[Mapping[str, EncodedRate], Field(min_length=1)]


@contextlib.contextmanager
def alone_in(out: Path, stream: IO[str] | None) -> Iterator[Workplace]:
    """Make and lock the folder of a result for the block; wait for a process that already works there.

    Such a process is a job that outlived its workflow; two jobs would remove each other's files. During the block, the
    folder contains a folder :data:`WORK_FOLDER`. It is removed at the end, unless a failure left work there.

    Args:
        out: the folder.
        stream: receives a message if the function waits; ``None`` for no message.

    Raises:
        ConfigError: ``out`` is a file.
    """

    def report_wait() -> None:
        if stream is not None:
            stream.write(f"another process works in {out}; waiting for its result\n")
            stream.flush()

    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as fault:
        raise ConfigError(f"--out {out} is a file, not a folder", "name a folder") from fault
    folder, done = out / WORK_FOLDER, False
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK_FILE).exists():
        raise ConfigError(f"{folder} contains files of somebody else", "name another folder with --out, or move them")
    with sole_worker(folder, report_wait) as place:
        try:
            yield place
            done = True
        finally:
            if done or not any(path.is_file() and path.name[0] != "." for path in folder.rglob("*")):
                shutil.rmtree(folder, ignore_errors=True)


def bitstream_path(folder: Path, rate_id: str) -> Path:
    """Return the path of a rate's bitstream in the folder of its ``encode.json``."""
    return folder / BITSTREAM_FOLDER / f"{rate_id}{BITSTREAM_SUFFIX}"


def write_record(path: Path, record: TrainRecord | EncodeRecord) -> None:
    """Write a record as JSON, atomically."""
    version = TRAIN_VERSION if isinstance(record, TrainRecord) else ENCODE_VERSION
    write_json(path, {"schema_version": version, **record.model_dump()})


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON for people and programs, atomically; the same data give the same bytes."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_train_record(model_dir: Path) -> TrainRecord:
    """Read ``train.json`` of a model folder.

    Raises:
        ConfigError: there is none.
        HemgsError: it is damaged or of another version.
    """
    absent = f"{model_dir} contains no finished training"
    return _read(TrainRecord, TRAIN_VERSION, model_dir / TRAIN_FILE, absent, "run `hemgs train` first")


def load_trained(model_dir: Path, device: torch.device) -> tuple[TrainRecord, Bundle]:
    """Return a finished training: its record, and the model on ``device``.

    Raises:
        ConfigError: there is no finished training in the folder.
        HemgsError: the model is damaged, or not the one that the record describes.
    """
    record = read_train_record(model_dir)
    path = model_dir / MODEL_FILE
    model = load_bundle(path, device)
    if sha256_of(path) != record.model_sha256:
        raise HemgsError(f"{path}: not the model that {TRAIN_FILE} next to it describes", "run `hemgs train` again")
    return record, model


def read_encode_record(point_dir: Path) -> EncodeRecord:
    """Read ``encode.json`` of a folder of bitstreams.

    Raises:
        ConfigError: there is none.
        HemgsError: it is damaged or of another version.
    """
    absent = f"{point_dir} contains no finished encoding"
    return _read(EncodeRecord, ENCODE_VERSION, point_dir / ENCODE_FILE, absent, "run `hemgs encode` first")


def read_rates(point_dir: Path) -> EncodeRecord | None:
    """Return what ``bitstreams/rates.json`` lists in a folder; ``None`` where it is absent or damaged."""
    try:
        return _read(EncodeRecord, ENCODE_VERSION, point_dir / BITSTREAM_FOLDER / RATES_FILE, "", "")
    except HemgsError:
        return None


def counts_of(bundle: Bundle) -> dict[str, int]:
    """Return ``num_anchors`` and ``num_gaussians`` of a model or a decoded scene.

    If the metadata lack them, they follow from the tensors that all methods with anchors share. There is one row of
    ``offsets`` per anchor, and one Gaussian per offset that ``masks`` leaves.
    """
    counts = {
        name: int(bundle.meta[name])
        for name in ("num_anchors", "num_gaussians")
        if isinstance(bundle.meta.get(name), int)
    }
    offsets, masks = bundle.tensors.get("offsets"), bundle.tensors.get("masks")
    if offsets is not None and offsets.ndim == 3:
        counts.setdefault("num_anchors", int(offsets.shape[0]))
        left = offsets.shape[0] * offsets.shape[1] if masks is None else int(masks.sum())
        counts.setdefault("num_gaussians", int(left))
    return counts


def trained_seconds(events: Path, fallback_s: float) -> float:
    """Return the seconds that the training loop counted, interrupted parts included.

    The last event of kind ``trained`` of each stage counts; a stage is a folder of checkpoints.

    Args:
        events: log of the training; lines that a killed process has cut are ignored.
        fallback_s: result for methods that do not use the common loop and write no such event.
    """
    by_stage: dict[str, float] = {}
    for line in events.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == "trained":
            by_stage[event.get("stage", "")] = float(event["train_s"])
    return sum(by_stage.values()) if by_stage else fallback_s


def _read(kind: type[T], expected: int, path: Path, absent: str, fix: str) -> T:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.pop("schema_version", None) if isinstance(data, dict) else None
        if version == 1 and expected == ENCODE_VERSION:  # one origin for all rates, which came from one call
            origin = {"device": data.pop("device"), **data.pop("origin")}
            data["rates"] = {rate: {**values, "origin": origin} for rate, values in data["rates"].items()}
        elif version != expected:
            raise ValueError(f"schema version {version!r}, this program reads {expected}")
        record: T = checked(kind, data, "")
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise ConfigError(f"{absent} ({path.name} is missing)", fix) from fault
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as fault:
        raise HemgsError(f"{path}: not a record that this version can read ({fault})", "make it again") from fault
    return record


def origin_of(method: Method, device: torch.device) -> dict[str, Any]:
    """Return code version and fingerprint, machine, device and versions, as records store them."""
    return {
        "code_version": provenance.code_version(),
        "code_fingerprint": provenance.code_fingerprint(*_packages_of(method)),
        "hardware": provenance.hardware(),
        "device": device_label(device),
        "num_threads": torch.get_num_threads(),
        "versions": provenance.versions(),
    }


def _packages_of(method: Method) -> list[str]:
    """Return the method's package, and the package ``shared`` next to it if there is one."""
    module = type(method).__module__
    package = module.rpartition(".")[0] or module
    parent = package.rpartition(".")[0]
    shared = f"{parent}.shared"
    return [package, shared] if parent and importlib.util.find_spec(shared) else [package]
