"""Rendering by camera object, as training and evaluation call it.

Owns the conversion of ``core.types.Camera`` to the rasteriser's tensors, and what growing reads from a rendering, in
the same way on every device. Does not know losses or models.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from hemgs.core.types import Camera
from hemgs.render import cpu, cuda
from hemgs.render.checks import RasterizationInputs
from hemgs.render.limits import NEAR_PLANE
from hemgs.render.rasterization import rasterization, rasterize_on_cpu


@dataclass(frozen=True)
class RenderedView:
    """One rendered view.

    Attributes:
        image: ``[H, W, D]``, background included, not clamped.
        alpha: ``[H, W, 1]`` in [0, 1).
        means2d: ``[N, 2]`` projected centres, pixels. After backward its ``grad`` is the gradient per pixel, and
            ``absgrad`` (if asked for) the sum of absolute values over pixels. It is a leaf: losses that use it change
            no Gaussian.
        radii: ``[N, 2] int32`` half sizes, pixels; positive on both axes where visible.
    """

    image: Tensor
    alpha: Tensor
    means2d: Tensor
    radii: Tensor

    @property
    def visible(self) -> Tensor:
        """Which Gaussians reach the image, ``[N] bool``."""
        return (self.radii > 0).all(-1)


def render_view(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    camera: Camera,
    background: Tensor | tuple[float, ...],
    *,
    sh_degree: int | None = None,
    near_plane: float = NEAR_PLANE,
    absgrad: bool = False,
) -> RenderedView:
    """Render N Gaussians into one camera, differentiable in all tensors.

    Args:
        means, quats, scales, opacities, colors: as in ``rasterization``: ``[N, 3]``, ``[N, 4]``, ``[N, 3]``, ``[N]``,
            ``[N, D]`` (with ``sh_degree``: ``[N, K, 3]``).
        background: D values.
        near_plane: Gaussians whose centre is closer are not drawn, world units.
        absgrad: whether backward also sets ``means2d.absgrad``.

    Raises:
        ValueError: shapes do not fit together.
        DeviceError: the tensors are on CUDA, and gsplat cannot be used.
    """
    viewmat, intrinsics = camera_tensors(camera, means)
    backdrop = torch.as_tensor(background, dtype=means.dtype, device=means.device)
    inputs = RasterizationInputs(
        means,
        quats,
        scales,
        opacities,
        colors,
        viewmat[None],
        intrinsics[None],
        camera.width,
        camera.height,
        near_plane=near_plane,
        sh_degree=sh_degree,
        packed=False,
        backgrounds=backdrop[None],
        absgrad=absgrad,
    )
    if means.device.type == "cpu":
        image, alpha, meta = rasterize_on_cpu(inputs, with_tiles=False)
    else:
        image, alpha, meta = rasterization(**vars(inputs))
    means2d = _without_batch(meta["means2d"])
    return RenderedView(image[0], alpha[0], means2d, meta["radii"][0])


def _without_batch(batched: Tensor) -> Tensor:
    """Return a leaf ``[N, 2]`` with the values of a tensor ``[1, N, 2]``; the leaf receives that tensor's gradients.

    The batched tensor is in the graph, and refers to the hook. The hook must not refer to that tensor: a cycle through
    the graph would never be freed. The leaf refers to the tensor instead, and the hook refers weakly to the leaf.
    """
    leaf = batched[0].detach()
    if not batched.requires_grad:
        return leaf
    leaf.in_graph = batched  # type: ignore[attr-defined]
    reference = weakref.ref(leaf)

    def pass_on(grad: Tensor) -> None:
        target = reference()
        if target is None:
            return
        target.grad = grad[0] if target.grad is None else target.grad + grad[0]
        absolute = getattr(target.in_graph, "absgrad", None)  # type: ignore[attr-defined]
        if absolute is not None:
            target.absgrad = absolute[0]  # type: ignore[attr-defined]

    batched.register_hook(pass_on)  # type: ignore[no-untyped-call]
    return leaf


def visible_mask(
    means: Tensor, quats: Tensor, scales: Tensor, camera: Camera, *, near_plane: float = NEAR_PLANE
) -> Tensor:
    """Return which opaque Gaussians would reach the image, ``[N] bool``; this only projects, without gradients."""
    viewmat, intrinsics = camera_tensors(camera, means)
    opaque = means.new_ones(len(means))
    inputs = RasterizationInputs(
        means,
        quats,
        scales,
        opaque,
        means,  # colours, which a projection does not use
        viewmat[None],
        intrinsics[None],
        camera.width,
        camera.height,
        near_plane=near_plane,
    )
    backend = cuda if means.is_cuda else cpu
    with torch.no_grad():
        radii = backend.visible_radii(inputs)
    mask: Tensor = (radii[0] > 0).all(-1)
    return mask


def ndc_gradient_norm(grad: Tensor, width: int, height: int) -> Tensor:
    """Return the lengths ``[N]`` of gradients ``[N, 2]`` per pixel, in normalised device coordinates.

    The image spans 2 units there, so a pixel gradient is multiplied by half the image size. The thresholds of 3DGS and
    Scaffold-GS refer to this unit.
    """
    norm: Tensor = (grad * grad.new_tensor([width / 2, height / 2])).norm(dim=-1)
    return norm


def camera_tensors(camera: Camera, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return world-to-camera matrix ``[4, 4]`` and intrinsics ``[3, 3]``, with the type and device of ``like``."""
    matrices = (torch.tensor(matrix, device="cpu") for matrix in (camera.world_to_camera, camera.intrinsics))
    viewmat, intrinsics = (matrix.to(like.device, like.dtype) for matrix in matrices)
    return viewmat, intrinsics
