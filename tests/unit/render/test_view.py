"""Rendering by camera, visibility, and the gradients that growing reads."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from hemgs.core.types import Camera
from hemgs.render import ndc_gradient_norm, rasterization, render_view, visible_mask
from tests.narrowing import grad_of
from tests.unit.render.render_cases import GAUSSIANS, Case, arguments_of, gaussians_of

BLACK = (0.0, 0.0, 0.0)


@pytest.fixture
def inputs() -> dict[str, Any]:
    return arguments_of(Case(), torch.float32)


@pytest.fixture
def camera(inputs: dict[str, Any]) -> Camera:
    matrix = inputs["viewmats"][0].detach().double().numpy()
    matrix.setflags(write=False)
    (fx, _, cx), (_, fy, cy), _ = inputs["Ks"][0].double().tolist()
    return Camera("view", 97, 83, fx, fy, cx, cy, matrix)


def test_view_is_the_rasterisation_of_its_camera(inputs: dict[str, Any], camera: Camera) -> None:
    background = inputs["backgrounds"][0].detach()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = render_view(**gaussians_of(inputs), camera=camera, background=background, absgrad=True)
    (view.image.square().sum() + view.alpha.sum()).backward()
    found = [grad_of(inputs[name]) for name in GAUSSIANS]

    again = arguments_of(Case(), torch.float32)
    image, alpha, meta = rasterization(**again, packed=False, absgrad=True)
    (image.square().sum() + alpha.sum()).backward()
    assert torch.equal(view.image, image[0])
    assert torch.equal(view.alpha, alpha[0])
    assert torch.equal(view.radii, meta["radii"][0])
    assert torch.equal(view.means2d, meta["means2d"][0])
    means2d: Any = view.means2d  # with an attribute that tensors do not have
    assert torch.equal(means2d.grad, meta["means2d"].grad[0])
    assert torch.equal(means2d.absgrad, meta["means2d"].absgrad[0])
    assert means2d.grad.any()
    for name, gradient in zip(GAUSSIANS, found, strict=True):
        assert torch.equal(gradient, again[name].grad), name


def test_gradients_of_2d_means_add_up_over_backward_passes(inputs: dict[str, Any], camera: Camera) -> None:
    view = render_view(**gaussians_of(inputs), camera=camera, background=BLACK)
    means2d = view.means2d
    view.image.sum().backward(retain_graph=True)
    once = grad_of(means2d).clone()
    view.image.sum().backward()
    torch.testing.assert_close(means2d.grad, 2 * once)


def test_background_may_be_numbers_or_a_tensor_that_learns(inputs: dict[str, Any], camera: Camera) -> None:
    gaussians = gaussians_of(inputs)
    background = torch.tensor([0.2, 0.4, 0.6], requires_grad=True)
    view = render_view(**gaussians, camera=camera, background=background)
    assert torch.equal(view.image, render_view(**gaussians, camera=camera, background=(0.2, 0.4, 0.6)).image)
    view.image[..., 1].sum().backward()
    assert background.grad is not None
    expected = (1 - view.alpha).sum()
    torch.testing.assert_close(background.grad, torch.tensor([0.0, expected.item(), 0.0]), rtol=1e-5, atol=0)


def test_view_takes_spherical_harmonics(camera: Camera) -> None:
    inputs = arguments_of(Case(channels=0), torch.float32)
    view = render_view(**gaussians_of(inputs), camera=camera, background=BLACK, sh_degree=2)
    image, _, _ = rasterization(**{**inputs, "backgrounds": None}, sh_degree=2)
    assert torch.equal(view.image, image[0])


def test_view_without_gradients_has_none(inputs: dict[str, Any], camera: Camera) -> None:
    fixed = {name: value.detach() for name, value in gaussians_of(inputs).items()}
    view = render_view(**fixed, camera=camera, background=BLACK)
    assert not view.image.requires_grad
    assert view.means2d.grad is None
    assert view.visible.dtype == torch.bool
    assert 0 < view.visible.sum() < len(view.visible)


def test_visible_mask_is_that_of_opaque_gaussians(inputs: dict[str, Any], camera: Camera) -> None:
    means, quats, scales = (inputs[name] for name in GAUSSIANS[:3])
    mask = visible_mask(means, quats, scales, camera)
    opaque = torch.ones(len(mask))
    view = render_view(means, quats, scales, opaque, inputs["colors"], camera, BLACK)
    assert mask.dtype == torch.bool
    assert not mask.requires_grad
    assert torch.equal(mask, view.visible)
    assert 0 < mask.sum() < len(mask)
    nearer = visible_mask(means, quats, scales, camera, near_plane=4.0)
    depth = (inputs["means"].detach() @ inputs["viewmats"][0, :3, :3].T.detach() + inputs["viewmats"][0, :3, 3])[:, 2]
    assert torch.equal(nearer, mask & (depth >= 4.0))


def test_gradient_norm_is_in_normalised_device_coordinates() -> None:
    grad = torch.tensor([[0.003, 0.0], [0.0, 0.004], [0.003, 0.004], [0.0, 0.0]])
    # Half of 200 x 100 pixels: 100 and 50.
    expected = torch.tensor([0.3, 0.2, float(np.hypot(0.3, 0.2)), 0.0])
    torch.testing.assert_close(ndc_gradient_norm(grad, 200, 100), expected)
