"""Metrics of views with a mask: nothing depends on hidden pixels, and means are over visible ones."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hemgs.metrics import lpips
from hemgs.metrics.lpips import SqueezeLpips, load_state, load_vgg
from hemgs.metrics.metric import Metric, visible_part
from hemgs.metrics.psnr import psnr
from hemgs.metrics.ssim import RADIUS, _index, _moments, ssim
from hemgs.metrics.suite import MetricSuite

CPU = torch.device("cpu")
HEIGHT, WIDTH = 40, 50


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(HEIGHT, WIDTH, 3, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(HEIGHT, WIDTH, 3, generator=generator, dtype=torch.float64)
    return (target + noise).clamp(0, 1), target


@pytest.fixture
def mask() -> Tensor:
    mask = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) > 0.1
    mask[:, :20] = False
    return mask


class _SpatialNetwork:
    """A replacement for ``lpips.LPIPS`` that returns squared differences, for each pixel if it is ``spatial``."""

    spatial = False

    def __init__(self, **_: object) -> None:
        pass

    def to(self, device: torch.device) -> _SpatialNetwork:
        return self

    def eval(self) -> _SpatialNetwork:
        return self

    def __call__(self, image: Tensor, target: Tensor) -> Tensor:
        squares = ((image - target) ** 2).mean(dim=1, keepdim=True)
        return squares if self.spatial else squares.mean(dim=(2, 3), keepdim=True)


@pytest.fixture
def vgg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Metric:
    package = types.ModuleType("lpips")
    package.LPIPS = _SpatialNetwork  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setattr(lpips, "_vgg_weights", lambda: tmp_path / "checkpoints/vgg16-397923af.pth")
    return load_vgg(CPU)["lpips_vgg_unit"]


@pytest.fixture(params=["psnr", "ssim", "lpips_squeeze", "lpips_vgg_unit"])
def metric(request: pytest.FixtureRequest, captures: Path) -> Metric:
    if request.param == "lpips_vgg_unit":
        found: Metric = request.getfixturevalue("vgg")
        return found
    if request.param == "lpips_squeeze":
        weights = captures / "assets/lpips_squeeze"
        backbone, heads = load_state(weights / "squeeze.backbone.pth"), load_state(weights / "lin_v0.1_squeeze.pth")
        network = SqueezeLpips(backbone, heads, CPU)
        return lambda image, target, mask=None: network(image.float(), target.float(), mask)
    return {"psnr": psnr, "ssim": ssim}[request.param]


def test_nothing_depends_on_hidden_pixels_of_the_view(
    metric: Metric, pair: tuple[Tensor, Tensor], mask: Tensor
) -> None:
    image, target = pair
    value = metric(image, target, mask)
    for hidden in (0.0, 1.0, float("nan")):
        assert torch.equal(metric(torch.where(mask[..., None], image, hidden), target, mask), value)
    assert not torch.equal(metric(image, target), value)


def test_a_mask_that_hides_nothing_changes_nothing(metric: Metric, pair: tuple[Tensor, Tensor]) -> None:
    everything = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    assert float(metric(*pair, everything)) == pytest.approx(float(metric(*pair)), rel=1e-6)


def test_an_error_that_is_hidden_does_not_count(metric: Metric, pair: tuple[Tensor, Tensor], mask: Tensor) -> None:
    _, target = pair
    image = torch.where(mask[..., None], target, 1 - target)
    assert float(metric(image, target, mask)) == pytest.approx(float(metric(target, target)), abs=1e-9)


def test_the_mean_is_over_visible_pixels(pair: tuple[Tensor, Tensor], mask: Tensor) -> None:
    image, target = pair
    error = ((image - target)[mask] ** 2).mean()
    assert float(psnr(image, target, mask)) == pytest.approx(-10 * np.log10(float(error)), rel=1e-12)
    expected = _index(*_moments(visible_part(image, target, mask), target))[0][mask].mean()
    assert float(ssim(image, target, mask)) == pytest.approx(float(expected), rel=1e-12)


def test_ssim_away_from_the_mask_is_that_of_the_crop(pair: tuple[Tensor, Tensor]) -> None:
    """With a hidden border as wide as the window, the crop contains all that its visible pixels see."""
    image, target = pair
    inside = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    inside[20:30, 20:40] = True
    crop = np.s_[20 - RADIUS : 30 + RADIUS, 20 - RADIUS : 40 + RADIUS]
    whole, part = ssim(image, target, inside), ssim(image[crop], target[crop], inside[crop])
    assert float(whole) == pytest.approx(float(part), rel=1e-12)


def test_the_gradient_of_masked_ssim(mask: Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    image, target = (
        torch.rand(7, 9, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)
    )
    small = mask[:7, 16:25].clone()
    assert small.any()
    assert not small.all()
    assert torch.autograd.gradcheck(lambda a, b: ssim(a, b, small), (image, target))
    ssim(image, target, small).backward()
    assert image.grad is not None
    assert not image.grad[~small].any()
    assert image.grad[small].all()


@pytest.mark.parametrize(
    "wrong", [torch.ones(HEIGHT, WIDTH), torch.ones(HEIGHT, WIDTH - 1).bool(), torch.ones(HEIGHT, WIDTH, 3).bool()]
)
def test_a_wrong_mask_is_an_error_of_the_caller(pair: tuple[Tensor, Tensor], wrong: Tensor) -> None:
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match="expected a mask"):
            metric(*pair, wrong)


def test_every_column_is_measured_under_the_mask(
    captures: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[Tensor, Tensor], mask: Tensor
) -> None:
    monkeypatch.setenv("HEMGS_ASSETS", str(captures / "assets"))
    suite = MetricSuite()
    image, target = ((255 * pixels).round().to(torch.uint8).numpy() for pixels in pair)
    row = suite.measure(image, target, mask.numpy())
    noise = np.where(mask.numpy()[..., None], image, 255 - image)
    assert suite.measure(noise, target, mask.numpy()) == row
    different = suite.measure(image, target)
    assert {key for key, value in row.items() if value is not None and value == different[key]} == set()
