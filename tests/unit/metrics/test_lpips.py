"""LPIPS against published values, and the two VGG conventions against a recording stand-in for the package."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hemgs.core.errors import AssetError
from hemgs.metrics import lpips
from hemgs.metrics.lpips import MIN_SIDE, SqueezeLpips, load_state, load_vgg


@pytest.fixture(scope="module")
def weights(captures: Path) -> Path:
    return captures / "assets" / "lpips_squeeze"


@pytest.fixture(scope="module")
def network(weights: Path) -> SqueezeLpips:
    backbone, heads = load_state(weights / "squeeze.backbone.pth"), load_state(weights / "lin_v0.1_squeeze.pth")
    return SqueezeLpips(backbone, heads, torch.device("cpu"))


def test_published_value_of_ten_random_pairs(network: SqueezeLpips) -> None:
    """The example in torchmetrics' documentation: uniform noise in [-1, 1]."""
    torch.manual_seed(42)
    images, targets = torch.rand(10, 3, 100, 100) * 2 - 1, torch.rand(10, 3, 100, 100) * 2 - 1
    with torch.no_grad():
        assert float(network.batch(images, targets).mean()) == pytest.approx(0.1005, abs=5e-5)


def test_published_values_of_two_random_pairs(network: SqueezeLpips) -> None:
    generator = torch.Generator().manual_seed(42)
    images, targets = (torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        assert network.batch(images, targets).tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)


@pytest.mark.parametrize(("name", "expected"), [("ex_p0", 0.7110), ("ex_p1", 0.1479)])
def test_published_values_of_the_example_pictures(
    network: SqueezeLpips, weights: Path, name: str, expected: float
) -> None:
    reference, image = (
        torch.tensor(np.asarray(Image.open(weights / f"{file}.png"), dtype=np.float32) / 255)
        for file in ("ex_ref", name)
    )
    with torch.no_grad():
        assert float(network(image, reference)) == pytest.approx(expected, abs=5e-5)
        assert float(network(reference, reference)) == 0.0


def test_smallest_image(network: SqueezeLpips) -> None:
    image = torch.rand(MIN_SIDE, 40, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert float(network(image, 1 - image)) > 0
    with pytest.raises(ValueError, match=f"at least {MIN_SIDE}"):
        network(image[:-1], image[:-1])


def test_foreign_heads_are_refused(weights: Path) -> None:
    backbone = load_state(weights / "squeeze.backbone.pth")
    with pytest.raises(AssetError, match="lin5"):
        SqueezeLpips(backbone, load_state(weights / "lin_v0.1_vgg.pth"), torch.device("cpu"))
    heads = load_state(weights / "lin_v0.1_squeeze.pth")
    heads["lin2.model.1.weight"] = heads["lin2.model.1.weight"][:, :100]
    with pytest.raises(AssetError, match="head 2"):
        SqueezeLpips(backbone, heads, torch.device("cpu"))
    del backbone["9.squeeze.bias"]
    with pytest.raises(AssetError, match=r"9\.squeeze"):
        SqueezeLpips(backbone, heads, torch.device("cpu"))


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(AssetError, match=r"text\.pth"):
        load_state(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(AssetError, match="state dict"):
        load_state(tmp_path / "list.pth")


def test_nothing_in_a_weight_file_is_executed(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (str(tmp_path / "executed"),)

    torch.save({"weight": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(AssetError):
        load_state(tmp_path / "hostile.pth")
    assert not (tmp_path / "executed").exists()


class _Recorder:
    """A replacement for ``lpips.LPIPS``: it returns the mean of its first input."""

    def __init__(self, **settings: object) -> None:
        assert settings == {"net": "vgg", "version": "0.1", "verbose": False}

    def to(self, device: torch.device) -> _Recorder:
        return self

    def eval(self) -> _Recorder:
        return self

    def __call__(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        assert image.shape == (1, 3, 20, 30)
        return (image.mean() + 10 * target.mean()).reshape(1, 1, 1, 1)


@pytest.fixture
def vgg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Both packages importable, a weight file of the right hash where torch.hub keeps it."""
    package = types.ModuleType("lpips")
    package.LPIPS = _Recorder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = tmp_path / "checkpoints" / lpips.VGG_FILE
    path.parent.mkdir()
    path.write_bytes(b"weights")
    monkeypatch.setattr(lpips, "sha256_of", lambda found: "397923af" + "0" * 56 if found == path else "")
    return path


@pytest.mark.usefixtures("vgg")
def test_vgg_conventions() -> None:
    unit, rescaled = load_vgg(torch.device("cpu")).values()
    image, target = torch.full((20, 30, 3), 0.75), torch.full((20, 30, 3), 0.5)
    assert float(unit(image, target)) == pytest.approx(0.75 + 5.0)
    assert float(rescaled(image, target)) == pytest.approx(0.5 + 0.0)


def test_vgg_weights_are_verified_and_never_downloaded(vgg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips, "sha256_of", lambda _: "f" * 64)
    with pytest.raises(AssetError, match="no VGG-16 weights"):
        load_vgg(torch.device("cpu"))
    vgg.unlink()
    with pytest.raises(AssetError, match=str(vgg)):
        load_vgg(torch.device("cpu"))


def test_vgg_weights_among_the_assets_serve_as_well(vgg: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """torch.hub is pointed at the asset while the network is built, and at its own folder again afterwards."""
    vgg.unlink()
    asset = tmp_path / "assets/torch_hub/checkpoints" / lpips.VGG_FILE
    monkeypatch.setattr(lpips, "find_asset", lambda name: {"vgg16_backbone": asset}[name])
    folders: list[Path] = []
    monkeypatch.setattr(torch.hub, "set_dir", folders.append)
    load_vgg(torch.device("cpu"))
    assert folders == [tmp_path / "assets/torch_hub", str(tmp_path)]


@pytest.mark.usefixtures("vgg")
def test_a_torchvision_built_for_another_torch_is_a_reason_not_a_crash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssetError, match="nms does not exist"):
        load_vgg(torch.device("cpu"))


@pytest.mark.usefixtures("vgg")
@pytest.mark.parametrize("package", ["lpips", "torchvision"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(AssetError, match=f"'{package}'"):
        load_vgg(torch.device("cpu"))
