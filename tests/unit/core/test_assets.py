"""Assets: found, missing, altered."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

import hemgs.assets
from hemgs.core.assets import MissingAssetError, asset_folders, find_asset, list_assets
from hemgs.core.errors import AssetError

BACKBONE = Path("lpips_squeeze/squeeze.backbone.pth")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEMGS_ASSETS", raising=False)


def test_registry_is_well_formed() -> None:
    assert {"lpips_squeeze_backbone", "lpips_squeeze_heads", "pointnet2_s3dis_msg"} <= set(list_assets())
    for asset_id, asset in list_assets().items():
        assert asset.id == asset_id
        assert re.fullmatch(r"[a-z][a-z0-9_]*", asset_id)
        assert re.fullmatch(r"[0-9a-f]{64}", asset.sha256)
        assert asset.size_bytes > 0
        assert asset.distribution in ("package", "fetch")
        assert not Path(asset.file).is_absolute()
        assert ".." not in Path(asset.file).parts
        assert asset.licence
        assert asset.origin.startswith("https://" if asset.distribution == "fetch" else "this package")
        assert all(url.startswith("https://") for url in asset.urls)
        assert bool(asset.urls) == (asset.distribution == "fetch")
        assert asset.used_by
        assert asset.description


def test_real_assets_are_found_and_verified(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEMGS_ASSETS", str(captures / "assets"))
    for asset_id, asset in list_assets().items():
        path = captures / "assets" / asset.file
        if asset.distribution == "fetch" and path.is_file():
            assert find_asset(asset_id) == path


def test_assets_of_the_package_need_no_folder() -> None:
    shipped = [asset for asset in list_assets().values() if asset.distribution == "package"]
    assert shipped
    for asset in shipped:
        assert find_asset(asset.id) == Path(hemgs.assets.__file__).parent / asset.file


def test_folders_of_the_variable_come_first_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEMGS_ASSETS", os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")]))
    assert asset_folders()[:3] == (tmp_path / "a", tmp_path / "b", Path("results/data/assets"))


def test_default_folder_needs_no_variable(captures: Path, tmp_path: Path) -> None:
    target = tmp_path / "results/data/assets" / BACKBONE
    target.parent.mkdir(parents=True)
    shutil.copyfile(captures / "assets" / BACKBONE, target)
    assert find_asset("lpips_squeeze_backbone").resolve() == target


def test_missing_names_the_folders_and_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEMGS_ASSETS", str(tmp_path / "nowhere"))
    with pytest.raises(MissingAssetError) as caught:
        find_asset("lpips_squeeze_backbone")
    for part in (str(tmp_path / "nowhere"), "results/data/assets", str(BACKBONE), "HEMGS_ASSETS", "github.com"):
        assert part in str(caught.value)


@pytest.mark.parametrize("change", ["flip", "cut"])
def test_altered_is_never_used(captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    data = bytearray((captures / "assets" / BACKBONE).read_bytes())
    if change == "flip":
        data[len(data) // 2] ^= 1
    else:
        data = data[:-1]
    path = tmp_path / "changed" / BACKBONE
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    # A good copy further down the path does not excuse a bad one that would be found first elsewhere.
    monkeypatch.setenv("HEMGS_ASSETS", os.pathsep.join([str(tmp_path / "changed"), str(captures / "assets")]))
    with pytest.raises(AssetError) as caught:
        find_asset("lpips_squeeze_backbone")
    message = str(caught.value)
    assert str(path) in message
    assert list_assets()["lpips_squeeze_backbone"].sha256 in message
    assert ("2,899,196 bytes" if change == "cut" else "found ") in message
    assert "fetch it again" in message
    assert not isinstance(caught.value, MissingAssetError)


def test_unknown_id_lists_the_known_ones() -> None:
    with pytest.raises(AssetError, match="pointnet2_s3dis_msg"):
        find_asset("vgg")
