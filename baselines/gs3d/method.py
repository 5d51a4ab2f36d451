"""3DGS as a method of the benchmark; ``README.md`` in this folder lists source, licence and deviations."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from baselines.gs3d.codec import check_file, decode_cloud, encode_cloud
from baselines.gs3d.params import SPECS, Gs3dParams
from hemgs.core.types import MethodSpec, Rate, SectionTable
from hemgs.protocol import Model
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.method import SplatMethod


class Gs3d(SplatMethod[Gs3dParams]):
    """Plain 3DGS, stored without compression."""

    spec: ClassVar[MethodSpec] = SPECS["Gs3d"]
    Params: ClassVar[type] = Gs3dParams

    def write(self, path: Path, model: Model, settings: Gs3dParams, rate: Rate) -> SectionTable:
        return encode_cloud(GaussianCloud.from_bundle(model), path)

    def read(self, path: Path) -> GaussianCloud:
        return decode_cloud(path)

    def check_file(self, path: Path) -> None:
        """See :class:`hemgs.protocol.CanCheckFile`."""
        check_file(path)
