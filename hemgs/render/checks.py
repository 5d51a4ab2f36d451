"""The arguments of the rasteriser, and checks that they fit together.

Owns the messages about wrong shapes, types and modes, and about features that the CPU backend lacks. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hemgs.render import limits
from hemgs.render.raster_kernels import MAX_TILE_SIZE
from hemgs.render.spherical_harmonics import MAX_DEGREE

RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
RASTERIZE_MODES = ("classic", "antialiased")

#: Arguments of ``rasterization`` whose features need CUDA, with the values that leave them off.
CUDA_ONLY: Mapping[str, Any] = {
    "sparse_grad": False,
    "distributed": False,
    "camera_model": "pinhole",
    "segmented": False,
    "covars": None,
    "with_ut": False,
    "with_eval3d": False,
    "radial_coeffs": None,
    "tangential_coeffs": None,
    "thin_prism_coeffs": None,
    "ftheta_coeffs": None,
    "rolling_shutter": None,
    "viewmats_rs": None,
}


@dataclass(frozen=True)
class RasterizationInputs:
    """The arguments of ``rasterization`` that every backend understands, with the same meaning.

    Attributes:
        means: ``[N, 3]`` float32 (on the CPU also float64), world units; the other tensors have the same type.
        quats: ``[N, 4]`` (w, x, y, z), any length but zero.
        scales: ``[N, 3]`` standard deviations along the axes, world units.
        opacities: ``[N]`` in [0, 1].
        colors: ``[N, D]`` or ``[C, N, D]``; with ``sh_degree`` ``[N, K, 3]`` or ``[C, N, K, 3]`` coefficients.
        viewmats: ``[C, 4, 4]`` world to camera, OpenCV axes; differentiable.
        Ks: ``[C, 3, 3]`` pixels, pixel centres at half-integers; not differentiable.
        width, height: pixels.
        near_plane, far_plane: Gaussians whose centre lies outside are not drawn, world units.
        radius_clip: Gaussians of at most this radius on both axes are not drawn, pixels.
        eps2d: added to the diagonal of the projected covariance, square pixels.
        sh_degree: evaluate so many bands of ``colors``; None takes ``colors`` as they are.
        packed: give ``meta`` only the visible pairs of camera and Gaussian, instead of ``[C, N]``.
        tile_size: side of the tiles, pixels.
        backgrounds: ``[C, D]``; None is black. Differentiable.
        render_mode: ``RGB``, accumulated depth ``D``, expected depth ``ED``, ``RGB+D`` or ``RGB+ED``.
        absgrad: backward also sets ``meta["means2d"].absgrad``, the sum of absolute values over pixels.
        rasterize_mode: ``classic``, or ``antialiased``, which scales opacities down by what the blur adds
            (Mip-Splatting, arXiv 2311.16493).
        channel_chunk: channels per pass on CUDA; without meaning on the CPU.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int
    near_plane: float = limits.NEAR_PLANE
    far_plane: float = limits.FAR_PLANE
    radius_clip: float = 0.0
    eps2d: float = limits.BLUR_EPS
    sh_degree: int | None = None
    packed: bool = True
    tile_size: int = 16
    backgrounds: Tensor | None = None
    render_mode: str = "RGB"
    absgrad: bool = False
    rasterize_mode: str = "classic"
    channel_chunk: int = 32


def refuse_unavailable(arguments: Mapping[str, Any]) -> None:
    """Raise NotImplementedError if an argument of :data:`CUDA_ONLY` asks for a feature that the CPU backend lacks."""
    for name, value in arguments.items():
        nothing = CUDA_ONLY[name]
        if value is nothing or (isinstance(value, (bool, str)) and value == nothing):
            continue
        shown = f"={value!r}" if isinstance(value, (bool, str)) else ""
        raise NotImplementedError(f"{name}{shown} is not available on the CPU; move the tensors to a CUDA device")


def check_inputs(inputs: RasterizationInputs) -> None:
    """Raise ValueError for shapes, types, modes or sizes that do not fit together."""
    if inputs.render_mode not in RENDER_MODES:
        raise ValueError(f"render_mode {inputs.render_mode!r}; allowed: {', '.join(RENDER_MODES)}")
    if inputs.rasterize_mode not in RASTERIZE_MODES:
        raise ValueError(f"rasterize_mode {inputs.rasterize_mode!r}; allowed: {', '.join(RASTERIZE_MODES)}")
    if not 1 <= inputs.tile_size <= MAX_TILE_SIZE:
        raise ValueError(f"tile_size {inputs.tile_size}; allowed: 1 to {MAX_TILE_SIZE} pixels")
    if inputs.width < 1 or inputs.height < 1:
        raise ValueError(f"image of {inputs.width} x {inputs.height} pixels; at least 1 x 1")
    _check_shapes(inputs)
    kinds = {name: value for name, value in vars(inputs).items() if isinstance(value, Tensor)}
    dtype = inputs.means.dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"means are {dtype}; allowed: torch.float32, torch.float64")
    for name, tensor in kinds.items():
        if tensor.dtype != dtype or tensor.device != inputs.means.device:
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, means are {dtype} on {inputs.means.device}")


def _check_shapes(inputs: RasterizationInputs) -> None:
    count = len(inputs.means) if inputs.means.dim() else 0
    cameras = len(inputs.viewmats) if inputs.viewmats.dim() else 0
    expected: dict[str, tuple[int, ...]] = {
        "means": (count, 3),
        "quats": (count, 4),
        "scales": (count, 3),
        "opacities": (count,),
        "viewmats": (cameras, 4, 4),
        "Ks": (cameras, 3, 3),
    }
    colors, channels = tuple(inputs.colors.shape), 3
    per_camera = (cameras, count) if len(colors) == (3 if inputs.sh_degree is None else 4) else (count,)
    if inputs.sh_degree is None:
        channels = colors[-1] if colors else 0
        expected["colors"] = (*per_camera, channels)
    else:
        if not 0 <= inputs.sh_degree <= MAX_DEGREE:
            raise ValueError(f"sh_degree {inputs.sh_degree}; allowed: 0 to {MAX_DEGREE}, or None")
        coefficients = colors[-2] if len(colors) >= 2 else 0
        if coefficients < (inputs.sh_degree + 1) ** 2:
            raise ValueError(
                f"colors of shape {list(colors)} hold {coefficients} coefficients; "
                f"sh_degree {inputs.sh_degree} needs {(inputs.sh_degree + 1) ** 2}"
            )
        expected["colors"] = (*per_camera, coefficients, 3)
    if inputs.backgrounds is not None:
        expected["backgrounds"] = (cameras, channels)
    for name, shape in expected.items():
        found = tuple(getattr(inputs, name).shape)
        if found != shape:
            raise ValueError(f"{name} has shape {list(found)}; {list(shape)} fits the others")
    if channels < 1:
        raise ValueError(f"colors have shape {list(colors)}; at least one channel is needed")
