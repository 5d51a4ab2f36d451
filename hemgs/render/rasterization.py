"""One differentiable rasterisation call for every device.

Owns the argument list and the ``meta`` dictionary, which are those of gsplat 1.5.3 (Apache-2.0), and the order of
projection, colours and blending. The tensors' device decides the backend: gsplat for CUDA, compiled kernels for CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hemgs.core.errors import DeviceError
from hemgs.render import cpu, cuda, limits
from hemgs.render.binning import TileLists
from hemgs.render.checks import CUDA_ONLY, RasterizationInputs, check_inputs, refuse_unavailable


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
    **options: Any,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render N Gaussians into C pinhole cameras.

    Args:
        means, quats, scales, opacities, colors, viewmats, Ks, width, height: see :class:`RasterizationInputs`.
        options: the other arguments of :class:`RasterizationInputs`, and those of :data:`CUDA_ONLY`. On the CPU, other
            values of the latter than their defaults raise an error.

    Returns:
        Colours ``[C, H, W, X]``, alphas ``[C, H, W, 1]`` and ``meta``. X is D, 1 for depth alone, D + 1 for both.
        ``meta["means2d"]`` keeps its gradient (per pixel); ``meta["radii"]`` (int32) is positive on both axes where
        visible. On the CPU, tile lists are shorter than gsplat's: they contain an intersection only where the
        Gaussian's ellipse reaches the tile. A Gaussian with a value that is not finite is not drawn there.

    Raises:
        ValueError: shapes or types do not fit together, or a mode is unknown.
        NotImplementedError: an argument requests a feature that the CPU backend lacks.
        DeviceError: the tensors are on CUDA and gsplat cannot be used, or they are on another device.
    """
    cuda_only = {name: options.pop(name) for name in CUDA_ONLY if name in options}
    inputs = RasterizationInputs(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options)
    if means.is_cuda:
        arguments = vars(inputs) | cuda_only
        return cuda.rasterization(arguments) if len(means) else _empty_rendering(arguments, means.device)
    if means.device.type != "cpu":
        raise DeviceError(f"no renderer for device {means.device.type!r}; allowed: cuda, cpu", "move the tensors")
    refuse_unavailable(cuda_only)
    return rasterize_on_cpu(inputs, with_tiles=True)


def _empty_rendering(arguments: dict[str, Any], device: torch.device) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render zero Gaussians on CUDA, by the CPU backend: gsplat 1.5.3 divides by their number and ends the process."""

    def moved(values: dict[str, Any], to: torch.device) -> dict[str, Any]:
        return {name: value.to(to) if isinstance(value, Tensor) else value for name, value in values.items()}

    image, alphas, meta = rasterization(**moved(arguments, torch.device("cpu")))
    return image.to(device), alphas.to(device), moved(meta, device)


def rasterize_on_cpu(inputs: RasterizationInputs, with_tiles: bool) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Do what ``rasterization`` does for CPU tensors; without ``with_tiles``, ``meta`` lacks the tile lists."""
    check_inputs(inputs)
    projected = cpu.project(inputs)
    cameras, count = projected.depths.shape
    opacities = inputs.opacities.expand(cameras, count)
    if inputs.rasterize_mode == "antialiased":
        opacities = opacities * projected.compensations
    colors = _camera_colors(inputs, projected.radii)
    bounds = tuple(count * c for c in range(cameras + 1))
    camera_ids = gaussian_ids = None
    if inputs.packed:
        camera_ids, gaussian_ids = torch.nonzero((projected.radii > 0).all(-1), as_tuple=True)
        projected = cpu.Projected(*(field[camera_ids, gaussian_ids] for field in vars(projected).values()))
        opacities, colors = opacities[camera_ids, gaussian_ids], colors[camera_ids, gaussian_ids]
        bounds = tuple(torch.searchsorted(camera_ids, torch.arange(cameras + 1, device=camera_ids.device)).tolist())
    if projected.means2d.requires_grad:
        projected.means2d.retain_grad()
    colors, backgrounds = _with_depths(colors, inputs.backgrounds, projected.depths, cameras, inputs.render_mode)
    image, alphas, lists = cpu.rasterize(
        projected, opacities, colors, backgrounds, bounds, inputs.width, inputs.height, inputs.tile_size, inputs.absgrad
    )
    if inputs.render_mode in ("ED", "RGB+ED"):
        expected = image[..., -1:] / alphas.clamp_min(limits.MIN_DEPTH_ALPHA)
        image = torch.cat([image[..., :-1], expected], -1)
    meta: dict[str, Any] = {
        "batch_ids": None if camera_ids is None else torch.zeros_like(camera_ids),
        "camera_ids": camera_ids,
        "gaussian_ids": gaussian_ids,
        "radii": projected.radii,
        "means2d": projected.means2d,
        "depths": projected.depths,
        "conics": projected.conics,
        "opacities": opacities,
        "width": inputs.width,
        "height": inputs.height,
        "tile_size": inputs.tile_size,
        "n_batches": 1,
        "n_cameras": cameras,
    }
    if with_tiles:
        meta |= _tile_meta(lists, bounds, projected.depths)
    return image, alphas, meta


def _camera_colors(inputs: RasterizationInputs, radii: Tensor) -> Tensor:
    """Return the colours seen from each camera, ``[C, N, D]``; with spherical harmonics zero where invisible."""
    colors, cameras = inputs.colors, len(inputs.viewmats)
    if inputs.sh_degree is None:
        return colors if colors.dim() == 3 else colors.expand(cameras, *colors.shape)
    centers = torch.linalg.inv(inputs.viewmats)[:, :3, 3]
    return cpu.sh_colors(inputs.sh_degree, inputs.means, colors, centers, radii)


def _with_depths(
    colors: Tensor, backgrounds: Tensor | None, depths: Tensor, cameras: int, render_mode: str
) -> tuple[Tensor, Tensor | None]:
    """Add depth as a channel, or put it in place of the colours; the background has depth 0."""
    if render_mode == "RGB":
        return colors, backgrounds
    zeros = depths.new_zeros(cameras, 1)
    if render_mode in ("D", "ED"):
        return depths[..., None], None if backgrounds is None else zeros
    if backgrounds is not None:
        backgrounds = torch.cat([backgrounds, zeros], -1)
    return torch.cat([colors, depths[..., None]], -1), backgrounds


def _tile_meta(lists: Sequence[TileLists], bounds: Sequence[int], depths: Tensor) -> dict[str, Any]:
    """Return the entries of ``meta`` that describe intersections, in the form that callers of gsplat 1.5.3 know.

    Args:
        lists: one per camera.
        bounds: C + 1 numbers; camera ``c`` owns the rows ``bounds[c]`` to ``bounds[c + 1]``.
        depths: ``[C, N]``, or ``[nnz]`` if packed.

    Returns:
        ``tiles_per_gauss`` (int32, shaped like ``depths``); ``flatten_ids [M] int32`` (row of each intersection, by
        camera, tile and depth); ``isect_ids [M] int64`` (camera, tile and the depth's bits, from high to low);
        ``isect_offsets [C, tiles down, tiles across] int32`` (where each tile's intersections begin); ``tile_width``;
        ``tile_height``.
    """
    tile_width, tile_height = lists[0].tile_width, lists[0].tile_height
    num_tiles = tile_width * tile_height
    flat_depths = depths.detach().float().flatten().numpy()
    per_row, rows, keys, offsets = [], [], [], []
    begin = 0
    for camera, own in enumerate(lists):
        owners = own.owners + np.int32(bounds[camera])
        tiles = np.repeat(np.arange(num_tiles, dtype=np.int64), np.diff(own.offsets))
        place = (camera << num_tiles.bit_length()) | tiles
        keys.append((place << 32) | flat_depths[owners].view(np.uint32).astype(np.int64))
        rows.append(owners)
        per_row.append(np.diff(own.starts))
        offsets.append(own.offsets[:-1] + begin)
        begin += len(owners)
    return {
        "tile_width": tile_width,
        "tile_height": tile_height,
        "tiles_per_gauss": torch.from_numpy(np.concatenate(per_row).astype(np.int32)).reshape(depths.shape),
        "isect_ids": torch.from_numpy(np.concatenate(keys)),
        "flatten_ids": torch.from_numpy(np.concatenate(rows)),
        "isect_offsets": torch.from_numpy(
            np.concatenate(offsets).astype(np.int32).reshape(len(lists), tile_height, tile_width)
        ),
    }
