"""A slow rasteriser in plain torch, where every pixel meets every Gaussian: the oracle of the fast backends.

Owns a second, independent statement of the mathematics, in matrix notation, with gradients by autograd and float64
arithmetic by default (float32 gives the plain-torch path that speed is compared with). Shares with the fast backends
only the constants, the list of arguments and the spherical harmonics. Time grows with pixels times Gaussians, memory
with the pairs of one chunk of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hemgs.render import limits
from hemgs.render.checks import RasterizationInputs
from tests.oracles.spherical_harmonics import sh_colors

#: Pairs of pixel and Gaussian evaluated at once.
CHUNK_PAIRS = 3_000_000


@dataclass(frozen=True)
class _Flat:
    """Gaussians on one image plane: ``[N, 2]``, ``[N]``, ``[N, 2, 2]``, ``[N]``, ``[N, 2]``."""

    means2d: Tensor
    depths: Tensor
    inverse: Tensor
    opacities: Tensor
    radii: Tensor


@dataclass(frozen=True)
class _Sum:
    """Where a backward pass adds up; hidden from autograd, which would take the additions for a change of an input."""

    total: Tensor


def rasterization_reference(
    *arguments: Any, dtype: torch.dtype = torch.float64, tile_size: int | None = None, **named: Any
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The results of ``rasterization`` for the same arguments with ``packed=False``, in ``dtype`` on any device.

    With a ``tile_size`` the pixels are taken tile by tile and meet only the Gaussians whose box reaches the tile. The
    picture is the same, and is ready sooner. This is the usual form in plain torch.

    ``meta`` contains ``means2d`` (keeps its gradient; ``absgrad`` if asked for), ``radii``, ``depths``, and ``margins``
    ``[C, H, W]``. A margin is the relative distance of a pixel from its closest yes-or-no decision: smallest alpha,
    largest alpha, stop criterion. Where it is tiny, arithmetic of less precision may decide otherwise.
    """
    given = RasterizationInputs(*arguments, **named)
    backgrounds, render_mode, size = given.backgrounds, given.render_mode, (given.width, given.height)
    names = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks")
    means, quats, scales, opacities, colors, viewmats, Ks = (getattr(given, name).to(dtype) for name in names)
    antialiased = given.rasterize_mode == "antialiased"
    planes = (given.near_plane, given.far_plane, given.radius_clip, given.eps2d, antialiased)
    flats = [
        _project(means, quats, scales, opacities, viewmat, K, given.width, given.height, *planes)
        for viewmat, K in zip(viewmats, Ks, strict=True)
    ]
    means2d = torch.stack([flat.means2d for flat in flats])
    absolute = torch.zeros_like(means2d)
    if means2d.requires_grad:
        means2d.retain_grad()
    if given.absgrad:
        means2d.absgrad = absolute  # type: ignore[attr-defined]
    results = []
    for c, flat in enumerate(flats):
        values = _values(means, colors, viewmats, c, given.sh_degree)
        background = values.new_zeros(values.shape[-1]) if backgrounds is None else backgrounds[c].to(dtype)
        if render_mode != "RGB":
            kept = slice(None) if render_mode.startswith("RGB+") else slice(0)
            values = torch.cat([values[:, kept], flat.depths[:, None]], -1)
            background = torch.cat([background[kept], background.new_zeros(1)])
        image, alpha, margin = _blend(means2d[c], flat, values, background, size, tile_size, _Sum(absolute[c]))
        if render_mode in ("ED", "RGB+ED"):
            image = torch.cat([image[..., :-1], image[..., -1:] / alpha.clamp_min(limits.MIN_DEPTH_ALPHA)], -1)
        results.append((image, alpha, margin))
    images, alphas, margins = (torch.stack(kind) for kind in zip(*results, strict=True))
    radii, depths = torch.stack([flat.radii for flat in flats]), torch.stack([flat.depths for flat in flats])
    return images, alphas, {"means2d": means2d, "radii": radii, "depths": depths, "margins": margins}


def _values(means: Tensor, colors: Tensor, viewmats: Tensor, camera: int, sh_degree: int | None) -> Tensor:
    """Colours ``[N, D]`` as seen from one camera."""
    own = colors[camera] if colors.dim() == (3 if sh_degree is None else 4) else colors
    if sh_degree is None:
        return own
    return sh_colors(sh_degree, means - torch.linalg.inv(viewmats[camera])[:3, 3], own)


def _rotation_matrices(quats: Tensor) -> Tensor:
    """``[N, 3, 3]`` of quaternions of any length: R v = q v q*, column by column."""
    unit_quats = torch.nn.functional.normalize(quats, dim=-1)
    w, axis = unit_quats[:, :1], unit_quats[:, 1:]
    columns = []
    for unit in torch.eye(3, dtype=quats.dtype, device=quats.device):
        turned = torch.linalg.cross(axis, unit.expand_as(axis))
        columns.append(unit + 2 * w * turned + 2 * torch.linalg.cross(axis, turned))
    return torch.stack(columns, -1)


def _project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    near_plane: float,
    far_plane: float,
    radius_clip: float,
    eps2d: float,
    antialiased: bool,
) -> _Flat:
    points = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    depths = points[:, 2]
    in_range = (depths >= near_plane) & (depths <= far_plane)
    z = torch.where(in_range, depths, torch.ones_like(depths))
    focal, center = torch.stack([K[0, 0], K[1, 1]]), K[:2, 2]
    size = means.new_tensor([width, height])
    slopes = points[:, :2] / z[:, None]
    margin = limits.GUARD_BAND * 0.5 * size / focal
    held = slopes.clamp(-center / focal - margin, (size - center) / focal + margin)
    # d (f p / z) / d p, with p / z held within the guard band where it appears in the third column.
    diagonal = torch.diag_embed(focal / z[:, None])
    jacobian = torch.cat([diagonal, (-focal * held / z[:, None])[..., None]], -1)
    rotation = _rotation_matrices(quats)
    covariance = rotation @ torch.diag_embed(scales**2) @ rotation.transpose(-1, -2)
    to_image = jacobian @ viewmat[:3, :3]
    sharp = to_image @ covariance @ to_image.transpose(-1, -2)
    blurred = sharp + eps2d * torch.eye(2, dtype=means.dtype, device=means.device)
    effective = opacities
    if antialiased:
        effective = opacities * (torch.linalg.det(sharp) / torch.linalg.det(blurred)).clamp_min(0.0).sqrt()
    with torch.no_grad():
        reach = (2 * (effective / limits.MIN_ALPHA).clamp_min(1.0).log()).sqrt().clamp_max(limits.MAX_EXTENT_SIGMA)
        extents = (reach[:, None] * torch.diagonal(blurred, dim1=-2, dim2=-1).sqrt()).ceil()
        position = slopes * focal + center
        on_image = ((position + extents > 0) & (position - extents < size)).all(-1)
        visible = in_range & on_image & (effective >= limits.MIN_ALPHA) & (extents > radius_clip).any(-1)
        radii = torch.where(visible[:, None], extents, torch.zeros_like(extents)).to(torch.int32)
    return _Flat(slopes * focal + center, depths, torch.linalg.inv(blurred), effective, radii)


def _blend(
    means2d: Tensor,
    flat: _Flat,
    values: Tensor,
    background: Tensor,
    size: tuple[int, int],
    tile_size: int | None,
    absolute: _Sum,
) -> tuple[Tensor, Tensor, Tensor]:
    """Image ``[H, W, D]``, alpha ``[H, W, 1]`` and margin ``[H, W]`` of one camera, a chunk of pixels at a time."""
    width, height = size
    visible = torch.nonzero((flat.radii > 0).all(-1))[:, 0]
    order = visible[torch.argsort(flat.depths[visible].detach(), stable=True)]
    places, parts = [], []
    for place, own in _chunks(means2d.detach(), flat.radii, order, width, height, tile_size):
        pixels = torch.stack([place % width, place // width], -1).to(means2d) + 0.5
        gaussians = (means2d[own], flat.inverse[own], flat.opacities[own], values[own], background)
        step = max(1, CHUNK_PAIRS // max(1, len(own)))
        for first in range(0, len(pixels), step):
            some = slice(first, first + step)
            places.append(place[some])
            parts.append(checkpoint(_blend_pixels, pixels[some], *gaussians, absolute, own, use_reentrant=False))
    back = torch.argsort(torch.cat(places))
    image, alpha, margin = (torch.cat(kind)[back] for kind in zip(*parts, strict=True))
    return image.reshape(height, width, -1), alpha.reshape(height, width, 1), margin.reshape(height, width)


def _chunks(
    means2d: Tensor, radii: Tensor, order: Tensor, width: int, height: int, tile_size: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of the pixels of each tile, and the Gaussians that they meet, in order of depth."""
    grid = torch.arange(width * height, device=means2d.device).reshape(height, width)
    if tile_size is None:
        yield grid.flatten(), order
        return
    low, high = means2d[order] - radii[order], means2d[order] + radii[order]
    for top in range(0, height, tile_size):
        for left in range(0, width, tile_size):
            corner = means2d.new_tensor([left, top])
            reached = ((high > corner) & (low < corner + tile_size)).all(-1)
            yield grid[top : top + tile_size, left : left + tile_size].flatten(), order[reached]


def _blend_pixels(
    pixels: Tensor,
    means2d: Tensor,
    inverse: Tensor,
    opacities: Tensor,
    values: Tensor,
    background: Tensor,
    absolute: _Sum,
    order: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    offsets = _Tap.apply(means2d - pixels[:, None], absolute, order)  # type: ignore[no-untyped-call]
    sigma = 0.5 * torch.einsum("pni,nij,pnj->pn", offsets, inverse, offsets)
    raw = opacities * torch.exp(-sigma)
    drawn = raw >= limits.MIN_ALPHA
    alpha = torch.where(drawn, raw.clamp_max(limits.MAX_ALPHA), torch.zeros_like(raw))
    after = torch.cumprod(1 - alpha, -1)
    alive = after > limits.MIN_TRANSMITTANCE
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], -1)
    image = torch.where(alive, alpha * before, torch.zeros_like(alpha)) @ values
    rest = torch.where(alive, 1 - alpha, torch.ones_like(alpha)).prod(-1, keepdim=True)
    with torch.no_grad():
        decisions = [raw / limits.MIN_ALPHA, raw / limits.MAX_ALPHA, after / limits.MIN_TRANSMITTANCE]
        nearest = torch.stack(decisions).sub(1).abs().amin(0)
        reached = torch.cat([torch.ones_like(alive[:, :1]), alive[:, :-1]], -1)
        margin = torch.where(reached, nearest, torch.full_like(nearest, torch.inf))
        margin = torch.cat([margin, torch.full_like(rest, torch.inf)], -1).amin(-1)
    return image + rest * background, 1 - rest, margin


class _Tap(torch.autograd.Function):
    """Identity whose backward adds the absolute gradients, summed over pixels, to rows ``order`` of ``absolute``."""

    @staticmethod
    def forward(ctx: Any, offsets: Tensor, absolute: _Sum, order: Tensor) -> Tensor:
        ctx.absolute, ctx.order = absolute, order
        return offsets.view_as(offsets)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        ctx.absolute.total.index_add_(0, ctx.order, grad.abs().sum(0))
        return grad, None, None
