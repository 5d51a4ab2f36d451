"""Checkpoints of a training: written whole, verified when read, two kept.

Each is one safetensors file. Owns the names of the files, their integrity and the choice of one. Does not own what a
checkpoint contains.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hemgs.core.bundle import Bundle, load_bundle, save_bundle
from hemgs.core.errors import HemgsError
from hemgs.core.events import EventLog
from hemgs.training.params import NUM_KEPT

_SCHEMA = 1
_NAME = re.compile(r"checkpoint_(\d{8})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A readable checkpoint: ``iteration`` steps were done when ``bundle`` was taken."""

    iteration: int
    bundle: Bundle


def identity_of(settings: Any) -> str:
    """Return the hex SHA-256 of a training's settings, which are JSON-able. The order of keys does not matter.

    >>> identity_of({"a": 1, "b": 2}) == identity_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def save_checkpoint(workdir: Path, iteration: int, bundle: Bundle, identity: str = "") -> Path:
    """Write a checkpoint atomically and remove all but the newest :data:`~hemgs.training.params.NUM_KEPT`.

    Args:
        workdir: folder of the training's checkpoints.
        iteration: steps done, 0 to 99,999,999.
        bundle: the state.
        identity: the settings' :func:`identity_of`, so that no other run continues from this checkpoint.

    Raises:
        DeviceError: the disk is full; older checkpoints are untouched.
    """
    path = workdir / f"checkpoint_{iteration:08d}.safetensors"
    inner = {"state": bundle.meta, "iteration": iteration, "identity": identity, "schema": _SCHEMA}
    inner["digest"] = digest_of(bundle.tensors, inner)
    save_bundle(path, Bundle(bundle.tensors, inner))
    for old in _paths(workdir)[NUM_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def latest_checkpoint(workdir: Path, identity: str = "", events: EventLog | None = None) -> Checkpoint | None:
    """Return the newest checkpoint that is whole and belongs to ``identity``; ``None`` if there is none.

    Files that are damaged or belong to other settings are deleted. An event ``checkpoint_discarded`` reports each, with
    the file and the reason.
    """
    for path in _paths(workdir):
        reason = ""
        try:
            checkpoint = _read(path, identity)
        except HemgsError as fault:
            checkpoint, reason = None, str(fault)
        if checkpoint is not None:
            return checkpoint
        if events is not None:
            events.write("checkpoint_discarded", file=path.name, reason=reason or "it belongs to other settings")
        path.unlink(missing_ok=True)
    return None


def _read(path: Path, identity: str) -> Checkpoint | None:
    """Read a checkpoint; return ``None`` if it belongs to another training; raise HemgsError if it is damaged."""
    bundle = load_bundle(path)
    if not isinstance(bundle.meta, dict):
        raise HemgsError(f"{path}: not a checkpoint")
    meta = dict(bundle.meta)
    digest = meta.pop("digest", None)
    if digest != digest_of(bundle.tensors, meta):
        raise HemgsError(f"{path}: checksum does not match")
    if meta["schema"] != _SCHEMA or meta["identity"] != identity:
        return None
    return Checkpoint(int(meta["iteration"]), Bundle(bundle.tensors, meta["state"]))


def _paths(workdir: Path) -> list[Path]:
    """Return the checkpoint files, newest first."""
    if not workdir.is_dir():
        return []
    return sorted((path for path in workdir.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def digest_of(tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> str:
    """Hex SHA-256 over named tensors, their types and shapes, and JSON-able ``meta``."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
