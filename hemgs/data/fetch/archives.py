"""Archives of scenes, and weights: which are needed, where they belong, and whether they are there.

Owns where a scene's capture is: in a local folder, in a local archive, or in an archive that must be fetched first.
Also owns which archives the selected scenes still need, and their records. Does not own how a file is fetched
(``http``) or extracted (``unpack``), nor how weights are found later (``hemgs.core.assets``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hemgs.config.captures import agreed, find_capture
from hemgs.config.dataset import Archive, DatasetConfig, SceneConfig
from hemgs.core.assets import DEFAULT_FOLDER, Asset, MissingAssetError, find_asset
from hemgs.core.errors import AssetError, ConfigError
from hemgs.core.events import EventLog
from hemgs.core.files import write_text
from hemgs.data.disk import check_can_be_made, check_room, disk_full_is_an_error, one_process_at_a_time
from hemgs.data.fetch.http import RemoteFile, fetch, fetched_sha256, partial_bytes
from hemgs.data.fetch.unpack import unpack, unpacked_bytes

#: Where fetched archives are kept, relative to the working directory, as every result of the workflow is.
DEFAULT_ARCHIVES = Path("results/data/archives")


def find_scene(scene: SceneConfig, archives: Path, scratch: Path, events: EventLog) -> Path:
    """Return the folder of a scene's capture; fetch and unpack it if it is missing.

    The capture belongs in ``source.local``, a folder or an archive. If it is not there and ``source.archives`` are
    declared, those that contain the scene are fetched into ``archives``. The scene's folder is then unpacked into
    ``source.local``.

    Args:
        archives: folder where fetched archives are kept.
        scratch: temporary folder, for a scene that is in a local archive.

    Raises:
        ConfigError: ``source.local`` is missing, or names an unset variable, a path that does not exist or one that
            lacks the scene and cannot be written to.
        SceneError: an archive cannot be fetched, is not safe to unpack, or lacks the scene.
        DeviceError: the disk is full.
    """
    folder = find_capture(scene, archives)
    if folder.is_file():
        return unpack(folder, scene.source.path, scratch / "unpacked")
    if folder.is_dir():
        return folder
    check_can_be_made(folder)

    def report_wait() -> None:
        events.write("waiting", folder=str(folder), reason="another process unpacks it")

    # Several datasets may prepare the same scene at the same time, each in its own way.
    with disk_full_is_an_error(folder), one_process_at_a_time(folder, report_wait):
        if folder.is_dir():
            return folder
        for archive in scene.archives:
            target = archives / archive.name
            events.write("fetch", file=str(target), url=archive.url)
            fetch(remote_file(archive), target, events)
            unpack(target, scene.source.path, folder)
    return folder


def remote_file(archive: Archive) -> RemoteFile:
    """Turn a declared archive into a file to fetch."""
    return RemoteFile((archive.url, *archive.mirrors), archive.size_bytes, archive.sha256)


@dataclass(frozen=True)
class MissingScene:
    """A scene that must be unpacked: the folder inside its archive, and the folder where it belongs."""

    member: str
    folder: Path


@dataclass(frozen=True)
class WantedArchive:
    """An archive, and the selected scenes that it contains.

    Attributes:
        entry: as declared under ``source.archives``.
        missing: the scenes, by ``dataset/scene``, that are not in place.
        in_place: folder of each scene that needs no archive, by ``dataset/scene``.
        num_scenes: the number of scenes that it contains according to the datasets, selected or not.
    """

    name: str
    entry: Archive
    missing: Mapping[str, MissingScene]
    in_place: Mapping[str, str]
    num_scenes: int = 0

    @property
    def missing_share(self) -> float:
        """Share of the archive that must be unpacked, in [0, 1], as if all its scenes were equally large."""
        return len({scene.folder for scene in self.missing.values()}) / max(self.num_scenes, 1)

    def needed_bytes(self, archives: Path) -> dict[Path, int]:
        """Return how many bytes more the archive and its missing scenes will take, by path.

        The index of an archive that has been fetched states the size of its scenes. Before that, and for tar files, a
        scene counts as its share of the archive's length, because images hardly shrink. An undeclared length counts as
        0.
        """
        target, remote = archives / self.name, remote_file(self.entry)
        there = target.is_file()
        length = target.stat().st_size if there else remote.size_bytes or 0
        needed = {} if there else {target: max(length - partial_bytes(remote, target), 0)}
        for scene in self.missing.values():
            claimed = unpacked_bytes(target, scene.member) if there else None
            needed[scene.folder] = length // max(self.num_scenes, 1) if claimed is None else claimed
        return needed if self.missing else {}


def wanted_archives(
    datasets: Sequence[DatasetConfig], scenes: Collection[str], archives: Path
) -> dict[str, WantedArchive]:
    """List the archives that contain the scenes, by file name; datasets that share an archive share the entry.

    Args:
        scenes: as ``scene`` or ``dataset/scene``; all scenes if empty.
        archives: folder where fetched archives are kept.

    Raises:
        ConfigError: a scene is unknown, or two datasets declare one archive differently.
    """
    known = {name for dataset in datasets for scene in dataset.scenes for name in (scene, f"{dataset.id}/{scene}")}
    for name in scenes:
        if name not in known:
            raise ConfigError(f"no data set given has the scene '{name}'", f"known: {', '.join(sorted(known))}")
    found: dict[str, WantedArchive] = {}
    members: dict[str, set[str]] = {}
    for dataset in agreed(datasets):
        for scene in dataset.scenes.values():
            asked = not scenes or scene.id in scenes or f"{dataset.id}/{scene.id}" in scenes
            for archive in scene.archives:
                members.setdefault(archive.name, set()).add(scene.source.path)
                if asked:
                    _add(found, scene, archive, archives)
    return {name: replace(archive, num_scenes=len(members[name])) for name, archive in found.items()}


def fetch_archives(
    wanted: Mapping[str, WantedArchive], archives: Path, events: EventLog, only: str | None = None
) -> list[dict[str, Any]]:
    """Fetch the archives that some scene still needs.

    The disk must have room for everything that is missing, unpacked scenes included. This is checked before anything
    is fetched, and again after each archive, because its index is then known.

    Args:
        only: name of the one archive to fetch; another process fetches the others, which need room in addition.

    Returns:
        A record of each archive with ``archive`` and ``in_place``. The record of a fetched one also contains ``file``,
        ``size_bytes`` and ``sha256``.

    Raises:
        SceneError: as ``http.fetch``.
        ConfigError: a scene cannot be unpacked where it belongs.
        DeviceError: the disk has no room.
    """
    chosen = [archive for name, archive in wanted.items() if only in (None, name)]
    for archive in chosen:
        for scene in archive.missing.values():
            check_can_be_made(scene.folder)
    _check_room(wanted, archives)
    records = []
    for archive in chosen:
        record: dict[str, Any] = {"archive": archive.name, "in_place": dict(archive.in_place)}
        if archive.missing:
            target = archives / archive.name
            events.write("fetch", file=str(target), url=archive.entry.url)
            fetch(remote_file(archive.entry), target, events)
            _check_room(wanted, archives)
            size_bytes = target.stat().st_size
            record |= {"file": str(target), "size_bytes": size_bytes, "sha256": fetched_sha256(target)}
        records.append(record)
    return records


def fetch_asset(asset: Asset, events: EventLog, folder: Path = DEFAULT_FOLDER) -> Path:
    """Return the path of an asset; fetch it into ``folder`` if it is missing.

    Raises:
        AssetError: the asset has no address, no address returned it, or the existing file is altered.
        DeviceError: the disk has no room.
    """
    try:
        return find_asset(asset.id)
    except MissingAssetError:
        if not asset.urls:
            raise
    target = folder / asset.file
    by_hand = f"fetch it by hand from {asset.origin} and put it at {{target}}"
    remote = RemoteFile(asset.urls, asset.size_bytes, asset.sha256, by_hand, AssetError)
    events.write("fetch", file=str(target), url=asset.urls[0])
    fetch(remote, target, events)
    return target


def pin_archives(file: Path, dataset: DatasetConfig, archives: Path) -> list[str]:
    """Write size and SHA-256 of the fetched archives into the dataset's file, where it states none.

    Returns:
        Names of the archives whose size and checksum this call has written.

    Raises:
        ConfigError: an entry lacks the lines ``size_bytes:`` and ``sha256:`` to write to.
    """
    text = file.read_text(encoding="utf-8")
    pinned = []
    for archive in dataset.archives:
        target = archives / archive.name
        if archive.sha256 is None and target.is_file():
            text = _pinned(text, file, archive.url, target.stat().st_size, fetched_sha256(target))
            pinned.append(target.name)
    if pinned:
        write_text(file, text)
    return pinned


def _pinned(text: str, file: Path, url: str, size_bytes: int, sha256: str) -> str:
    """Put both values into the entry of ``url``; remove a comment there that said why they are missing."""
    start = text.index(url)
    following = re.compile(r"\n *- *url:").search(text, start)
    end = following.start() if following else len(text)
    head, entry, tail = text[:start], text[start:end], text[end:]
    for key, value in (("size_bytes", str(size_bytes)), ("sha256", f"{sha256}  # as first fetched")):
        entry, changed = re.subn(rf"(?m)^( +{key}: )(null|\d+)\b.*$", rf"\g<1>{value}", entry, count=1)
        if not changed:
            raise ConfigError(f"{file}: the archive {url} has no line '{key}: null'", f"add '{key}: {value}' by hand")
    return head + entry + tail


def _check_room(wanted: Mapping[str, WantedArchive], archives: Path) -> None:
    needed: dict[Path, int] = {}
    for archive in wanted.values():
        needed |= archive.needed_bytes(archives)
    check_room(needed)


def _add(found: dict[str, WantedArchive], scene: SceneConfig, entry: Archive, archives: Path) -> None:
    full, folder = f"{scene.dataset}/{scene.id}", find_capture(scene, archives)
    known = found.get(entry.name, WantedArchive(entry.name, entry, {}, {}))
    if folder.exists():
        found[entry.name] = replace(known, in_place={**known.in_place, full: str(folder)})
    else:
        missing = MissingScene(scene.source.path, folder)
        found[entry.name] = replace(known, missing={**known.missing, full: missing})
