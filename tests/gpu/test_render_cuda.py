"""gsplat on CUDA against the float64 reference, on the cases that the CPU backend is tested with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hemgs.core.types import Camera
from hemgs.render import cuda, rasterization, render_view, visible_mask
from tests.unit.render.render_cases import CASES, GAUSSIANS, Case, arguments_of, check_against_reference, gaussians_of

pytestmark = pytest.mark.gpu

#: CUDA's fast exponential and atomic sums are less exact than the CPU kernels by about this factor.
CUDA_SLACK = 30.0


@pytest.fixture(scope="module", autouse=True)
def gsplat() -> None:
    """Compiles gsplat once; where that is not possible, these tests cannot run."""
    if torch.cuda.is_available():
        pytest.importorskip("gsplat")
        cuda.load_gsplat()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_cuda_agrees_with_the_reference(name: str, packed: bool) -> None:
    check_against_reference(name, "cuda", torch.float32, packed=packed, slack=CUDA_SLACK)


def test_no_gaussian_shows_the_background() -> None:
    """As in a training whose opacities have all gone below zero."""
    inputs = arguments_of(Case(), torch.float32, "cuda")
    for name in GAUSSIANS:
        inputs[name] = inputs[name].detach()[:0].requires_grad_()
    image, alphas, meta = rasterization(**inputs)
    assert image.is_cuda and alphas.is_cuda and meta["radii"].is_cuda
    assert torch.equal(image, inputs["backgrounds"].detach().expand_as(image))
    assert not alphas.any()
    image.sum().backward()
    assert inputs["backgrounds"].grad is not None


def test_cuda_meta_has_the_entries_of_the_cpu() -> None:
    metas = [rasterization(**arguments_of(CASES["plain"], torch.float32, device))[2] for device in ("cpu", "cuda")]
    assert set(metas[0]) == set(metas[1])
    for name, value in metas[0].items():
        assert type(value) is type(metas[1][name]), name
        if isinstance(value, torch.Tensor):
            assert (value.dtype, value.dim()) == (metas[1][name].dtype, metas[1][name].dim()), name


def test_cuda_view_and_visibility_are_those_of_the_cpu() -> None:
    images, masks, gradients = [], [], []
    for device in ("cpu", "cuda"):
        inputs = arguments_of(Case(), torch.float32, device)
        matrix = inputs["viewmats"][0].detach().double().cpu().numpy()
        (fx, _, cx), (_, fy, cy), _ = inputs["Ks"][0].double().tolist()
        camera = Camera("view", 97, 83, fx, fy, cx, cy, matrix)
        gaussians = gaussians_of(inputs)
        view = render_view(**gaussians, camera=camera, background=(0.1, 0.2, 0.3), absgrad=True)
        view.image.square().sum().backward()
        images.append(view.image.detach().cpu())
        masks.append(visible_mask(inputs["means"], inputs["quats"], inputs["scales"], camera).cpu())
        means2d: Any = view.means2d  # with an attribute that tensors do not have
        gradients.append([means2d.grad.cpu(), means2d.absgrad.cpu(), *(leaf.grad.cpu() for leaf in gaussians.values())])
    assert ((images[0] - images[1]).abs() > 1e-4).double().mean() < 0.005
    assert (masks[0] != masks[1]).sum() <= 2
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() <= 0.02 * one.norm()
