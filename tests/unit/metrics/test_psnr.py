"""PSNR against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from hemgs.metrics.psnr import psnr


def test_equals_scikit_image() -> None:
    rng = np.random.default_rng(0)
    image, target = rng.random((17, 23, 3)), rng.random((17, 23, 3))
    expected = peak_signal_noise_ratio(target, image, data_range=1.0)
    assert float(psnr(torch.tensor(image), torch.tensor(target))) == pytest.approx(expected, abs=1e-9)


def test_one_error_over_all_channels_not_a_mean_of_channel_values() -> None:
    target = torch.zeros(8, 8, 3)
    image = target.clone()
    image[..., 0] = 0.3
    assert float(psnr(image, target)) == pytest.approx(-10 * np.log10(0.09 / 3), abs=1e-5)


def test_equal_images_give_infinity() -> None:
    image = torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(0))
    assert float(psnr(image, image)) == float("inf")


def test_gradient_is_exact() -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(5, 6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.rand(5, 6, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(psnr, (image, target))


@pytest.mark.parametrize(
    ("image", "target", "fault"),
    [
        (torch.zeros(4, 4, 3), torch.zeros(4, 5, 3), "shape"),
        (torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), r"\[H, W, 3\]"),
        (torch.zeros(0, 4, 3), torch.zeros(0, 4, 3), r"\[H, W, 3\]"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), torch.zeros(4, 4, 3, dtype=torch.uint8), "floating-point"),
        (torch.zeros(4, 4, 3), torch.zeros(4, 4, 3, dtype=torch.float64), "dtype"),
    ],
)
def test_what_is_no_pair_of_images_is_refused(image: torch.Tensor, target: torch.Tensor, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        psnr(image, target)
