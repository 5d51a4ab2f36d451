"""The PLY layout in which 3DGS tools exchange Gaussians: binary, little endian, one vertex per Gaussian.

Owns reading and writing of that layout, unquantised. Compressed PLY dialects are other formats and are refused.
The properties are x y z nx ny nz f_dc_0..2 f_rest_0.. opacity scale_0..2 rot_0..3 in this order, all float32, as in the
released code of 3DGS. Normals are 0. ``f_rest`` is channel-major: all coefficients of red come first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hemgs.core.errors import SceneError
from hemgs.core.files import atomic_path
from hemgs.core.ply import read_vertices
from hemgs.splats.cloud import GaussianCloud

_BASE = ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2")
_SHAPE = ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
_NEEDED = (*(name for name in _BASE if name not in ("nx", "ny", "nz")), *_SHAPE)
#: f_rest coefficients by degree of the spherical harmonics, 0 to 3.
_NUM_REST = tuple(3 * ((degree + 1) ** 2 - 1) for degree in range(4))
_FIX = "export the Gaussians again as an uncompressed 3DGS PLY"


def write_ply(path: Path, cloud: GaussianCloud) -> None:
    """Write Gaussians; the file appears complete or not at all, and equal clouds give equal files.

    Raises:
        DeviceError: the disk is full.
    """
    cloud = cloud.to("cpu")
    num_rest = cloud.sh.shape[1] - 1
    rest = cloud.sh[:, 1:].transpose(1, 2).reshape(cloud.num_gaussians, 3 * num_rest)
    columns = [
        cloud.means,
        torch.zeros_like(cloud.means),
        cloud.sh[:, 0],
        rest,
        cloud.opacity_logits[:, None],
        cloud.log_scales,
        cloud.quats,
    ]
    table = torch.cat([column.detach().float() for column in columns], dim=1).numpy()
    names = (*_BASE, *(f"f_rest_{index}" for index in range(3 * num_rest)), *_SHAPE)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {cloud.num_gaussians}"]
    header += [f"property float {name}" for name in names] + ["end_header", ""]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(np.ascontiguousarray(table, dtype="<f4").data)


def read_ply(path: Path) -> GaussianCloud:
    """Read Gaussians of any degree 0 to 3 of spherical harmonics; further properties are ignored.

    Raises:
        SceneError: the file is missing or incomplete, is no PLY of this layout, or has values that are not finite.
    """
    return _to_cloud(path, read_vertices(path, _NEEDED, _FIX))


def _to_cloud(path: Path, vertices: NDArray[np.void]) -> GaussianCloud:
    names = vertices.dtype.names or ()
    num_rest = sum(name.startswith("f_rest_") for name in names)
    rest_names = [f"f_rest_{index}" for index in range(num_rest)]
    if num_rest not in _NUM_REST or not set(rest_names) <= set(names):
        raise _refused(path, f"{num_rest} f_rest properties; {', '.join(map(str, _NUM_REST))} are allowed")

    def columns(*wanted: str) -> torch.Tensor:
        table = np.empty((len(vertices), len(wanted)), dtype=np.float32)
        with np.errstate(over="ignore"):  # a double too large for float32 becomes infinite and is refused below
            for index, name in enumerate(wanted):
                table[:, index] = vertices[name]
        if not np.isfinite(table).all():
            raise _refused(path, f"values of {wanted[0]} to {wanted[-1]} that are not finite")
        return torch.from_numpy(table)

    sh = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    if num_rest:
        rest = columns(*rest_names).reshape(len(vertices), 3, num_rest // 3).transpose(1, 2)
        sh = torch.cat([sh, rest], dim=1)
    return GaussianCloud(
        means=columns("x", "y", "z"),
        log_scales=columns("scale_0", "scale_1", "scale_2"),
        quats=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        opacity_logits=columns("opacity")[:, 0],
        sh=sh,
    )


def _refused(path: Path, reason: str) -> SceneError:
    return SceneError(f"{path}: {reason}", _FIX)
