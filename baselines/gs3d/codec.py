"""The bitstream of 3DGS: every value uncompressed, float32, little endian.

Owns its sections. ``settings`` contains the number of Gaussians (u32) and the degree of the spherical harmonics (u8).
The other sections contain one row per Gaussian, 59 values in all at degree 3:

* ``locations``: 3 values,
* ``colors``: 3 per coefficient, coefficient by coefficient,
* ``opacities``: 1, a logit,
* ``scalings``: 3, logarithms,
* ``rotations``: 4, real part first.

The size that papers print for 3DGS is that of its PLY, which contains three unused normals in addition: 62 values.
"""

from __future__ import annotations

import struct
from pathlib import Path

from baselines.gs3d.params import SPECS
from baselines.shared.raw_floats import FIX, check_sections, open_sections, read_sections, write_sections
from hemgs.coding.container import Container
from hemgs.core.errors import BitstreamError
from hemgs.core.types import SectionTable
from hemgs.splats.cloud import GaussianCloud

METHOD = SPECS["Gs3d"].id
_SETTINGS = struct.Struct("<IB")
_MAX_SH_DEGREE = 3


def encode_cloud(cloud: GaussianCloud, path: Path) -> SectionTable:
    """Write one bitstream atomically; equal clouds give equal files.

    Raises:
        DeviceError: the disk is full.
    """
    arrays = {
        "locations": cloud.means,
        "colors": cloud.sh,
        "opacities": cloud.opacity_logits,
        "scalings": cloud.log_scales,
        "rotations": cloud.quats,
    }
    return write_sections(path, METHOD, _SETTINGS.pack(cloud.num_gaussians, cloud.sh_degree), arrays)


def decode_cloud(path: Path) -> GaussianCloud:
    """Read a bitstream.

    Raises:
        BitstreamError: the file is incomplete, altered, of another version or method, or contains values that are not
            finite.
    """
    container, shapes = _opened(path)
    found = read_sections(path, container, shapes)
    return GaussianCloud(
        means=found["locations"],
        log_scales=found["scalings"],
        quats=found["rotations"],
        opacity_logits=found["opacities"],
        sh=found["colors"],
    )


def check_file(path: Path) -> None:
    """Check the settings and the sizes of all sections.

    Raises:
        BitstreamError: :func:`decode_cloud` refuses the file.
    """
    container, shapes = _opened(path)
    check_sections(path, container, shapes)


def _opened(path: Path) -> tuple[Container, dict[str, tuple[int, ...]]]:
    """Read a file; return its sections but for the settings, and their shapes according to the settings."""
    settings, container = open_sections(path, METHOD)
    if len(settings) != _SETTINGS.size:
        raise BitstreamError(f"{path}: section settings has {len(settings)} bytes, not {_SETTINGS.size}", FIX)
    num, degree = _SETTINGS.unpack(settings)
    if num == 0 or degree > _MAX_SH_DEGREE:
        raise BitstreamError(
            f"{path}: {num} Gaussians with spherical harmonics of degree {degree}; "
            f"at least 1 and a degree of 0 to {_MAX_SH_DEGREE} are allowed",
            FIX,
        )
    return container, {
        "locations": (num, 3),
        "colors": (num, (degree + 1) ** 2, 3),
        "opacities": (num,),
        "scalings": (num, 3),
        "rotations": (num, 4),
    }
