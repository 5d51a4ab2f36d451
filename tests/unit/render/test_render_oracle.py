"""The CPU backend against the float64 reference: values and every gradient, feature by feature."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hemgs.render import rasterization
from tests.oracles.rasterization import rasterization_reference
from tests.unit.render.render_cases import CASES, Case, arguments_of, check_against_reference


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(name: str) -> None:
    check_against_reference(name, "cpu", torch.float32)


@pytest.mark.parametrize("name", ["two_cameras", "color_and_depth", "antialiased_depth", "sh_3", "inside", "opaque"])
def test_agrees_to_float64_accuracy_in_float64(name: str) -> None:
    check_against_reference(name, "cpu", torch.float64, slack=1e-7)


@pytest.mark.parametrize("name", ["plain", "two_cameras", "sh_per_camera", "color_and_expected_depth", "antialiased"])
def test_packed_agrees_with_the_reference(name: str) -> None:
    check_against_reference(name, "cpu", torch.float32, packed=True)


@pytest.mark.parametrize("tile_size", [1, 7, 8, 32])
def test_the_size_of_tiles_does_not_matter(tile_size: int) -> None:
    case = replace(CASES["background"], arguments={"tile_size": tile_size})
    inputs = arguments_of(case, torch.float32)
    image, alpha, meta = rasterization(**inputs)
    usual, usual_alpha, _ = rasterization(**{**inputs, "tile_size": 16})
    assert meta["tile_width"] == -(-case.width // tile_size)
    torch.testing.assert_close(image, usual, rtol=0, atol=2e-6)
    torch.testing.assert_close(alpha, usual_alpha, rtol=0, atol=2e-6)


def test_derivatives_agree_with_finite_differences() -> None:
    # Few broad Gaussians: no pixel is near a decision, so the function is smooth around this point.
    case = Case(num=5, width=9, height=7, channels=4, size=4.0, opacity=0.4)
    inputs = arguments_of(case, torch.float64)
    names = ["means", "quats", "scales", "opacities", "colors", "viewmats", "backgrounds"]
    rest = {name: value for name, value in inputs.items() if name not in names}

    def rendered(*leaves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        given: dict[str, Any] = {**rest, **dict(zip(names, leaves, strict=True))}
        image, alpha, _ = rasterization(**given, render_mode="RGB+D", rasterize_mode="antialiased")
        return image, alpha

    assert torch.autograd.gradcheck(rendered, [inputs[name] for name in names], eps=1e-6, atol=1e-6, rtol=1e-4)


def test_derivative_of_spherical_harmonics_agrees_with_finite_differences() -> None:
    case = Case(num=4, width=5, height=4, channels=0, size=4.0, opacity=0.4)
    inputs = arguments_of(case, torch.float64)

    def rendered(means: torch.Tensor, colors: torch.Tensor, viewmats: torch.Tensor) -> torch.Tensor:
        image, _, _ = rasterization(
            **{**inputs, "means": means, "colors": colors, "viewmats": viewmats, "sh_degree": 3}
        )
        return image

    leaves = [inputs["means"], inputs["colors"], inputs["viewmats"]]
    assert torch.autograd.gradcheck(rendered, leaves, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_reference_by_tiles_is_the_reference() -> None:
    inputs = arguments_of(CASES["background"], torch.float64)
    image, alpha, _ = rasterization_reference(**inputs)
    tiled, tiled_alpha, _ = rasterization_reference(**inputs, tile_size=16)
    torch.testing.assert_close(tiled, image, rtol=0, atol=1e-12)
    torch.testing.assert_close(tiled_alpha, alpha, rtol=0, atol=1e-12)
