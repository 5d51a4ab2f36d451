"""Which code, machine and device made a result, as stored in its record.

Owns the choice of facts; ``core.provenance`` finds them.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from hemgs.core import provenance
from hemgs.core.device import device_label
from hemgs.protocol import Method


def origin_of(method: Method, device: torch.device) -> dict[str, Any]:
    """Code version and fingerprint, machine, device and versions."""
    return {
        "code_version": provenance.code_version(),
        "code_fingerprint": provenance.code_fingerprint(*_packages_of(method)),
        "hardware": provenance.hardware(),
        "device": device_label(device),
        "num_threads": torch.get_num_threads(),
        "versions": provenance.versions(),
    }


def _packages_of(method: Method) -> list[str]:
    """The method's package, and the package ``shared`` beside it where there is one."""
    module = type(method).__module__
    package = module.rpartition(".")[0] or module
    parent = package.rpartition(".")[0]
    shared = f"{parent}.shared"
    return [package, shared] if parent and importlib.util.find_spec(shared) else [package]
