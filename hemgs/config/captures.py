"""The folders of captures, and the archives that captures come from.

Owns paths with environment variables, the folder of a scene's capture, and the merging of archives that datasets share.
Does not own fetching or unpacking (``hemgs.data.fetch``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hemgs.config.dataset import Archive, DatasetConfig, SceneConfig
from hemgs.core.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
#: Fields of an archive that a file may leave open, as null.
_PINS = ("size_bytes", "sha256")


def expand_path(text: str, origin: str) -> Path:
    """Return a path with ``${NAME}`` and ``${NAME:-fallback}`` replaced from the environment.

    Raises:
        ConfigError: a variable is not set and has no fallback. ``origin`` names the file and key in the message.
    """

    def value(match: re.Match[str]) -> str:
        name, fallback = match.group(1), match.group(2)
        found = os.environ.get(name) or fallback
        if found is None:
            raise ConfigError(
                f"{origin}: '{text}' needs the environment variable {name}", f"set {name}, or write the folder itself"
            )
        return found

    return Path(_VARIABLE.sub(value, text)).expanduser()


def variables_of(text: str) -> dict[str, str]:
    """Return the values of the environment variables in such a path, by name; unset ones are left out."""
    return {name: os.environ[name] for name, _ in _VARIABLE.findall(text) if os.environ.get(name)}


def local_copy(scene: SceneConfig, archives: Path) -> Path:
    """Return the folder of a dataset's scenes, which unpacking may still have to fill, or a local archive of them.

    Args:
        scene: one of the scenes.
        archives: folder of downloaded archives.

    Raises:
        ConfigError: ``source.local`` is missing and the dataset has no archives; it names an unset variable; or the
            value of its variable is no existing path. Users set the variable to a copy that they have, and a typo in it
            must not start a download of gigabytes.
    """
    where, text = f"dataset '{scene.dataset}': source.local", scene.source.local
    if not text:
        if not scene.archives:
            raise ConfigError(f"{where} is missing", "set it to the folder that contains the scenes")
        return archives / scene.dataset
    local = expand_path(text, where)
    variables = variables_of(text)
    if variables and not local.exists():
        names = ", ".join(variables)
        fix = f"; unset {names} to download, or make that folder to have scenes unpacked there"
        raise ConfigError(
            f"{where} is {local}, which does not exist, since the environment has "
            + ", ".join(f"{name}={value}" for name, value in variables.items()),
            f"correct {names}{fix if scene.archives else ''}",
        )
    return local


def find_capture(scene: SceneConfig, archives: Path) -> Path:
    """Return the folder of a scene's capture, or a local archive of it. It may be missing if it can be downloaded.

    Raises:
        ConfigError: as in :func:`local_copy`; or the capture neither exists nor can be downloaded.
    """
    local = local_copy(scene, archives)
    folder = local if local.is_file() else local / scene.source.path
    if not folder.exists() and not scene.archives:
        raise ConfigError(
            f"dataset '{scene.dataset}': the capture {folder} of scene '{scene.id}' does not exist",
            "set source.local to the folder that contains it, and scenes.<id>.path to its folder in there",
        )
    return folder


def check_captures(scenes: Iterable[SceneConfig], archives: Path, prepared: Path) -> None:
    """Raise ConfigError for a scene whose capture neither exists nor can be downloaded, unless the scene is prepared.

    Args:
        scenes: scenes to prepare.
        archives: folder of downloaded archives.
        prepared: folder that contains prepared scenes as ``<dataset>/<scene>``.
    """
    for scene in scenes:
        if scene.source.kind != "procedural" and not (prepared / scene.dataset / scene.id).is_dir():
            find_capture(scene, archives)


def agreed(datasets: Iterable[DatasetConfig]) -> list[DatasetConfig]:
    """Return the datasets with equal values for the archives that they share; one dataset may fill the gaps of another.

    Raises:
        ConfigError: two datasets contradict each other about an archive. The error names both files.
    """
    datasets = list(datasets)
    said: dict[str, dict[str, tuple[Any, Path]]] = {}
    for dataset in datasets:
        for archive in dataset.archives:
            values: dict[str, Any] = {"url and mirrors": (archive.url, *archive.mirrors)}
            values |= {key: value for key in _PINS if (value := getattr(archive, key)) is not None}
            for key, value in values.items():
                known, file = said.setdefault(archive.name, {}).setdefault(key, (value, dataset.file))
                if known != value:
                    raise ConfigError(
                        f"{file} and {dataset.file} declare {archive.name} differently: {key} is {known} and {value}",
                        "give the same value in both, or leave size_bytes and sha256 open (null) in one of them",
                    )

    def pinned(archives: tuple[Archive, ...]) -> tuple[Archive, ...]:
        return tuple(
            archive.model_copy(update={key: said[archive.name][key][0] for key in _PINS if key in said[archive.name]})
            for archive in archives
        )

    return [
        replace(
            dataset,
            archives=pinned(dataset.archives),
            scenes={name: replace(scene, archives=pinned(scene.archives)) for name, scene in dataset.scenes.items()},
        )
        for dataset in datasets
    ]
