"""The CPU backend: compiled projection and blending as two differentiable torch operations.

Owns the conversion between torch tensors and the arrays of the kernels. Does not choose backends or know cameras as
objects. Images and gradients are bit-identical for any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from hemgs.core.jit import kernels
from hemgs.render import limits
from hemgs.render.binning import TileLists, tile_lists
from hemgs.render.checks import RasterizationInputs
from hemgs.render.projection_kernels import ProjectionConstants, project_backward, project_forward
from hemgs.render.raster_kernels import (
    FUSED_CHANNELS,
    NUM_SHAPE_FIELDS,
    NUM_SHAPE_GRADS,
    BlendLimits,
    TileGrid,
    raster_backward,
    raster_forward,
)
from hemgs.render.record_kernels import pack_records, sum_per_gaussian
from hemgs.render.spherical_harmonics import COLOR_OFFSET, NORMALISATION, sh_backward, sh_forward

#: Gaussians that a thread takes at once. The number is fixed, because a camera's gradient is summed block by block.
BLOCK_SIZE = 1024

#: After so many Gaussians the kernel checks whether all pixels of the tile are opaque.
CHECK_EVERY = 8


@dataclass(frozen=True)
class ProjectionSettings:
    """The arguments of a projection that are not tensors: image size in pixels, planes in world units, switches."""

    width: int
    height: int
    eps2d: float
    near_plane: float
    far_plane: float
    radius_clip: float
    antialiased: bool

    def constants(self, intrinsics: NDArray[np.float64]) -> ProjectionConstants:
        """Return the argument of the kernels for a camera of ``intrinsics [3, 3]``."""
        return ProjectionConstants(
            fx=float(intrinsics[0, 0]),
            fy=float(intrinsics[1, 1]),
            cx=float(intrinsics[0, 2]),
            cy=float(intrinsics[1, 2]),
            width=float(self.width),
            height=float(self.height),
            near_plane=float(self.near_plane),
            far_plane=float(self.far_plane),
            radius_clip=float(self.radius_clip),
            eps2d=float(self.eps2d),
            guard_band=limits.GUARD_BAND,
            max_extent_sigma=limits.MAX_EXTENT_SIGMA,
            min_alpha=limits.MIN_ALPHA,
            max_radius=float(limits.MAX_RADIUS),
            min_compensation=limits.MIN_COMPENSATION,
            antialiased=self.antialiased,
        )


@dataclass(frozen=True)
class Projected:
    """Gaussians on the image planes of C cameras.

    In the shapes, ``...`` is ``C, N``; in packed form it is the number of visible pairs of camera and Gaussian.

    Attributes:
        means2d, depths, conics, compensations: ``[..., 2]``, ``[...]``, ``[..., 3]``, ``[...]``; differentiable.
        extents: ``[..., 2]`` half sizes of the box in which a Gaussian is drawn, pixels.
        radii: ``[..., 2] int32``, the extents rounded up; positive where visible. The other fields are zero elsewhere.
    """

    means2d: Tensor
    depths: Tensor
    conics: Tensor
    compensations: Tensor
    extents: Tensor
    radii: Tensor


def project(inputs: RasterizationInputs) -> Projected:
    """Project N Gaussians into C cameras; differentiable in all tensors but ``opacities`` and ``Ks``."""
    settings = ProjectionSettings(
        inputs.width,
        inputs.height,
        inputs.eps2d,
        inputs.near_plane,
        inputs.far_plane,
        inputs.radius_clip,
        inputs.rasterize_mode == "antialiased",
    )
    tensors = inputs.means, inputs.quats, inputs.scales, inputs.opacities, inputs.viewmats, inputs.Ks
    return Projected(*_Project.apply(*tensors, settings))  # type: ignore[no-untyped-call]


def visible_radii(inputs: RasterizationInputs) -> Tensor:
    """Return the radii ``[C, N, 2] int32`` of Gaussians; zero where invisible."""
    return project(inputs).radii


def sh_colors(degree: int, means: Tensor, coefficients: Tensor, centers: Tensor, radii: Tensor) -> Tensor:
    """Evaluate the colours of the visible Gaussians, ``[C, N, 3]``, zero for the others; differentiable.

    Args:
        coefficients: ``[N, K, 3]`` or ``[C, N, K, 3]``.
        centers: ``[C, 3]`` of the cameras.
        radii: ``[C, N, 2] int32``, positive where visible.
    """
    colors: Tensor = _ShColors.apply(means, coefficients, centers, radii, degree)  # type: ignore[no-untyped-call]
    return colors


def rasterize(
    projected: Projected,
    opacities: Tensor,
    colors: Tensor,
    backgrounds: Tensor | None,
    bounds: tuple[int, ...],
    width: int,
    height: int,
    tile_size: int,
    absgrad: bool,
) -> tuple[Tensor, Tensor, list[TileLists]]:
    """Blend projected Gaussians; return image ``[C, H, W, D]``, alpha ``[C, H, W, 1]``, and tile lists per camera.

    Args:
        opacities, colors: ``[...]`` and ``[..., D]``; a Gaussian with a value that is not finite is not drawn.
        backgrounds: ``[C, D]`` or None for black.
        bounds: C + 1 numbers; camera ``c`` draws the Gaussians ``bounds[c]`` to ``bounds[c + 1]``.
        absgrad: whether backward also sets ``projected.means2d.absgrad``.
    """
    lists: list[TileLists] = []
    image, alpha = _Rasterize.apply(  # type: ignore[no-untyped-call]
        projected.means2d,
        projected.conics,
        opacities,
        colors,
        backgrounds,
        projected.depths.detach(),
        projected.extents,
        projected.radii,
        bounds,
        (width, height, tile_size),
        absgrad,
        lists,
    )
    return image, alpha, lists


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array


class _Project(torch.autograd.Function):
    """See ``project``."""

    @staticmethod
    def forward(
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
        zeros = means.new_zeros
        means2d, depths, conics = zeros(cameras, count, 2), zeros(cameras, count), zeros(cameras, count, 3)
        compensations, extents = zeros(cameras, count), zeros(cameras, count, 2)
        radii = zeros(cameras, count, 2, dtype=torch.int32)
        inputs = [_array(tensor) for tensor in (means, quats, scales, opacities)]
        outputs = (means2d, depths, conics, compensations, extents, radii)
        with kernels(len(means)):
            for c in range(cameras):
                constants = settings.constants(_array(Ks[c].double()))
                project_forward(
                    *inputs,
                    _array(viewmats[c].double()),
                    constants,
                    BLOCK_SIZE,
                    *(tensor[c].numpy() for tensor in outputs),
                )
        ctx.save_for_backward(means, quats, scales, viewmats, Ks, radii)
        ctx.settings = settings
        ctx.mark_non_differentiable(extents, radii)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        means, quats, scales, viewmats, Ks, radii = ctx.saved_tensors
        inputs = [_array(tensor) for tensor in (means, quats, scales)]
        sums = [np.zeros(array.shape, array.dtype) for array in inputs]
        outer = [_array(grad) for grad in grads[:4]]
        grad_viewmats = torch.zeros_like(viewmats)
        with kernels(len(means)):
            for c in range(len(viewmats)):
                by_block = np.empty((-(-len(means) // BLOCK_SIZE), 3, 4))
                project_backward(
                    *inputs,
                    _array(viewmats[c].double()),
                    ctx.settings.constants(_array(Ks[c].double())),
                    radii[c].numpy(),
                    *(grad[c] for grad in outer),
                    BLOCK_SIZE,
                    *sums,
                    by_block,
                )
                grad_viewmats[c, :3] = torch.from_numpy(by_block.sum(axis=0))
        return (*(torch.from_numpy(total) for total in sums), None, grad_viewmats, None, None)


class _ShColors(torch.autograd.Function):
    """See ``sh_colors``."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, coefficients: Tensor, centers: Tensor, radii: Tensor, degree: int) -> Tensor:
        colors = means.new_zeros(len(centers), len(means), 3)
        constants = np.array(NORMALISATION)
        inputs = _array(means), _per_camera(coefficients, len(centers)), _array(centers.double()), radii.numpy()
        with kernels(len(means)):
            for c in range(len(centers)):
                own = inputs[0], inputs[1][c], inputs[2][c], inputs[3][c]
                sh_forward(*own, degree, constants, COLOR_OFFSET, BLOCK_SIZE, colors[c].numpy())
        ctx.save_for_backward(means, coefficients, centers, radii, colors)
        ctx.degree = degree
        return colors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        means, coefficients, centers, radii, colors = ctx.saved_tensors
        grad_means, grad_coefficients = torch.zeros_like(means), torch.zeros(coefficients.shape, dtype=means.dtype)
        grad_centers = torch.zeros_like(centers)
        constants = np.array(NORMALISATION)
        inputs = _array(means), _per_camera(coefficients, len(centers)), _array(centers.double()), radii.numpy()
        outputs = _per_camera(grad_coefficients, len(centers))
        with kernels(len(means)):
            for c in range(len(centers)):
                own = inputs[0], inputs[1][c], inputs[2][c], inputs[3][c]
                by_block = np.empty((-(-len(means) // BLOCK_SIZE), 3))
                outer = _array(colors[c]), _array(grad[c])
                sh_backward(
                    *own, ctx.degree, constants, BLOCK_SIZE, *outer, grad_means.numpy(), outputs[c], by_block
                )  # fmt: skip
                grad_centers[c] = torch.from_numpy(by_block.sum(axis=0))
        return grad_means, grad_coefficients, grad_centers, None, None


def _per_camera(coefficients: Tensor, cameras: int) -> list[NDArray[Any]]:
    """Return the coefficients of each camera; all cameras get the same array where they share them."""
    array = _array(coefficients)
    return list(array) if array.ndim == 4 else [array] * cameras


class _Rasterize(torch.autograd.Function):
    """See ``rasterize``."""

    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,
        conics: Tensor,
        opacities: Tensor,
        colors: Tensor,
        backgrounds: Tensor | None,
        depths: Tensor,
        extents: Tensor,
        radii: Tensor,
        bounds: tuple[int, ...],
        size: tuple[int, int, int],
        absgrad: bool,
        lists: list[TileLists],
    ) -> tuple[Tensor, Tensor]:
        width, height, _ = size
        cameras, channels = len(bounds) - 1, colors.shape[-1]
        padded = max(channels, FUSED_CHANNELS)
        image = means2d.new_empty(cameras, height, width, padded)
        transmittance = means2d.new_empty(cameras, height, width)
        values = _pad(colors.detach().reshape(-1, channels), padded)
        shapes = [tensor.detach().reshape(-1, tensor.shape[-1]) for tensor in (means2d, conics, extents, radii)]
        flat = [_array(t) for t in (*shapes, opacities.detach().flatten(), depths.flatten(), values)]
        backdrop = _pad(means2d.new_zeros(cameras, channels) if backgrounds is None else backgrounds, padded)
        packed: list[NDArray[Any]] = []
        with kernels(width * height + bounds[-1]):
            for c in range(cameras):
                own = [array[bounds[c] : bounds[c + 1]] for array in flat]
                _draw(own, _array(backdrop[c]), size, image[c].numpy(), transmittance[c].numpy(), lists, packed)
        ctx.save_for_backward(means2d, image, transmittance)
        ctx.lists, ctx.records, ctx.bounds, ctx.absgrad = tuple(lists), packed, bounds, absgrad
        ctx.shapes = conics.shape, opacities.shape, colors.shape
        return image[..., :channels].clone() if padded != channels else image, (1.0 - transmittance)[..., None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_alpha: Tensor) -> tuple[Tensor | None, ...]:
        means2d, image, transmittance = ctx.saved_tensors
        conics_shape, opacities_shape, colors_shape = ctx.shapes
        count, padded = ctx.bounds[-1], image.shape[-1]
        new = means2d.new_empty
        sums = [new(count, 2), new(count, 2), new(count, 3), new(count), new(count, colors_shape[-1])]
        grad_padded = _pad(grad_image, padded)
        with kernels(image[..., 0].numel() + count):
            for c, (lists, records) in enumerate(zip(ctx.lists, ctx.records, strict=True)):
                grads = np.zeros((len(lists.entries), NUM_SHAPE_GRADS + padded), records.dtype)
                grid, limit = _parameters(lists, image.shape[2], image.shape[1], records)
                outer = [_array(tensor[c]) for tensor in (image, transmittance, grad_padded, grad_alpha[..., 0])]
                raster_backward(*_schedule(lists), lists.entries, records, grid, limit, *outer, grads)
                first, last = ctx.bounds[c], ctx.bounds[c + 1]
                sum_per_gaussian(
                    lists.starts, grads, NUM_SHAPE_GRADS, BLOCK_SIZE, *(total[first:last].numpy() for total in sums)
                )
        if ctx.absgrad:
            means2d.absgrad = sums[1].reshape(means2d.shape)
        grad_backgrounds = None
        if ctx.needs_input_grad[4]:
            # This is numpy's own loop: unlike a matrix product, its order of summation does not depend on threads.
            totals = np.einsum("chw,chwd->cd", transmittance.numpy(), _array(grad_image), dtype=np.float64)
            grad_backgrounds = torch.from_numpy(totals).to(grad_image.dtype)
        grad_shape = sums[0].reshape(means2d.shape), sums[2].reshape(conics_shape), sums[3].reshape(opacities_shape)
        return (*grad_shape, sums[4].reshape(colors_shape), grad_backgrounds, *[None] * 7)


def _draw(
    own: list[NDArray[Any]],
    background: NDArray[Any],
    size: tuple[int, int, int],
    image: NDArray[Any],
    transmittance: NDArray[Any],
    lists: list[TileLists],
    packed: list[NDArray[Any]],
) -> None:
    """Draw one camera's image and append its tile lists and records.

    ``own`` contains the 2D means, conics, extents, radii, opacities, depths and colours of that camera's Gaussians.
    """
    means2d, conics, extents, radii, opacities, depths, colors = own
    records = np.empty((len(means2d), NUM_SHAPE_FIELDS + colors.shape[1]), means2d.dtype)
    drawn = np.empty(len(means2d), np.bool_)
    pack_records(means2d, conics, opacities, colors, radii, limits.MIN_ALPHA, records, drawn)
    tiles = tile_lists(means2d, depths, conics, extents, opacities, drawn, *size, limits.MIN_ALPHA)
    grid, limit = _parameters(tiles, size[0], size[1], records)
    raster_forward(*_schedule(tiles), records, background, grid, limit, image, transmittance)
    lists.append(tiles)
    packed.append(records)


def _pad(tensor: Tensor, channels: int) -> Tensor:
    missing = channels - tensor.shape[-1]
    return torch.nn.functional.pad(tensor, (0, missing)) if missing else tensor


def _parameters(lists: TileLists, width: int, height: int, like: NDArray[Any]) -> tuple[TileGrid, BlendLimits]:
    kind = like.dtype.type
    grid = TileGrid(width, height, lists.tile_size, lists.tile_width, numba.get_num_threads(), CHECK_EVERY)
    return grid, BlendLimits(kind(limits.MAX_ALPHA), kind(limits.MIN_TRANSMITTANCE))


def _schedule(lists: TileLists) -> tuple[NDArray[Any], ...]:
    """Return the lists as the kernels take them, and the order of the tiles.

    The fullest tiles come first. The kernels give them to the workers in turn, so that the workers finish together.
    """
    order = np.argsort(-np.diff(lists.offsets), kind="stable")
    return lists.offsets, lists.owners, lists.rows, order
