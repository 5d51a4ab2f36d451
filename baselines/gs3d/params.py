"""Settings of 3DGS."""

from __future__ import annotations

from dataclasses import dataclass

from hemgs.splats.params import SplatParams


@dataclass(frozen=True)
class Gs3dParams(SplatParams):
    """Settings of 3DGS: those of all methods on plain Gaussians, and none of its own."""
