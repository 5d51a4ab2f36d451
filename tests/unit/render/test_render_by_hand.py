"""Conventions compared with hand-computed numbers, so that an error of all backends is found.

The camera looks along z from the origin; focal length 100 px; the image is 40 x 30, its principal point at (20, 15).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hemgs.render import cpu, rasterization
from tests.oracles.rasterization import rasterization_reference

FOCAL, WIDTH, HEIGHT, CX, CY = 100.0, 40, 30, 20.0, 15.0
BLUR = 0.3


def render(
    means: list[list[float]],
    scales: list[list[float]],
    opacities: list[float],
    colors: list[list[float]],
    quats: list[list[float]] | None = None,
    background: list[float] | None = None,
    reference: bool = False,
    **arguments: Any,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Image ``[H, W, D]``, alpha ``[H, W]`` and meta, by the CPU backend or by the reference, in float64."""
    quats = quats or [[1.0, 0.0, 0.0, 0.0]] * len(means)
    tensors = [torch.tensor(value, dtype=torch.float64) for value in (means, quats, scales, opacities, colors)]
    intrinsics = torch.tensor([[FOCAL, 0, CX], [0, FOCAL, CY], [0, 0, 1]], dtype=torch.float64)
    if background is not None:
        arguments["backgrounds"] = torch.tensor([background], dtype=torch.float64)
    function: Callable[..., tuple[Tensor, Tensor, dict[str, Any]]] = rasterization_reference
    if not reference:
        function = rasterization
        arguments.setdefault("packed", False)
    view = torch.eye(4, dtype=torch.float64)[None]
    image, alpha, meta = function(*tensors, view, intrinsics[None], WIDTH, HEIGHT, **arguments)
    return image[0], alpha[0, ..., 0], meta


both = pytest.mark.parametrize("reference", [False, True], ids=["cpu", "reference"])


@both
def test_round_gaussian_straight_ahead(reference: bool) -> None:
    image, alpha, meta = render(
        [[0, 0, 2.0]], [[0.05] * 3], [0.8], [[0.2, 0.4, 0.6]], background=[1.0, 0.5, 0.0], reference=reference
    )
    variance = (FOCAL * 0.05 / 2.0) ** 2 + BLUR  # 6.55 square pixels
    # Pixel (row 13, column 22) has its centre 2.5 right of and 1.5 above the projected centre (20, 15).
    expected = 0.8 * math.exp(-0.5 * (2.5**2 + 1.5**2) / variance)
    assert alpha[13, 22].item() == pytest.approx(expected, abs=1e-12)
    mixed = [expected * c + (1 - expected) * b for c, b in zip([0.2, 0.4, 0.6], [1.0, 0.5, 0.0], strict=True)]
    assert image[13, 22].tolist() == pytest.approx(mixed, abs=1e-12)
    assert meta["means2d"][0, 0].tolist() == [20.0, 15.0]
    assert meta["depths"][0, 0] == 2.0
    radius = math.ceil(math.sqrt(2 * math.log(0.8 * 255)) * math.sqrt(variance))
    assert meta["radii"][0, 0].tolist() == [radius, radius]


@both
def test_long_gaussian_turned_about_the_view_axis(reference: bool) -> None:
    # Long along its own x; the quaternion (w, x, y, z) turns x to 30 degrees below the image's x axis (y is down).
    half = math.radians(30) / 2
    _, alpha, _ = render(
        [[0, 0, 2.0]], [[0.1, 0.02, 0.02]], [0.9], [[1.0]],
        quats=[[2 * math.cos(half), 0, 0, 2 * math.sin(half)]], reference=reference,
    )  # fmt: skip
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    long, short = (FOCAL * 0.1 / 2) ** 2, (FOCAL * 0.02 / 2) ** 2
    a = long * cos**2 + short * sin**2 + BLUR
    b = (long - short) * cos * sin
    c = long * sin**2 + short * cos**2 + BLUR
    dx, dy = 4.5, 2.5  # pixel (17, 24)
    power = (c * dx * dx - 2 * b * dx * dy + a * dy * dy) / (2 * (a * c - b * b))
    assert alpha[17, 24].item() == pytest.approx(0.9 * math.exp(-power), abs=1e-12)
    assert alpha[17, 24] > 3 * alpha[12, 24]


@both
def test_off_axis_gaussian_is_stretched_by_the_jacobian(reference: bool) -> None:
    _, alpha, _ = render([[0.3, 0, 2.0]], [[0.02, 0.02, 0.2]], [0.9], [[1.0]], reference=reference)
    # x = 100 * 0.15 + 20 = 35; the depth variance enters by (-f x / z^2)^2.
    variance_x = (FOCAL / 2 * 0.02) ** 2 + (FOCAL * 0.3 / 4 * 0.2) ** 2 + BLUR
    variance_y = (FOCAL / 2 * 0.02) ** 2 + BLUR
    expected = 0.9 * math.exp(-0.5 * (1.5**2 / variance_x + 0.5**2 / variance_y))
    assert alpha[15, 36].item() == pytest.approx(expected, abs=1e-12)


@both
def test_jacobian_is_held_at_the_guard_band(reference: bool) -> None:
    # Half the field of view is 0.2 in slope: the guard band ends at 0.2 + 0.3 * 0.2 = 0.26; this centre lies at 0.5.
    _, alpha, meta = render([[1.0, 0, 2.0]], [[0.5] * 3], [0.9], [[1.0]], reference=reference)
    variance_x = (FOCAL / 2 * 0.5) ** 2 * (1 + 0.26**2) + BLUR
    variance_y = (FOCAL / 2 * 0.5) ** 2 + BLUR
    assert meta["means2d"][0, 0, 0] == 70.0
    expected = 0.9 * math.exp(-0.5 * ((70 - 30.5) ** 2 / variance_x + 0.5**2 / variance_y))
    assert alpha[15, 30].item() == pytest.approx(expected, abs=1e-12)


@both
def test_nearest_gaussian_is_drawn_first_whatever_the_order(reference: bool) -> None:
    means, scales = [[0, 0, 3.0], [0, 0, 2.0]], [[0.3] * 3, [0.2] * 3]
    image, _, _ = render(means, scales, [0.9, 0.5], [[1.0, 0.0], [0.0, 1.0]], reference=reference)
    falloff = math.exp(-0.5 * 0.5 / (10.0**2 + BLUR))  # both have a standard deviation of 10 px
    near, far = 0.5 * falloff, 0.9 * falloff
    assert image[15, 20].tolist() == pytest.approx([(1 - near) * far, near], abs=1e-12)


@both
def test_pixel_stops_before_transmittance_falls_to_a_ten_thousandth(reference: bool) -> None:
    # Alpha 0.95 each (broad, seen at the centre): transmittance 0.05, 0.0025, 0.000125, and then 0.00000625.
    means = [[0, 0, 2.0 + 0.1 * k] for k in range(6)]
    colors = [[float(10**k)] for k in range(6)]
    image, alpha, _ = render(means, [[1e4] * 3] * 6, [0.95] * 6, colors, background=[1e6], reference=reference)
    assert alpha[15, 20].item() == pytest.approx(1 - 0.05**3, rel=1e-9)
    drawn = 0.95 * (1 + 0.05 * 10 + 0.05**2 * 100) + 0.05**3 * 1e6
    assert image[15, 20].item() == pytest.approx(drawn, rel=1e-9)


@both
def test_alpha_is_capped_and_faint_alpha_is_not_drawn(reference: bool) -> None:
    _, alpha, _ = render([[0, 0, 2.0]], [[1e4] * 3], [1.0], [[1.0]], reference=reference)
    assert alpha[15, 20].item() == pytest.approx(0.999, abs=1e-12)
    for opacity, drawn in ((1.001 / 255, True), (0.999 / 255, False)):
        _, alpha, meta = render([[0, 0, 2.0]], [[1e4] * 3], [opacity], [[1.0]], reference=reference)
        assert alpha[15, 20].item() == pytest.approx(opacity if drawn else 0.0, abs=1e-9)
        assert bool((meta["radii"] > 0).all()) is drawn


@both
def test_gaussian_ends_where_alpha_falls_below_its_minimum(reference: bool) -> None:
    _, alpha, _ = render([[0, 0, 2.0]], [[0.05] * 3], [0.8], [[1.0]], reference=reference)
    variance = (FOCAL * 0.05 / 2.0) ** 2 + BLUR
    for column in range(WIDTH):
        value = 0.8 * math.exp(-0.5 * ((column + 0.5 - CX) ** 2 + 0.5**2) / variance)
        assert alpha[15, column].item() == pytest.approx(value if value >= 1 / 255 else 0.0, abs=1e-12)


@both
def test_near_and_far_plane_act_on_the_centre(reference: bool) -> None:
    for depth, drawn in ((0.0099, False), (0.0101, True), (-1.0, False)):
        _, alpha, _ = render([[0, 0, depth]], [[0.01] * 3], [0.9], [[1.0]], reference=reference)
        assert bool(alpha.any()) is drawn
    for depth, drawn in ((1.9, False), (2.1, True), (2.9, True), (3.1, False)):
        _, alpha, _ = render(
            [[0, 0, depth]], [[0.1] * 3], [0.9], [[1.0]], reference=reference, near_plane=2.0, far_plane=3.0
        )
        assert bool(alpha.any()) is drawn


@both
def test_antialiasing_keeps_the_mass_of_a_small_gaussian(reference: bool) -> None:
    scales = [[0.004, 0.008, 0.001]]
    _, alpha, _ = render([[0, 0, 2.0]], scales, [0.9], [[1.0]], rasterize_mode="antialiased", reference=reference)
    x, y = (FOCAL * 0.004 / 2) ** 2, (FOCAL * 0.008 / 2) ** 2
    factor = math.sqrt(x * y / ((x + BLUR) * (y + BLUR)))
    expected = 0.9 * factor * math.exp(-0.5 * (0.25 / (x + BLUR) + 0.25 / (y + BLUR)))
    assert alpha[15, 20].item() == pytest.approx(expected, abs=1e-12)


@both
def test_depth_modes(reference: bool) -> None:
    means, scales, colors = [[0, 0, 2.0], [0, 0, 4.0]], [[1e4] * 3] * 2, [[1.0], [1.0]]
    accumulated = 0.5 * 2 + 0.5 * 0.6 * 4
    wanted = {"D": accumulated, "ED": accumulated / (1 - 0.5 * 0.4)}
    for mode, depth in wanted.items():
        arguments: dict[str, Any] = {"reference": reference, "background": [7.0]}
        alone, _, _ = render(means, scales, [0.5, 0.6], colors, render_mode=mode, **arguments)
        colored, _, _ = render(means, scales, [0.5, 0.6], colors, render_mode="RGB+" + mode, **arguments)
        assert alone.shape[-1] == 1
        assert alone[15, 20].item() == pytest.approx(depth, rel=1e-9)
        assert colored[15, 20].tolist() == pytest.approx([0.8 + 0.2 * 7.0, depth], rel=1e-9)


def test_gradient_of_the_2d_mean() -> None:
    means = torch.tensor([[0, 0, 2.0]], dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, 1, dtype=torch.float64)
    quats, scales = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64), 0.05 * torch.ones(1, 3, dtype=torch.float64)
    intrinsics = torch.tensor([[[FOCAL, 0, CX], [0, FOCAL, CY], [0, 0, 1]]], dtype=torch.float64)
    image, _, meta = rasterization(
        means, quats, scales, 0.8 * one[0], 3.0 * one, torch.eye(4, dtype=torch.float64)[None], intrinsics,
        WIDTH, HEIGHT, absgrad=True, packed=False,
    )  # fmt: skip
    (image[0, 13, 22, 0] + 2.0 * image[0, 13, 17, 0]).backward()
    variance = (FOCAL * 0.05 / 2.0) ** 2 + BLUR
    alpha = 0.8 * math.exp(-0.5 * (2.5**2 + 1.5**2) / variance)
    # Moving the Gaussian towards a pixel brightens it: the pixels lie 2.5 right and 2.5 left, both 1.5 above.
    slope = 3.0 * alpha / variance
    assert meta["means2d"].grad[0, 0].tolist() == pytest.approx([2.5 * slope * (1 - 2), -1.5 * slope * (1 + 2)])
    assert meta["means2d"].absgrad[0, 0].tolist() == pytest.approx([2.5 * slope * 3, 1.5 * slope * 3])
    assert means.grad is not None
    assert means.grad[0, 0].item() == pytest.approx(2.5 * slope * (1 - 2) * FOCAL / 2.0)


def test_a_conic_that_rounding_made_indefinite_draws_only_where_its_exponent_is_not_positive() -> None:
    projected = cpu.Projected(
        means2d=torch.tensor([[[8.0, 8.0]]]),
        depths=torch.ones(1, 1),
        conics=torch.tensor([[[0.02, 0.05, 0.02]]]),
        compensations=torch.ones(1, 1),
        extents=torch.full((1, 1, 2), 8.0),
        radii=torch.full((1, 1, 2), 8, dtype=torch.int32),
    )
    one = torch.ones(1, 1)
    image, alpha, _ = cpu.rasterize(projected, 0.5 * one, one[..., None], None, (0, 1), 16, 16, 16, False)
    # Centre of pixel (9, 9): 1.5 right and below, exponent -0.07 * 2.25; of (9, 6): 1.5 left, exponent 0.03 * 2.25.
    assert alpha[0, 9, 9, 0].item() == pytest.approx(0.5 * math.exp(-0.07 * 2.25), rel=1e-6)
    assert alpha[0, 9, 6, 0] == 0.0
    assert image.max() <= 0.5
