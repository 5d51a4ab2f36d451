"""The CUDA backend: gsplat.

Owns the check that gsplat can be used on this machine. Adds nothing to what gsplat computes.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from hemgs.core.errors import DeviceError
from hemgs.render.checks import RasterizationInputs

#: The version whose arguments and ``meta`` the renderer follows.
GSPLAT_VERSION = "1.5.3"

_FIX = f"install the gpu extra (gsplat=={GSPLAT_VERSION}) with nvcc, ninja and a C++ compiler, or use --device cpu"


@functools.cache
def load_gsplat() -> Any:
    """Return the gsplat package with its CUDA code compiled; the first call on a machine takes minutes to compile it.

    Raises:
        DeviceError: there is no CUDA device, or gsplat cannot be imported or compiled.
    """
    # This check precedes the import: the error of gsplat without CUDA is misleading.
    if not torch.cuda.is_available():
        raise DeviceError("CUDA tensors cannot be rendered: torch sees no CUDA device", "use --device cpu")
    try:
        import gsplat
        from gsplat.cuda._backend import _C
    except (ImportError, OSError, RuntimeError) as fault:  # the build runs at import: ninja, nvcc, loader
        raise DeviceError(f"gsplat cannot be used: {fault}", _FIX) from fault
    if _C is None:
        raise DeviceError("gsplat found no CUDA toolkit to compile its kernels with", _FIX)
    return gsplat


def rasterization(arguments: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Call ``gsplat.rasterization`` with the same arguments, by name; see ``hemgs.render.rasterization``."""
    gsplat = load_gsplat()
    # Arguments that are None take gsplat's defaults, some of which are objects of its own.
    given = {name: value for name, value in arguments.items() if value is not None}
    # gsplat 1.5.3 refuses backgrounds for packed tensors. They are added here, at depth 0, behind what was drawn.
    backgrounds = given.pop("backgrounds", None) if given["packed"] else None
    image, alphas, meta = gsplat.rasterization(**given)
    if backgrounds is not None and given["render_mode"] not in ("D", "ED"):
        behind = torch.nn.functional.pad(backgrounds, (0, image.shape[-1] - backgrounds.shape[-1]))
        image = image + (1 - alphas) * behind[:, None, None]
    if meta["means2d"].requires_grad:
        meta["means2d"].retain_grad()
    return image, alphas, meta


def visible_radii(inputs: RasterizationInputs) -> Tensor:
    """Return the radii ``[C, N, 2] int32`` of Gaussians; zero where invisible."""
    radii: Tensor = load_gsplat().fully_fused_projection(
        inputs.means,
        None,
        inputs.quats,
        inputs.scales,
        inputs.viewmats,
        inputs.Ks,
        inputs.width,
        inputs.height,
        eps2d=inputs.eps2d,
        near_plane=inputs.near_plane,
        far_plane=inputs.far_plane,
        opacities=inputs.opacities,
    )[0]
    return radii
