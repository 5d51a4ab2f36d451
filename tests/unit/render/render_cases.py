"""Scenes and features on which every backend of the renderer is compared with the reference."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hemgs.render import rasterization
from tests.oracles.rasterization import rasterization_reference

#: Pixels nearer than this to a yes-or-no decision (smallest alpha, largest alpha, stop) are left out of comparisons.
#: float32 may decide the other way there, which changes a pixel by up to 1/255.
DECISION_MARGIN = 2e-4

#: The arguments that describe Gaussians, in the order in which the renderer takes them.
GAUSSIANS = ("means", "quats", "scales", "opacities", "colors")

#: At most this share of the pixels may be left out.
MAX_LEFT_OUT = 0.02


@dataclass(frozen=True)
class Case:
    """One scene and one set of arguments.

    ``channels`` 0 stands for spherical harmonics. ``per_camera``: colours differ between cameras. ``inside``: the
    cameras are among the Gaussians. ``opacity``: all the same, or random.
    """

    num: int = 300
    width: int = 97
    height: int = 83
    cameras: int = 1
    channels: int = 3
    per_camera: bool = False
    inside: bool = False
    opacity: float | None = None
    background: bool = True
    size: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)
    image_tolerance: float = 4e-6  #: absolute
    grad_tolerance: float = 2e-5  #: relative to the largest gradient of its kind


CASES = {
    "plain": Case(width=96, height=80, background=False),
    "background": Case(),
    "many_small": Case(num=1200, width=64, height=51, size=0.4),
    "two_cameras": Case(cameras=2),
    "colors_per_camera": Case(cameras=2, per_camera=True),
    "one_channel": Case(channels=1),
    "five_channels": Case(channels=5),
    "thirty_two_channels": Case(channels=32, num=100),
    "depth": Case(arguments={"render_mode": "D"}, image_tolerance=2e-5),
    "expected_depth": Case(arguments={"render_mode": "ED"}, image_tolerance=2e-4, grad_tolerance=4e-4),
    "color_and_depth": Case(arguments={"render_mode": "RGB+D"}, image_tolerance=2e-5),
    "color_and_expected_depth": Case(
        cameras=2, arguments={"render_mode": "RGB+ED"}, image_tolerance=2e-4, grad_tolerance=4e-4
    ),
    "antialiased": Case(size=0.3, arguments={"rasterize_mode": "antialiased"}),
    "antialiased_depth": Case(
        arguments={"rasterize_mode": "antialiased", "render_mode": "RGB+D"}, image_tolerance=2e-5
    ),
    "no_blur": Case(arguments={"eps2d": 0.0}, image_tolerance=2e-5, grad_tolerance=1e-4),
    "sh_0": Case(channels=0, arguments={"sh_degree": 0}),
    "sh_1": Case(channels=0, arguments={"sh_degree": 1}),
    "sh_2": Case(channels=0, arguments={"sh_degree": 2}),
    "sh_3": Case(channels=0, cameras=2, arguments={"sh_degree": 3}),
    "sh_per_camera": Case(channels=0, cameras=2, per_camera=True, arguments={"sh_degree": 3}),
    "inside": Case(inside=True, size=0.5, image_tolerance=2e-5, grad_tolerance=2e-4),
    "near_and_far": Case(arguments={"near_plane": 3.5, "far_plane": 5.0}),
    "radius_clip": Case(arguments={"radius_clip": 6.0}),
    "nearly_opaque": Case(opacity=0.99, grad_tolerance=1e-4),
    "opaque": Case(opacity=1.0, grad_tolerance=1e-4),
    "faint": Case(opacity=0.02),
}


def arguments_of(case: Case, dtype: torch.dtype, device: str = "cpu") -> dict[str, Any]:
    """Keyword arguments of ``rasterization``; float32 numbers whatever the type; all but ``Ks`` require gradients."""
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    num, cameras = case.num, case.cameras
    shape: tuple[int, ...] = (num, 16, 3) if case.channels == 0 else (num, case.channels)
    if case.per_camera:
        shape = (cameras, *shape)
    opacities = torch.sigmoid(0.8 + 1.5 * normal(num)) if case.opacity is None else torch.full((num,), case.opacity)
    matrices = [_world_to_camera(0.2 * c, 0.0 if case.inside else 4.0) for c in range(cameras)]
    focal = [[0.9 * case.width, 0.0, 0.47 * case.width], [0.0, 1.1 * case.width, 0.55 * case.height], [0.0, 0.0, 1.0]]
    values = {
        "means": normal(num, 3) * 0.9,
        "quats": normal(num, 4),
        "scales": case.size * 0.12 * torch.exp(0.6 * normal(num, 3)),
        "opacities": opacities,
        "colors": 0.4 * normal(*shape) if case.channels == 0 else uniform(*shape),
        "viewmats": torch.stack(matrices),
        "backgrounds": uniform(cameras, case.channels or 3) if case.background else None,
        "Ks": torch.tensor(focal, dtype=torch.float64).expand(cameras, 3, 3),
    }
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        leaf = value.to(torch.float32).to(device, dtype).contiguous()
        leaves[name] = leaf.requires_grad_() if name != "Ks" else leaf
    return {**leaves, "width": case.width, "height": case.height, **case.arguments}


def gaussians_of(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of :func:`arguments_of` that describe Gaussians."""
    return {name: inputs[name] for name in GAUSSIANS}


def _world_to_camera(angle: float, distance: float) -> Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    tilt = torch.tensor([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]], dtype=torch.float64)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = tilt @ torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], dtype=torch.float64)
    matrix[:3, 3] = torch.tensor([0.05, -0.1, distance], dtype=torch.float64)
    return matrix


@dataclass(frozen=True)
class Expected:
    """The result of the reference for a case, in float64.

    Attributes:
        image, alpha, radii: of the rendering.
        clear: ``[C, H, W, 1]``, which pixels are compared.
        image_weights, alpha_weights: of the pixels in the loss that is differentiated; 0 where they are not clear.
        gradients: of the loss, by argument; ``means2d`` and ``absgrad`` as well.
    """

    image: Tensor
    alpha: Tensor
    radii: Tensor
    clear: Tensor
    image_weights: Tensor
    alpha_weights: Tensor
    gradients: dict[str, Tensor | None]


@functools.cache
def expected_of(name: str) -> Expected:
    """Render a case by the reference, once for all comparisons."""
    inputs = arguments_of(CASES[name], torch.float64)
    image, alpha, meta = rasterization_reference(**inputs, absgrad=True)
    clear = (meta["margins"] > DECISION_MARGIN)[..., None]
    assert clear.double().mean() > 1 - MAX_LEFT_OUT
    generator = torch.Generator().manual_seed(11)
    image_weights = torch.randn(image.shape, generator=generator, dtype=torch.float64) * clear
    alpha_weights = torch.randn(alpha.shape, generator=generator, dtype=torch.float64) * clear
    ((image * image_weights).sum() + (alpha * alpha_weights).sum()).backward()
    gradients = {key: value.grad for key, value in inputs.items() if isinstance(value, Tensor) and key != "Ks"}
    gradients |= {"means2d": meta["means2d"].grad, "absgrad": meta["means2d"].absgrad}
    return Expected(image.detach(), alpha.detach(), meta["radii"], clear, image_weights, alpha_weights, gradients)


def check_against_reference(
    name: str, device: str, dtype: torch.dtype, packed: bool = False, slack: float = 1.0
) -> None:
    """Render a case with both and compare images, alphas, radii and every gradient.

    ``slack`` multiplies the case's tolerances.
    """
    case, expected = CASES[name], expected_of(name)
    clear = expected.clear
    inputs = arguments_of(case, dtype, device)
    image, alpha, meta = rasterization(**inputs, absgrad=True, packed=packed)
    image_weights, alpha_weights = (
        weights.to(device, dtype) for weights in (expected.image_weights, expected.alpha_weights)
    )
    ((image * image_weights).sum() + (alpha * alpha_weights).sum()).backward()

    assert image.dtype == alpha.dtype == dtype
    assert ((image.detach().cpu() - expected.image) * clear).abs().max() <= slack * case.image_tolerance
    assert ((alpha.detach().cpu() - expected.alpha) * clear).abs().max() <= slack * 4e-6
    found = {key: value.grad for key, value in inputs.items() if isinstance(value, Tensor) and key != "Ks"}
    found |= {
        "means2d": _unpacked(meta["means2d"].grad, meta, case.num),
        "absgrad": _unpacked(meta["means2d"].absgrad, meta, case.num),
    }
    found_radii = _unpacked(meta["radii"], meta, case.num).cpu()
    assert found.keys() == expected.gradients.keys()
    for key, gradient in expected.gradients.items():
        own = found[key]
        if gradient is None or own is None:
            assert not any(value.any() for value in (gradient, own) if value is not None), key
            continue
        error = (own.double().cpu() - gradient).abs().max() / gradient.abs().max().clamp_min(1e-12)
        assert error <= slack * case.grad_tolerance, f"{key}: relative error {error:.2e}"
    # An extent may lie so close to a whole pixel that float32 inputs round it up differently on another device.
    off = (found_radii - expected.radii).abs()
    assert off.max() <= 1
    assert off.bool().double().mean() <= 0.01


def _unpacked(values: Tensor, meta: dict[str, Any], num: int) -> Tensor:
    """``[C, N, 2]`` of values per visible pair, or already of that shape."""
    if meta["camera_ids"] is None:
        return values
    full = values.new_zeros(meta["n_cameras"], num, 2)
    full[meta["camera_ids"].long(), meta["gaussian_ids"].long()] = values
    return full
