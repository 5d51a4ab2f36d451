"""Weights that belong to the codec or to a metric: finding them, and checking that they are the right ones.

Owns the list in ``hemgs/assets/registry.yaml`` and the verification. Does not own the meaning of the weights. It never
downloads, since a cluster job without a network would hang: ``hemgs fetch`` downloads them beforehand.
"""

from __future__ import annotations

import functools
import importlib.resources
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from hemgs.core.errors import AssetError
from hemgs.core.files import sha256_of

#: Folders to search, separated as in ``PATH``; they come before :data:`DEFAULT_FOLDER`.
FOLDERS_VARIABLE = "HEMGS_ASSETS"
#: Folder of assets in the workflow, relative to the working directory.
DEFAULT_FOLDER = Path("results/data/assets")


class MissingAssetError(AssetError):
    """No searched folder contains the asset. (An altered file is an :class:`AssetError`.)"""


@dataclass(frozen=True)
class Asset:
    """One verified file.

    Attributes:
        id: lower snake_case.
        file: path relative to an assets folder.
        sha256: hex digest that the file must have.
        size_bytes: its length.
        licence: as stated by its authors; "none stated" where they are silent.
        origin: where the file can be downloaded.
        distribution: ``package`` (shipped in ``hemgs/assets``) or ``fetch`` (the user fetches it).
        used_by: the codec or metric that needs it.
        description: the contents, in one line.
        urls: addresses of this file, tried in order; empty for files that the package ships.
    """

    id: str
    file: str
    sha256: str
    size_bytes: int
    licence: str
    origin: str
    distribution: str
    used_by: str
    description: str
    urls: tuple[str, ...] = ()


@functools.cache
def list_assets() -> Mapping[str, Asset]:
    """All known assets by id."""
    text = importlib.resources.files("hemgs.assets").joinpath("registry.yaml").read_text(encoding="utf-8")
    entries = yaml.safe_load(text)["assets"]
    return {
        asset_id: Asset(id=asset_id, urls=tuple(fields.pop("urls", ())), **fields)
        for asset_id, fields in entries.items()
    }


def asset_folders() -> tuple[Path, ...]:
    """Folders that :func:`find_asset` searches, in order."""
    named = os.environ.get(FOLDERS_VARIABLE, "")
    shipped = Path(str(importlib.resources.files("hemgs.assets")))
    return (*(Path(folder) for folder in named.split(os.pathsep) if folder), DEFAULT_FOLDER, shipped)


def find_asset(asset_id: str) -> Path:
    """Path of an asset whose content has been verified.

    Raises:
        AssetError: the registry does not list the id, or the first file found differs from the registered one.
        MissingAssetError: no folder contains the file.
    """
    known = list_assets()
    if asset_id not in known:
        raise AssetError(f"unknown asset {asset_id!r}", f"use one of {', '.join(sorted(known))}")
    asset = known[asset_id]
    folders = asset_folders()
    for folder in folders:
        path = folder / asset.file
        if path.is_file():
            return _verified(path, asset)
    raise MissingAssetError(
        f"asset {asset_id!r} ({asset.file}, {asset.size_bytes:,} bytes) is in none of "
        f"{', '.join(str(folder) for folder in folders)}",
        f"run `hemgs fetch --asset {asset_id}`, or download it by hand from {asset.origin}: put it at "
        f"{DEFAULT_FOLDER / asset.file}, or set {FOLDERS_VARIABLE} to the folder that contains {asset.file}",
    )


def _verified(path: Path, asset: Asset) -> Path:
    try:
        size_bytes = path.stat().st_size
        found = sha256_of(path) if size_bytes == asset.size_bytes else f"a file of {size_bytes:,} bytes"
    except OSError as fault:
        raise AssetError(f"asset {asset.id!r} at {path} cannot be read: {fault}", "check its permissions") from fault
    if found != asset.sha256:
        raise AssetError(
            f"asset {asset.id!r} at {path} is altered: expected sha256 {asset.sha256} "
            f"({asset.size_bytes:,} bytes), found {found}",
            f"delete the file and fetch it again from {asset.origin}",
        )
    return path
