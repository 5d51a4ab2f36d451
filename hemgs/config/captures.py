"""Where the captures of datasets lie, and the archives that they come from.

Owns paths with environment variables, the folder of a scene's capture, and what datasets say together of one archive.
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
#: What of an archive may be left open, as null.
_PINS = ("size_bytes", "sha256")


def expand_path(text: str, origin: str) -> Path:
    """Return a path with ``${NAME}`` and ``${NAME:-fallback}`` replaced from the environment.

    Raises:
        ConfigError: a variable is not set and has no fallback; ``origin`` names where it stands.
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
    """Return the environment variables in such a path that are set: values by name."""
    return {name: os.environ[name] for name, _ in _VARIABLE.findall(text) if os.environ.get(name)}


def local_copy(scene: SceneConfig, archives: Path) -> Path:
    """Return the folder that contains a dataset's scenes, now or once unpacked; or a local archive of them.

    Args:
        scene: one of the scenes.
        archives: folder where archives are kept once fetched.

    Raises:
        ConfigError: ``source.local`` is missing where there is nothing to fetch, or names an unset variable, or takes
            one that leads nowhere: who sets it has a copy, and a slip in it must not download gigabytes.
    """
    where, text = f"dataset '{scene.dataset}': source.local", scene.source.local
    if not text:
        if not scene.archives:
            raise ConfigError(f"{where} is missing", "set it to the folder that holds the scenes")
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
    """Return the folder of a scene's capture, or a local archive of it; it need not exist where it can be fetched.

    Raises:
        ConfigError: as :func:`local_copy`; also where the capture neither exists nor can be fetched.
    """
    local = local_copy(scene, archives)
    folder = local if local.is_file() else local / scene.source.path
    if not folder.exists() and not scene.archives:
        raise ConfigError(
            f"dataset '{scene.dataset}': the capture {folder} of scene '{scene.id}' does not exist",
            "set source.local to the folder that holds it, and scenes.<id>.path to its folder in there",
        )
    return folder


def check_captures(scenes: Iterable[SceneConfig], archives: Path, prepared: Path) -> None:
    """Raise ConfigError for a scene whose capture neither exists nor can be fetched, unless the scene is prepared.

    Args:
        scenes: those that will be prepared.
        archives: folder where archives are kept once fetched.
        prepared: folder that contains prepared scenes as ``<dataset>/<scene>``.
    """
    for scene in scenes:
        if scene.source.kind != "procedural" and not (prepared / scene.dataset / scene.id).is_dir():
            find_capture(scene, archives)


def agreed(datasets: Iterable[DatasetConfig]) -> list[DatasetConfig]:
    """Return datasets that agree on the archives they share: one that leaves a value open takes the other's.

    Raises:
        ConfigError: two of them say different things of one archive; names both files.
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
                        "say the same in both, or leave size_bytes and sha256 open (null) in one of them",
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
