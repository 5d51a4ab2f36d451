"""The CUDA backend: gsplat.

Owns the check that gsplat can be used on this machine. Adds nothing to what gsplat computes.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from hemgs.core.errors import DeviceError


def rasterization(arguments: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    raise NotImplementedError
