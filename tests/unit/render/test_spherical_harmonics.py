"""Spherical harmonics against scipy's complex ones, and the compiled kernel against torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from hemgs.render import cpu
from tests.oracles.spherical_harmonics import sh_basis, sh_colors


def real_harmonic(degree: int, order: int, directions: np.ndarray) -> np.ndarray:
    """Real spherical harmonic from scipy's complex one; the Condon-Shortley sign (-1)^m stays in."""
    polar, azimuth = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    value = sph_harm_y(degree, abs(order), polar, azimuth)
    if order == 0:
        return value.real
    return math.sqrt(2) * (value.real if order > 0 else value.imag)


def test_basis_is_the_real_spherical_harmonics() -> None:
    directions = np.random.default_rng(0).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    basis = sh_basis(3, torch.from_numpy(directions)).numpy()
    for degree in range(4):
        for order in range(-degree, degree + 1):
            expected = real_harmonic(degree, order, directions)
            np.testing.assert_allclose(basis[:, degree**2 + degree + order], expected, atol=1e-12)


def test_signs_of_degree_one_are_those_of_3dgs() -> None:
    axes = torch.eye(3, dtype=torch.float64)
    constant = math.sqrt(3 / (4 * math.pi))
    expected = torch.tensor([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]], dtype=torch.float64) * constant
    torch.testing.assert_close(sh_basis(1, axes)[:, 1:], expected)


def test_colors_are_offset_by_a_half_and_not_negative() -> None:
    coefficients = torch.zeros(3, 4, 3)
    coefficients[1, 0] = 1.0
    coefficients[2, 0] = -10.0
    colors = sh_colors(1, torch.ones(3, 3), coefficients)
    torch.testing.assert_close(colors[:, 0], torch.tensor([0.5, 0.5 + math.sqrt(1 / (4 * math.pi)), 0.0]))


def test_higher_bands_than_asked_for_are_ignored() -> None:
    coefficients = torch.randn(5, 16, 3, generator=torch.Generator().manual_seed(0))
    offsets = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sh_colors(1, offsets, coefficients), sh_colors(1, offsets, coefficients[:, :4]))


@pytest.mark.parametrize("degree", range(4))
def test_compiled_harmonics_equal_those_in_torch(degree: int) -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = {"means": (40, 3), "coefficients": (40, 16, 3), "centers": (2, 3)}
    leaves = {
        name: torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }
    radii = torch.ones(2, 40, 2, dtype=torch.int32)
    radii[0, 5:9] = 0
    weights = torch.randn(2, 40, 3, generator=generator, dtype=torch.float64) * (radii[..., :1] > 0)

    compiled = cpu.sh_colors(degree, leaves["means"], leaves["coefficients"], leaves["centers"], radii)
    plain = sh_colors(
        degree, leaves["means"] - leaves["centers"][:, None], leaves["coefficients"].expand(2, -1, -1, -1)
    )
    assert not compiled[0, 5:9].any()
    torch.testing.assert_close(compiled * (radii[..., :1] > 0), plain * (radii[..., :1] > 0))
    found = torch.autograd.grad((compiled * weights).sum(), list(leaves.values()))
    wanted = torch.autograd.grad(
        (plain * weights).sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_degree_four_is_refused() -> None:
    with pytest.raises(ValueError, match="degree 4; 0 to 3"):
        sh_basis(4, torch.ones(1, 3))
