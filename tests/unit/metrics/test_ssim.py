"""SSIM against scikit-image inside the border, and against an independent zero-padded reference everywhere."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

from hemgs.metrics.ssim import RADIUS, _blur_by_convolution, _blur_by_shifts, _index, _moments, blur, ssim


def _pair(height: int, width: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A smooth image and a noisy copy, as a codec would leave it."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.random((height, width, 3)), (2, 2, 0))
    image = (image - image.min()) / (image.max() - image.min())
    return image, np.clip(image + rng.normal(0, 0.05, image.shape), 0, 1)


def _index_map(image: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The index per pixel and channel, whose mean is what :func:`ssim` returns."""
    found: NDArray[np.float64] = _index(*_moments(torch.tensor(image), torch.tensor(target)))[0].numpy()
    return found


def _reference(image: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Full 11 x 11 convolution with zeros outside, variances computed as E[(x - mean)^2] would expand."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(convolve2d(plane, window, mode="same", boundary="fill", fillvalue=0))

    planes = []
    for channel in range(3):
        x, y = image[..., channel], target[..., channel]
        mu_x, mu_y = mean(x), mean(y)
        var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
        luminance = (2 * mu_x * mu_y + 1e-4) / (mu_x**2 + mu_y**2 + 1e-4)
        structure = (2 * cov + 9e-4) / (var_x + var_y + 9e-4)
        planes.append(luminance * structure)
    return np.stack(planes, axis=-1)


@pytest.mark.parametrize(("height", "width"), [(31, 40), (11, 11), (7, 30), (1, 1), (3, 64)])
def test_equals_the_zero_padded_reference_at_every_pixel(height: int, width: int) -> None:
    image, target = (
        _pair(height, width) if min(height, width) > 1 else (np.full((1, 1, 3), 0.25), np.full((1, 1, 3), 0.5))
    )
    expected = _reference(image, target)
    np.testing.assert_allclose(_index_map(image, target), expected, atol=1e-12)
    assert float(ssim(torch.tensor(image), torch.tensor(target))) == pytest.approx(expected.mean(), abs=1e-12)


def test_single_precision_is_good_to_five_digits() -> None:
    image, target = _pair(60, 80)
    value = ssim(torch.tensor(image, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))
    assert float(value) == pytest.approx(_reference(image, target).mean(), abs=1e-5)


def test_equals_scikit_image_inside_the_border_and_only_there() -> None:
    image, target = _pair(48, 36)
    _, theirs = structural_similarity(
        target,
        image,
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    ours = _index_map(image, target)
    inside = np.s_[RADIUS:-RADIUS, RADIUS:-RADIUS]
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-12)
    assert np.abs(ours - theirs)[0].max() > 1e-3


def test_equal_images_give_one() -> None:
    image = torch.tensor(_pair(20, 20)[0], dtype=torch.float32)
    assert float(ssim(image, image)) == pytest.approx(1.0, abs=1e-6)


def test_gradient_is_exact_in_both_arguments() -> None:
    image, target = (torch.tensor(array, requires_grad=True) for array in _pair(9, 14, seed=3))
    assert torch.autograd.gradcheck(ssim, (image, target))
    assert torch.autograd.gradcheck(lambda a: ssim(a, target.detach()), (image,))


def test_gradient_equals_automatic_differentiation_of_the_formula() -> None:
    image, target = (torch.tensor(array, dtype=torch.float32) for array in _pair(40, 50, seed=4))
    image.requires_grad_(True)
    (ours,) = torch.autograd.grad(ssim(image, target), image)
    planes = torch.stack((image, target, image * image, target * target, image * target))
    mu_x, mu_y, e_xx, e_yy, e_xy = _blur_by_convolution(planes)
    formula = (2 * mu_x * mu_y + 1e-4) * (2 * (e_xy - mu_x * mu_y) + 9e-4)
    formula = formula / ((mu_x**2 + mu_y**2 + 1e-4) * (e_xx - mu_x**2 + e_yy - mu_y**2 + 9e-4))
    (theirs,) = torch.autograd.grad(formula.mean(), image)
    assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_both_ways_to_blur_agree() -> None:
    planes = torch.rand(4, 13, 19, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(_blur_by_shifts(planes), _blur_by_convolution(planes), atol=1e-14, rtol=0)
    assert torch.equal(blur(planes), _blur_by_shifts(planes))


def test_threads_do_not_change_a_bit() -> None:
    image, target = (torch.tensor(zoom(array, (8, 8, 1), order=1), dtype=torch.float32) for array in _pair(32, 48))
    image.requires_grad_(True)
    before = torch.get_num_threads()
    gradients = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            gradients.append(torch.autograd.grad(ssim(image, target), image)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*gradients)


def test_faster_than_autograd_through_grouped_convolution() -> None:
    """The analytic gradient makes the index cheap enough for a training step; both are timed in one run."""
    image, target = (torch.tensor(array, dtype=torch.float32) for array in _pair(160, 240))
    image.requires_grad_(True)

    def plain() -> None:
        planes = torch.stack((image, target, image * image, target * target, image * target))
        mu_x, mu_y, e_xx, e_yy, e_xy = _blur_by_convolution(planes)
        formula = (2 * mu_x * mu_y + 1e-4) * (2 * (e_xy - mu_x * mu_y) + 9e-4)
        formula = formula / ((mu_x**2 + mu_y**2 + 1e-4) * (e_xx - mu_x**2 + e_yy - mu_y**2 + 9e-4))
        torch.autograd.grad(formula.mean(), image)

    def ours() -> None:
        torch.autograd.grad(ssim(image, target), image)

    def best_s(work: object) -> float:
        times = []
        for _ in range(7):
            started = time.perf_counter()
            work()  # type: ignore[operator]
            times.append(time.perf_counter() - started)
        return min(times)

    assert best_s(ours) < best_s(plain)


def test_float_images_only() -> None:
    with pytest.raises(ValueError, match="floating-point"):
        ssim(torch.zeros(16, 16, 3, dtype=torch.uint8), torch.zeros(16, 16, 3, dtype=torch.uint8))
