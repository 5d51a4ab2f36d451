"""View-dependent colour from real spherical harmonics in plain torch: the oracle of the compiled kernels.

Owns a second statement of ``hemgs.render.spherical_harmonics``, of which it takes the constants.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hemgs.render.spherical_harmonics import COLOR_OFFSET, MAX_DEGREE, NORMALISATION


def sh_basis(degree: int, directions: Tensor) -> Tensor:
    """Values of the basis functions, ``[..., (degree + 1)^2]``, for unit ``directions [..., 3]``.

    Raises:
        ValueError: the degree is not 0 to 3.
    """
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"spherical harmonics of degree {degree}; 0 to {MAX_DEGREE} are supported")
    x, y, z = directions.unbind(-1)
    y00, y1, y2, y20, y22, y33, y3, y31, y30, y32 = NORMALISATION
    values = [torch.full_like(x, y00)]
    if degree >= 1:
        values += [-y1 * y, y1 * z, -y1 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        values += [
            y2 * x * y,
            -y2 * y * z,
            y20 * (2 * zz - xx - yy),
            -y2 * x * z,
            y22 * (xx - yy),
        ]
    if degree >= 3:
        values += [
            -y33 * y * (3 * xx - yy),
            y3 * x * y * z,
            -y31 * y * (4 * zz - xx - yy),
            y30 * z * (2 * zz - 3 * xx - 3 * yy),
            -y31 * x * (4 * zz - xx - yy),
            y32 * z * (xx - yy),
            -y33 * x * (xx - 3 * yy),
        ]
    return torch.stack(values, -1)


def sh_colors(degree: int, offsets: Tensor, coefficients: Tensor) -> Tensor:
    """Colours ``[..., 3]``, at least 0 but not bounded above, differentiable in both tensors.

    Args:
        degree: bands used, 0 to 3; more may be present.
        offsets: ``[..., 3]`` Gaussian centre minus camera centre, any length.
        coefficients: ``[..., K, 3]`` with ``K >= (degree + 1)^2``.
    """
    basis = sh_basis(degree, torch.nn.functional.normalize(offsets, dim=-1))
    used = coefficients[..., : basis.shape[-1], :]
    return ((basis[..., None] * used).sum(-2) + COLOR_OFFSET).clamp_min(0.0)
