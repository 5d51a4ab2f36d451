"""The bitstream of 3DGS: every value as it is, float32, little endian.

Owns its sections. ``settings``: number of Gaussians (u32) and degree of the spherical harmonics (u8); then, one row per
Gaussian each, ``locations`` (3 values), ``colors`` (3 per coefficient, coefficient by coefficient), ``opacities``
(1, logits), ``scalings`` (3, logarithms) and ``rotations`` (4, real part first): 59 values at degree 3.

The size that papers print for 3DGS is that of its PLY, which holds three unused normals more: 62 values.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hemgs.coding.container import SymbolDigest, read_container, write_container
from hemgs.core.errors import BitstreamError
from hemgs.core.types import SectionTable
from hemgs.splats.cloud import GaussianCloud

METHOD = "gs3d"
_SETTINGS = struct.Struct("<IB")
_MAX_SH_DEGREE = 3
_FIX = "copy the file again, or encode it again"


def encode_cloud(cloud: GaussianCloud, path: Path) -> SectionTable:
    """Writes one bitstream, atomically; equal clouds give equal files.

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
    sections = {"settings": _SETTINGS.pack(cloud.num_gaussians, cloud.sh_degree)}
    digest = SymbolDigest()
    for name, tensor in arrays.items():
        values = tensor.detach().cpu().numpy().astype("<f4")
        digest.update(name, values.view("<i4"))
        sections[name] = values.tobytes()
    return SectionTable(write_container(path, METHOD, sections, digest.digest()))


def decode_cloud(path: Path) -> GaussianCloud:
    """Reads a bitstream.

    Raises:
        BitstreamError: cut, altered, of another version or method, or values that are not finite.
    """
    container = read_container(path)
    if container.method != METHOD:
        raise BitstreamError(f"{path}: written by the method {container.method!r}, not {METHOD!r}", "name that method")
    settings = container.sections.pop("settings", b"")
    if len(settings) != _SETTINGS.size:
        raise BitstreamError(f"{path}: section settings has {len(settings)} bytes, not {_SETTINGS.size}", _FIX)
    num, degree = _SETTINGS.unpack(settings)
    if num == 0 or degree > _MAX_SH_DEGREE:
        raise BitstreamError(
            f"{path}: {num} Gaussians with spherical harmonics of degree {degree}; "
            f"at least 1 and a degree of 0 to {_MAX_SH_DEGREE} are allowed",
            _FIX,
        )
    shapes = {
        "locations": (num, 3),
        "colors": (num, (degree + 1) ** 2, 3),
        "opacities": (num,),
        "scalings": (num, 3),
        "rotations": (num, 4),
    }
    if list(container.sections) != list(shapes):
        raise BitstreamError(f"{path}: sections are {list(container.sections)}, not {list(shapes)}", _FIX)
    digest = SymbolDigest()
    found = {name: _floats(path, name, container.sections[name], shapes[name], digest) for name in shapes}
    digest.verify(container.symbols_digest, path)
    return GaussianCloud(
        means=torch.from_numpy(found["locations"]),
        log_scales=torch.from_numpy(found["scalings"]),
        quats=torch.from_numpy(found["rotations"]),
        opacity_logits=torch.from_numpy(found["opacities"]),
        sh=torch.from_numpy(found["colors"]),
    )


def _floats(path: Path, name: str, payload: bytes, shape: tuple[int, ...], digest: SymbolDigest) -> NDArray[np.float32]:
    expected = 4 * int(np.prod(shape, dtype=np.int64))
    if len(payload) != expected:
        raise BitstreamError(f"{path}: section {name} has {len(payload)} bytes, {expected} are needed", _FIX)
    values = np.frombuffer(payload, dtype="<f4").reshape(shape)
    digest.update(name, values.view("<i4"))
    if not np.isfinite(values).all():
        raise BitstreamError(f"{path}: section {name} holds values that are not finite", _FIX)
    return values.astype(np.float32)
