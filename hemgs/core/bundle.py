"""Named tensors with JSON metadata: the files of models, checkpoints and decoded scenes.

Each file is in the safetensors format. Nothing here reads or writes pickles, which can execute code.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from hemgs.core.bounded import parse_json
from hemgs.core.errors import HemgsError
from hemgs.core.files import atomic_path

_META_KEY = "hemgs"


@dataclass
class Bundle:
    """``tensors`` by name and JSON-able ``meta``. Models and decoded scenes of all methods have this form."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def joined_tensors(prefixes: Iterable[str], parts: Iterable[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the tensors of all parts, each with the prefix of its part before its name."""
    return {
        prefix + name: tensor for prefix, part in zip(prefixes, parts, strict=True) for name, tensor in part.items()
    }


def tensors_under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names start with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_bundle(path: Path, bundle: Bundle) -> None:
    """Write a bundle atomically; equal bundles give equal files."""
    tensors = {name: bundle.tensors[name].detach().cpu().contiguous() for name in sorted(bundle.tensors)}
    with atomic_path(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary, {_META_KEY: json.dumps(bundle.meta, sort_keys=True)})
        except safetensors.SafetensorError as fault:
            raise _as_os_error(fault, path) from fault


def _as_os_error(fault: Exception, path: Path) -> Exception:
    """Return Python's exception for a failed write: the library's text contains only the system's number."""
    number = re.search(r"\(os error (\d+)\)", str(fault))
    return OSError(int(number.group(1)), os.strerror(int(number.group(1))), str(path)) if number else fault


def load_bundle(path: Path, device: str | torch.device = "cpu") -> Bundle:
    """Read a bundle.

    Raises:
        HemgsError: the file is missing or incomplete, or is not a bundle.
    """
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
            meta = parse_json((file.metadata() or {})[_META_KEY])
    except (OSError, KeyError, ValueError, RecursionError, safetensors.SafetensorError) as fault:
        raise HemgsError(
            f"{path}: this is not a readable model file ({fault})", "delete it and run the step that makes it again"
        ) from fault
    return Bundle(tensors, meta)
