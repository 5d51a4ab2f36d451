"""The quality columns of one view."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hemgs.core.catalogue import METRICS
from hemgs.core.errors import AssetError
from hemgs.metrics.psnr import psnr
from hemgs.metrics.suite import MetricSuite


@pytest.fixture
def no_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)


@pytest.fixture
def suite(captures: Path, monkeypatch: pytest.MonkeyPatch, no_vgg: None) -> MetricSuite:
    monkeypatch.setenv("HEMGS_ASSETS", str(captures / "assets"))
    return MetricSuite()


def test_values_on_real_pictures(suite: MetricSuite, captures: Path) -> None:
    folder = captures / "assets" / "lpips_squeeze"
    target, image = (np.asarray(Image.open(folder / f"{name}.png")) for name in ("ex_ref", "ex_p1"))
    row = suite.measure(image, target)
    assert list(row) == list(METRICS)
    assert row["lpips_squeeze"] == pytest.approx(0.1479, abs=5e-5)
    assert row["psnr"] == pytest.approx(
        float(psnr(torch.tensor(image / 255.0), torch.tensor(target / 255.0))), abs=1e-4
    )
    assert row["ssim"] is not None
    assert 0 < row["ssim"] < 1
    assert row == suite.measure(torch.tensor(image), torch.tensor(target))


def test_what_cannot_be_computed_is_none_with_a_reason(suite: MetricSuite) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    row = suite.measure(image, image)
    assert {column for column, value in row.items() if value is None} == {"lpips_vgg_unit", "lpips_vgg"}
    assert "torchvision" in suite.unavailable["lpips_vgg"]
    assert row["psnr"] == float("inf")


def test_absent_weights_leave_a_hole_but_altered_ones_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_vgg: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEMGS_ASSETS", str(tmp_path))
    suite = MetricSuite()
    assert "HEMGS_ASSETS" in suite.unavailable["lpips_squeeze"]
    image = np.zeros((40, 40, 3), np.uint8)
    assert suite.measure(image, image)["lpips_squeeze"] is None
    (tmp_path / "lpips_squeeze").mkdir()
    (tmp_path / "lpips_squeeze" / "squeeze.backbone.pth").write_bytes(b"x")
    with pytest.raises(AssetError, match="altered"):
        MetricSuite()


def test_tiny_views_have_no_lpips(suite: MetricSuite) -> None:
    image = np.zeros((12, 40, 3), np.uint8)
    assert suite.measure(image, image)["lpips_squeeze"] is None
    assert "smaller" in suite.unavailable["lpips_squeeze"]


def test_only_eight_bit_images(suite: MetricSuite) -> None:
    with pytest.raises(ValueError, match="uint8"):
        suite.measure(np.zeros((20, 20, 3), np.float32), np.zeros((20, 20, 3), np.uint8))  # type: ignore[arg-type]
