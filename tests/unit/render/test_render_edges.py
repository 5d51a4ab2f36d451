"""Unusual inputs: nothing to draw, values that are not finite, odd sizes and layouts."""

from __future__ import annotations

import math
from typing import Any

import numba
import pytest
import torch

from hemgs.core import jit
from hemgs.core.errors import DeviceError
from hemgs.render import cuda, rasterization
from tests.oracles.rasterization import rasterization_reference
from tests.unit.render.render_cases import Case, arguments_of

LEAVES = ("means", "quats", "scales", "opacities", "colors")


def simple(num: int = 50, **changes: Any) -> dict[str, Any]:
    inputs = arguments_of(Case(num=num, width=40, height=30), torch.float32)
    return {**{name: v.detach() if isinstance(v, torch.Tensor) else v for name, v in inputs.items()}, **changes}


def requiring_grad(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: v.clone().requires_grad_() if name in LEAVES else v for name, v in inputs.items()}


@pytest.mark.parametrize("packed", [False, True])
def test_no_gaussians_give_the_background_and_empty_gradients(packed: bool) -> None:
    inputs = requiring_grad(simple(0))
    image, alpha, meta = rasterization(**inputs, packed=packed, absgrad=True)
    assert torch.equal(image, inputs["backgrounds"].expand_as(image))
    assert not alpha.any()
    assert meta["flatten_ids"].numel() == 0
    image.sum().backward()
    assert inputs["means"].grad.shape == (0, 3)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("where", ["behind", "aside"])
def test_gaussians_out_of_sight_give_the_background_and_no_gradients(where: str, packed: bool) -> None:
    inputs = simple()
    shift = torch.tensor([0.0, 0.0, -50.0]) if where == "behind" else torch.tensor([500.0, 0.0, 0.0])
    inputs = requiring_grad({**inputs, "means": inputs["means"] + shift})
    image, alpha, meta = rasterization(**inputs, packed=packed, absgrad=True)
    assert torch.equal(image, inputs["backgrounds"].expand_as(image))
    assert not alpha.any()
    assert not meta["radii"].any()
    image.sum().backward()
    for name in LEAVES:
        assert not inputs[name].grad.any(), name


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", LEAVES)
def test_a_value_that_is_not_finite_makes_its_gaussian_invisible_and_no_other(name: str, value: float) -> None:
    inputs = simple(opacities=torch.full((50,), 0.8))
    inputs[name] = inputs[name].clone()
    inputs[name].view(50, -1)[7, 0] = value
    inputs = requiring_grad(inputs)
    image, alpha, meta = rasterization(**inputs, packed=False)
    (image.sum() + alpha.sum()).backward()
    assert name == "colors" or not meta["radii"][0, 7].any()

    rest = [index for index in range(50) if index != 7]
    others = requiring_grad({**inputs, **{leaf: inputs[leaf].detach()[rest] for leaf in LEAVES}})
    without, without_alpha, _ = rasterization(**others)
    (without.sum() + without_alpha.sum()).backward()
    assert torch.equal(image, without)
    assert torch.equal(alpha, without_alpha)
    for leaf in LEAVES:
        assert torch.equal(inputs[leaf].grad[rest], others[leaf].grad), leaf
        assert not inputs[leaf].grad[7].any(), leaf


def test_zero_quaternion_is_invisible() -> None:
    inputs = simple(1, quats=torch.zeros(1, 4), opacities=torch.ones(1), means=torch.zeros(1, 3))
    _, alpha, meta = rasterization(**inputs, packed=False)
    assert not alpha.any()
    assert not meta["radii"].any()


def test_nothing_finite_in_a_camera_gives_the_background() -> None:
    inputs = simple()
    image, alpha, _ = rasterization(**{**inputs, "viewmats": torch.full_like(inputs["viewmats"], math.nan)})
    assert torch.equal(image, inputs["backgrounds"].expand_as(image))
    assert not alpha.any()


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 1), (1, 33), (31, 15)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    width, height = size
    inputs = simple(width=width, height=height, opacities=torch.full((50,), 0.5))
    inputs["Ks"] = torch.tensor([[[12.0, 0, width / 2], [0, 12.0, height / 2], [0, 0, 1]]])
    image, _, _ = rasterization(**inputs)
    expected, _, _ = rasterization_reference(**inputs)
    assert image.shape == (1, height, width, 3)
    assert (image - expected).abs().max() < 5e-6


def test_a_large_image_is_whole() -> None:
    inputs = simple(200, width=1600, height=1200)
    inputs["Ks"] = torch.tensor([[[1500.0, 0, 800], [0, 1500.0, 600], [0, 0, 1]]])
    image, alpha, _ = rasterization(**inputs)
    assert image.isfinite().all()
    # Downsampled, it is about what a small image shows.
    small = {**inputs, "width": 100, "height": 75, "Ks": inputs["Ks"] * torch.tensor([[[1 / 16], [1 / 16], [1.0]]])}
    _, small_alpha, _ = rasterization(**small)
    pooled = torch.nn.functional.avg_pool2d(alpha[..., 0], 16)
    assert (pooled - small_alpha[..., 0]).abs().mean() < 0.02


@pytest.mark.parametrize("scale", [1e3, 1e10, 1e30])
def test_huge_gaussians_cover_the_image(scale: float) -> None:
    inputs = requiring_grad(
        simple(3, scales=torch.full((3, 3), scale), opacities=torch.full((3,), 0.5), means=torch.zeros(3, 3))
    )
    image, alpha, meta = rasterization(**inputs, packed=False)
    torch.testing.assert_close(alpha, torch.full_like(alpha, 0.875), rtol=1e-3, atol=0)
    assert (meta["radii"] > 0).all()
    image.sum().backward()
    for name in LEAVES:
        assert inputs[name].grad.isfinite().all(), name


@pytest.mark.parametrize("eps2d", [0.0, 0.3])
def test_flat_and_point_like_gaussians_have_finite_gradients(eps2d: float) -> None:
    scales = torch.full((50, 3), 1e-2)
    scales[:10] = 0.0
    scales[10:20] = 1e-30
    scales[20:30, 2] = 0.0
    for mode in ("classic", "antialiased"):
        inputs = requiring_grad(simple(scales=scales, opacities=torch.full((50,), 0.9)))
        image, alpha, _ = rasterization(**inputs, eps2d=eps2d, rasterize_mode=mode)
        assert image.isfinite().all()
        (image.sum() + alpha.sum()).backward()
        for name in LEAVES:
            assert inputs[name].grad.isfinite().all(), name


def test_opacity_zero_is_invisible_and_one_is_drawn() -> None:
    inputs = simple(2, means=torch.zeros(2, 3), scales=torch.full((2, 3), 10.0), opacities=torch.tensor([0.0, 1.0]))
    _, alpha, meta = rasterization(**inputs, packed=False)
    assert (meta["radii"] > 0).all(-1).tolist() == [[False, True]]
    assert alpha.max() == pytest.approx(0.999, abs=1e-6)


def test_layout_of_inputs_does_not_matter() -> None:
    inputs = simple()
    spread = dict(inputs)
    for name in (*LEAVES, "viewmats", "Ks", "backgrounds"):
        value = inputs[name]
        wide = torch.stack([value, torch.full_like(value, 9.0)], -1)
        spread[name] = wide[..., 0]
        assert value.numel() == 1 or not spread[name].is_contiguous()
    first, spread = requiring_grad(inputs), {n: v.requires_grad_() if n in LEAVES else v for n, v in spread.items()}
    results = []
    for arguments in (first, spread):
        image, alpha, _ = rasterization(**arguments)
        upstream = torch.stack([torch.ones_like(image), torch.zeros_like(image)], -1)[..., 0]
        image.backward(upstream)
        results.append([image, alpha, *(arguments[name].grad for name in LEAVES)])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_inputs_without_gradients_render_the_same_and_keep_nothing() -> None:
    inputs = simple()
    image, alpha, meta = rasterization(**inputs, packed=False)
    assert not image.requires_grad
    assert not meta["means2d"].requires_grad
    with_grad, alpha_with_grad, _ = rasterization(**requiring_grad(inputs))
    assert torch.equal(image, with_grad)
    assert torch.equal(alpha, alpha_with_grad)


def test_gradients_reach_only_what_asks_for_them() -> None:
    inputs = simple()
    inputs["colors"].requires_grad_()
    image, _, _ = rasterization(**inputs)
    image.sum().backward()
    assert inputs["colors"].grad.any()
    assert inputs["means"].grad is None


def test_changing_the_image_in_place_before_backward_is_noticed() -> None:
    inputs = requiring_grad(simple())
    image, _, _ = rasterization(**inputs)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        image.clamp_(0, 0.5).sum().backward()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quats": torch.ones(50, 3)}, r"quats has shape \[50, 3\]; \[50, 4\] fits"),
        ({"opacities": torch.ones(49)}, r"opacities has shape \[49\]"),
        ({"colors": torch.ones(49, 3)}, r"colors has shape \[49, 3\]"),
        ({"colors": torch.ones(50, 0), "backgrounds": None}, "at least one channel"),
        ({"colors": torch.ones(50, 4, 3), "sh_degree": 2}, "hold 4 coefficients; sh_degree 2 needs 9"),
        ({"colors": torch.ones(50, 25, 3), "sh_degree": 4}, "sh_degree 4; allowed: 0 to 3"),
        ({"backgrounds": torch.ones(1, 4)}, r"backgrounds has shape \[1, 4\]; \[1, 3\] fits"),
        ({"viewmats": torch.eye(4)}, "viewmats has shape"),
        ({"render_mode": "depth"}, "render_mode 'depth'; allowed: RGB, D"),
        ({"rasterize_mode": "sharp"}, "rasterize_mode 'sharp'; allowed: classic"),
        ({"tile_size": 33}, "tile_size 33; allowed: 1 to 32"),
        ({"width": 0}, "image of 0 x 30 pixels"),
        ({"scales": torch.ones(50, 3, dtype=torch.float64)}, "scales is torch.float64"),
        ({"means": torch.zeros(50, 3, dtype=torch.float16)}, "means are torch.float16"),
    ],
)
def test_inputs_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rasterization(**simple(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"sparse_grad": True},
        {"distributed": True},
        {"camera_model": "fisheye"},
        {"segmented": True},
        {"with_ut": True},
        {"with_eval3d": True},
        {"covars": torch.ones(50, 3, 3)},
        {"radial_coeffs": torch.ones(1, 4)},
        {"rolling_shutter": 1},
        {"viewmats_rs": torch.eye(4)[None]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_the_cpu_lacks_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match=f"{next(iter(changes))}.* not available on the CPU"):
        rasterization(**simple(**changes))


def test_other_devices_are_refused() -> None:
    inputs = simple()
    for name, value in inputs.items():
        inputs[name] = value.to("meta") if isinstance(value, torch.Tensor) else value
    with pytest.raises(DeviceError, match="no renderer for device 'meta'"):
        rasterization(**inputs)


def test_cuda_backend_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cuda.load_gsplat.cache_clear()
    with pytest.raises(DeviceError, match="torch sees no CUDA device") as caught:
        cuda.load_gsplat()
    assert caught.value.fix == "use --device cpu"


def test_cuda_backend_without_gsplat_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "gsplat", None)
    cuda.load_gsplat.cache_clear()
    with pytest.raises(DeviceError, match="gsplat cannot be used") as caught:
        cuda.load_gsplat()
    assert "gsplat==1.5.3" in caught.value.fix


def test_kernels_compile_without_a_cache_where_no_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> Any:
        raise RuntimeError("cannot cache function: no locator available")

    assert jit.can_cache()
    monkeypatch.setattr(numba, "njit", refuse)
    assert not jit.can_cache()
