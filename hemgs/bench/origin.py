"""Which code, machine and device made a result, as stored in its record.

Owns the choice of facts; ``core.provenance`` finds them.
"""

from __future__ import annotations

from typing import Any

import torch

from hemgs.bench.protocol import Method
from hemgs.core import provenance
from hemgs.core.device import device_label


def origin_of(method: Method, device: torch.device) -> dict[str, Any]:
    """Code version and fingerprint (of this package and the method's own), machine, device and versions."""
    module = type(method).__module__
    return {
        "code_version": provenance.code_version(),
        "code_fingerprint": provenance.code_fingerprint(module.rpartition(".")[0] or module),
        "hardware": provenance.hardware(),
        "device": device_label(device),
        "num_threads": torch.get_num_threads(),
        "versions": provenance.versions(),
    }
