"""The CPU backend: compiled projection and blending as two differentiable torch operations.

Owns the way between torch tensors and the kernels. Does not evaluate colours, choose backends or know cameras as
objects. Images and gradients are bit-identical for any number of threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from hemgs.render import limits
from hemgs.render.binning import TileLists, tile_lists
from hemgs.render.projection_kernels import project_backward, project_forward
from hemgs.render.raster_kernels import (
    NUM_SHAPE_FIELDS,
    NUM_SHAPE_GRADS,
    pack_records,
    raster_backward,
    raster_forward,
    sum_per_gaussian,
)

#: Gaussians whose contribution to a camera gradient is summed in one go; fixed, so that results do not depend on threads.
CAMERA_GRAD_BLOCK = 1024

#: After so many Gaussians a tile looks whether all its pixels are opaque.
CHECK_EVERY = 8

#: The compiled blending is written for the first three channels at once; fewer are padded.
MIN_CHANNELS = 3

# One of numba's threading layers (workqueue, the one that is always there) aborts when two threads start kernels at once.
_KERNELS = threading.Lock()


@dataclass(frozen=True)
class ProjectionSettings:
    """What a projection needs beside tensors: image size in pixels, planes in world units, switches."""

    width: int
    height: int
    eps2d: float
    near_plane: float
    far_plane: float
    radius_clip: float
    antialiased: bool


@dataclass(frozen=True)
class Projected:
    """Gaussians on the image planes of C cameras; zeros where invisible.

    Attributes:
        means2d, depths, conics, compensations: ``[C, N, 2]``, ``[C, N]``, ``[C, N, 3]``, ``[C, N]``, differentiable.
        extents: ``[C, N, 2]`` half sizes of the box in which a Gaussian is drawn, pixels.
        radii: ``[C, N, 2] int32``, the extents rounded up; positive where visible.
    """

    means2d: Tensor
    depths: Tensor
    conics: Tensor
    compensations: Tensor
    extents: Tensor
    radii: Tensor


def project(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, viewmats: Tensor, Ks: Tensor, settings: ProjectionSettings
) -> Projected:
    """Projects N Gaussians into C cameras; differentiable in all but ``opacities`` and ``Ks``."""
    return Projected(*_Project.apply(means, quats, scales, opacities, viewmats, Ks, settings))


def visible_radii(
    means: Tensor, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int, near_plane: float
) -> Tensor:
    """Radii ``[C, N, 2] int32`` of opaque Gaussians; zero where invisible."""
    opaque = means.new_ones(len(means))
    settings = ProjectionSettings(width, height, limits.BLUR_EPS, near_plane, limits.FAR_PLANE, 0.0, False)
    with torch.no_grad():
        return project(means, quats, scales, opaque, viewmats, Ks, settings).radii


def rasterize(
    projected: Projected,
    opacities: Tensor,
    colors: Tensor,
    backgrounds: Tensor | None,
    width: int,
    height: int,
    tile_size: int,
    absgrad: bool,
) -> tuple[Tensor, Tensor, list[TileLists]]:
    """Blends projected Gaussians: image ``[C, H, W, D]``, alpha ``[C, H, W, 1]``, and the tile lists per camera.

    Args:
        opacities, colors: ``[C, N]`` and ``[C, N, D]``; a Gaussian whose colour or opacity is not finite is not drawn.
        backgrounds: ``[C, D]`` or None for black.
        absgrad: whether backward also sets ``projected.means2d.absgrad``.
    """
    lists: list[TileLists] = []
    size = (width, height, tile_size)
    geometry = (projected.means2d, projected.conics, opacities, colors, backgrounds)
    image, alpha = _Rasterize.apply(
        *geometry, projected.depths.detach(), projected.extents, projected.radii, size, absgrad, lists
    )
    return image, alpha, lists


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array


class _Project(torch.autograd.Function):
    """See ``project``."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        viewmats: Tensor,
        Ks: Tensor,
        settings: ProjectionSettings,
    ) -> tuple[Tensor, ...]:
        cameras, count = len(viewmats), len(means)
        new = means.new_empty
        means2d, depths, conics = new(cameras, count, 2), new(cameras, count), new(cameras, count, 3)
        compensations, extents = new(cameras, count), new(cameras, count, 2)
        radii = torch.empty(cameras, count, 2, dtype=torch.int32)
        inputs = [_array(tensor) for tensor in (means, quats, scales, opacities)]
        with _KERNELS:
            for c in range(cameras):
                project_forward(
                    *inputs,
                    _array(viewmats[c].double()),
                    _array(Ks[c].double()),
                    settings.width,
                    settings.height,
                    settings.eps2d,
                    settings.near_plane,
                    settings.far_plane,
                    settings.radius_clip,
                    limits.GUARD_BAND,
                    limits.MAX_EXTENT_SIGMA,
                    limits.MIN_ALPHA,
                    limits.MAX_RADIUS,
                    settings.antialiased,
                    *(tensor[c].numpy() for tensor in (means2d, depths, conics, compensations, extents, radii)),
                )
        ctx.save_for_backward(means, quats, scales, viewmats, Ks, radii)
        ctx.settings = settings
        ctx.mark_non_differentiable(extents, radii)
        return means2d, depths, conics, compensations, extents, radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        means, quats, scales, viewmats, Ks, radii = ctx.saved_tensors
        settings: ProjectionSettings = ctx.settings
        inputs = [_array(tensor) for tensor in (means, quats, scales)]
        sums = [np.zeros(array.shape, array.dtype) for array in inputs]
        blocks = -(-len(means) // CAMERA_GRAD_BLOCK)
        grad_viewmats = torch.zeros_like(viewmats)
        outer = [_array(grad) for grad in grads[:4]]
        with _KERNELS:
            for c in range(len(viewmats)):
                camera_sums = np.empty((blocks, 3, 4))
                project_backward(
                    *inputs,
                    _array(viewmats[c].double()),
                    _array(Ks[c].double()),
                    settings.width,
                    settings.height,
                    settings.eps2d,
                    limits.GUARD_BAND,
                    limits.MIN_COMPENSATION,
                    radii[c].numpy(),
                    *(grad[c] for grad in outer),
                    CAMERA_GRAD_BLOCK,
                    *sums,
                    camera_sums,
                )
                grad_viewmats[c, :3] = torch.from_numpy(camera_sums.sum(axis=0))
        return (*(torch.from_numpy(total) for total in sums), None, grad_viewmats, None, None)


class _Rasterize(torch.autograd.Function):
    """See ``rasterize``."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        means2d: Tensor,
        conics: Tensor,
        opacities: Tensor,
        colors: Tensor,
        backgrounds: Tensor | None,
        depths: Tensor,
        extents: Tensor,
        radii: Tensor,
        size: tuple[int, int, int],
        absgrad: bool,
        lists: list[TileLists],
    ) -> tuple[Tensor, Tensor]:
        width, height, tile_size = size
        cameras, channels = len(means2d), colors.shape[-1]
        padded = max(channels, MIN_CHANNELS)
        image = means2d.new_empty(cameras, height, width, padded)
        transmittance = means2d.new_empty(cameras, height, width)
        packed: list[NDArray[Any]] = []
        drawn = (radii > 0).all(-1) & colors.isfinite().all(-1) & opacities.isfinite()
        with _KERNELS:
            for c in range(cameras):
                shape = [_array(tensor[c]) for tensor in (means2d, conics, opacities)]
                background = means2d.new_zeros(channels) if backgrounds is None else backgrounds[c]
                lists.append(
                    tile_lists(
                        shape[0], _array(depths[c]), shape[1], _array(extents[c]), shape[2], _array(drawn[c]), *size,
                        limits.MIN_ALPHA,
                    )
                )  # fmt: skip
                records = np.empty((len(shape[0]), NUM_SHAPE_FIELDS + padded), shape[0].dtype)
                pack_records(*shape, _array(_pad(colors[c], padded)), _array(drawn[c]), limits.MIN_ALPHA, records)
                packed.append(records)
                raster_forward(
                    *_schedule(lists[c]),
                    records,
                    _array(_pad(background, padded)),
                    width,
                    height,
                    tile_size,
                    lists[c].tile_width,
                    CHECK_EVERY,
                    _limits(records),
                    image[c].numpy(),
                    transmittance[c].numpy(),
                )
        ctx.save_for_backward(means2d, image, transmittance)
        ctx.lists, ctx.records, ctx.absgrad, ctx.channels = tuple(lists), packed, absgrad, channels
        return image[..., :channels].clone() if padded != channels else image, (1.0 - transmittance)[..., None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_alpha: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        means2d, image, transmittance = ctx.saved_tensors
        cameras, height, width, padded = image.shape
        channels = ctx.channels
        sums = np.zeros((*means2d.shape[:2], NUM_SHAPE_GRADS + padded), _array(means2d).dtype)
        grad_padded = _pad(grad_image, padded)
        with _KERNELS:
            for c in range(cameras):
                lists = ctx.lists[c]
                per_intersection = np.zeros((len(lists.entries), sums.shape[-1]), sums.dtype)
                raster_backward(
                    *_schedule(lists),
                    lists.entries,
                    ctx.records[c],
                    width,
                    height,
                    lists.tile_size,
                    lists.tile_width,
                    CHECK_EVERY,
                    _limits(ctx.records[c]),
                    _array(image[c]),
                    _array(transmittance[c]),
                    _array(grad_padded[c]),
                    _array(grad_alpha[c, ..., 0]),
                    per_intersection,
                )
                sum_per_gaussian(lists.starts, per_intersection, sums[c])
        total = torch.from_numpy(sums)
        if ctx.absgrad:
            means2d.absgrad = total[..., 2:4].contiguous()
        grad_backgrounds = None
        if ctx.needs_input_grad[4]:
            grad_backgrounds = torch.einsum("chw,chwd->cd", transmittance, grad_image)
        grad_colors = total[..., NUM_SHAPE_GRADS : NUM_SHAPE_GRADS + channels]
        return (total[..., 0:2], total[..., 4:7], total[..., 7], grad_colors, grad_backgrounds, *[None] * 6)


def _pad(tensor: Tensor, channels: int) -> Tensor:
    missing = channels - tensor.shape[-1]
    return torch.nn.functional.pad(tensor, (0, missing)) if missing else tensor


def _limits(like: NDArray[Any]) -> NDArray[Any]:
    return np.array([limits.MAX_ALPHA, limits.MIN_TRANSMITTANCE], like.dtype)


def _schedule(lists: TileLists) -> tuple[Any, ...]:
    """The lists as the kernels take them; the fullest tiles first, dealt in turn to as many workers as there are threads."""
    order = np.argsort(-np.diff(lists.offsets), kind="stable")
    return lists.offsets, lists.owners, lists.rows, order, numba.get_num_threads()
