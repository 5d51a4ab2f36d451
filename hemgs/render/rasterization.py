"""One differentiable rasterisation call for every device.

Owns the argument list and the ``meta`` dictionary, which are those of gsplat 1.5.3 (Apache-2.0), and what turns them
into projections and blending. The tensors' device chooses the backend: gsplat for CUDA, compiled kernels for CPU.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hemgs.render import cpu, cuda
from hemgs.render.binning import TileLists
from hemgs.render.spherical_harmonics import MAX_DEGREE, sh_colors

RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
RASTERIZE_MODES = ("classic", "antialiased")

#: Expected depths are divided by alpha, held at least here (gsplat).
_MIN_DEPTH_ALPHA = 1e-10


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    segmented: bool = False,
    covars: Tensor | None = None,
    with_ut: bool = False,
    with_eval3d: bool = False,
    radial_coeffs: Tensor | None = None,
    tangential_coeffs: Tensor | None = None,
    thin_prism_coeffs: Tensor | None = None,
    ftheta_coeffs: Any = None,
    rolling_shutter: Any = None,
    viewmats_rs: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Renders N Gaussians into C pinhole cameras.

    Args:
        means: ``[N, 3]`` float32 or float64 (CUDA: float32), world units; the other tensors have the same type.
        quats: ``[N, 4]`` (w, x, y, z), any length.
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
        render_mode: colours, accumulated depth (D) or expected depth (ED), or both.
        absgrad: backward also sets ``meta["means2d"].absgrad``, the sum of absolute values over pixels.
        rasterize_mode: ``antialiased`` scales opacities by what the blur ``eps2d`` adds (arXiv 2311.16493).
        channel_chunk: channels per pass on CUDA; without meaning on the CPU.

    The remaining arguments exist for compatibility; on the CPU all but their defaults raise.

    Returns:
        Colours ``[C, H, W, X]``, alphas ``[C, H, W, 1]`` and ``meta``: ``means2d`` (keeps its gradient, per pixel),
        ``radii`` (int32, positive on both axes where visible), ``depths``, ``conics``, ``opacities``, ``camera_ids``,
        ``gaussian_ids``, the tile lists, and sizes. On the CPU the tile lists are tighter than gsplat's: an
        intersection is listed only where the Gaussian's ellipse reaches the tile.
        A Gaussian with any value that is not finite is invisible on the CPU.

    Raises:
        ValueError: shapes that do not fit together, or an unknown mode.
        NotImplementedError: a feature the CPU backend lacks.
        DeviceError: CUDA tensors where gsplat cannot be used.
    """
    if means.is_cuda:
        arguments = dict(locals())
        return cuda.rasterization(arguments)
    lacking = {
        "sparse_grad": sparse_grad,
        "distributed": distributed,
        "segmented": segmented,
        "with_ut": with_ut,
        "with_eval3d": with_eval3d,
        f"camera_model={camera_model!r}": camera_model != "pinhole",
        "covars": covars is not None,
        "radial_coeffs": radial_coeffs is not None,
        "tangential_coeffs": tangential_coeffs is not None,
        "thin_prism_coeffs": thin_prism_coeffs is not None,
        "ftheta_coeffs": ftheta_coeffs is not None,
        "rolling_shutter": rolling_shutter is not None or viewmats_rs is not None,
    }
    for name, asked in lacking.items():
        if asked:
            raise NotImplementedError(f"{name} is not available on the CPU; it needs CUDA tensors")
    _check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, width, height, sh_degree, backgrounds)
    _check_modes(render_mode, rasterize_mode, tile_size)
    antialiased = rasterize_mode == "antialiased"
    settings = cpu.ProjectionSettings(width, height, eps2d, near_plane, far_plane, radius_clip, antialiased)
    projected = cpu.project(means, quats, scales, opacities, viewmats, Ks, settings)
    cameras, count = projected.depths.shape
    drawn_opacities = opacities.expand(cameras, count)
    if antialiased:
        drawn_opacities = drawn_opacities * projected.compensations
    values = _colors(means, colors, viewmats, projected.radii, sh_degree)
    values, backgrounds = _add_depths(values, backgrounds, projected.depths, render_mode)
    meta: dict[str, Any] = {"batch_ids": None, "camera_ids": None, "gaussian_ids": None}
    meta |= {"radii": projected.radii, "means2d": projected.means2d, "depths": projected.depths}
    meta |= {"conics": projected.conics, "opacities": drawn_opacities}
    if packed:
        raise NotImplementedError("packed")
    bounds = tuple(range(0, cameras * count + 1, count))
    image, alphas, lists = cpu.rasterize(
        projected, drawn_opacities, values, backgrounds, bounds, width, height, tile_size, absgrad
    )
    if render_mode in ("ED", "RGB+ED"):
        expected = image[..., -1:] / alphas.clamp_min(_MIN_DEPTH_ALPHA)
        image = torch.cat([image[..., :-1], expected], -1)
    if projected.means2d.requires_grad:
        projected.means2d.retain_grad()
    return image, alphas, meta


def _colors(means: Tensor, colors: Tensor, viewmats: Tensor, radii: Tensor, sh_degree: int | None) -> Tensor:
    """Colours per camera, ``[C, N, D]``."""
    cameras = len(viewmats)
    per_camera = colors if colors.dim() == (3 if sh_degree is None else 4) else colors.expand(cameras, *colors.shape)
    if sh_degree is None:
        return per_camera
    centers = torch.linalg.inv(viewmats)[:, :3, 3]
    return sh_colors(sh_degree, means - centers[:, None], per_camera)


def _add_depths(
    colors: Tensor, backgrounds: Tensor | None, depths: Tensor, render_mode: str
) -> tuple[Tensor, Tensor | None]:
    """Adds depth as a channel, or puts it in the colours' place; the background has depth 0."""
    if render_mode == "RGB":
        return colors, backgrounds
    zeros = None if backgrounds is None else backgrounds.new_zeros(len(depths), 1)
    if render_mode in ("D", "ED"):
        return depths[..., None], zeros
    if backgrounds is not None:
        backgrounds = torch.cat([backgrounds, zeros], -1)
    return torch.cat([colors, depths[..., None]], -1), backgrounds


def _check_modes(render_mode: str, rasterize_mode: str, tile_size: int) -> None:
    if render_mode not in RENDER_MODES:
        raise ValueError(f"render_mode {render_mode!r}; allowed: {', '.join(RENDER_MODES)}")
    if rasterize_mode not in RASTERIZE_MODES:
        raise ValueError(f"rasterize_mode {rasterize_mode!r}; allowed: {', '.join(RASTERIZE_MODES)}")
    if not 1 <= tile_size <= 128:
        raise ValueError(f"tile_size {tile_size}; allowed: 1 to 128 pixels")


def _check_shapes(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    sh_degree: int | None,
    backgrounds: Tensor | None,
) -> None:
    pass
