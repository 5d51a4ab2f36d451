"""Settings of 3DGS."""

from __future__ import annotations

from dataclasses import dataclass

from hemgs.core.types import MethodSpec
from hemgs.splats.params import SplatParams


@dataclass(frozen=True)
class Gs3dParams(SplatParams):
    """Settings of 3DGS: those of all methods on plain Gaussians, and none of its own."""


Params = Gs3dParams
SPECS = {
    "Gs3d": MethodSpec(
        id="gs3d",
        label="3DGS",
        kind="single",
        attributes=("locations", "colors", "opacities", "scalings", "rotations"),
    )
}
