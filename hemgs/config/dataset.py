"""Data sets as their files describe them.

Owns the meaning of ``config/datasets/<id>.yaml``: scenes with their overrides applied, and paths with environment
variables. Does not own pixels (``hemgs.data``) or the selection of scenes (``hemgs.config.benchmark``).
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hemgs.core.errors import ConfigError
from hemgs.core.reading import closest, load_named

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
#: What of an archive may be left open, as null.
_PINS = ("size_bytes", "sha256")
_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class SceneConfig:
    """One scene with everything ``prepare_scene`` needs, overrides applied."""

    dataset: str
    id: str
    label: str
    source: Mapping[str, Any]  #: kind, local, path (inside local), images, sparse, procedural
    protocol: Mapping[str, Any]
    initial_points: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the prepared scene, and nothing else: a change of it means preparing again."""
        return {
            "source": dict(self.source),
            "protocol": dict(self.protocol),
            "initial_points": dict(self.initial_points),
        }


@dataclass(frozen=True)
class DatasetConfig:
    """One file of ``config/datasets``."""

    id: str
    label: str
    file: Path
    scenes: Mapping[str, SceneConfig]
    archives: tuple[Mapping[str, Any], ...]
    method_params: Mapping[str, Mapping[str, Any]]
    url: str = ""
    licence: str = ""
    citation: str = ""

    def archives_of(self, scene: str) -> tuple[Mapping[str, Any], ...]:
        """The archives that hold a scene."""
        return tuple(entry for entry in self.archives if scene in entry.get("scenes", (scene,)))


def load_dataset(path: Path) -> DatasetConfig:
    """Reads one data set file.

    Raises:
        ConfigError: unreadable, against the schema, or the id differs from the file's name.
    """
    data = load_named(Path(path), "dataset")
    return DatasetConfig(
        id=data["id"],
        label=data["label"],
        file=Path(path),
        scenes={scene_id: scene_config(data, scene_id) for scene_id in data["scenes"]},
        archives=tuple(data["source"].get("archives", ())),
        method_params=data.get("method_params", {}),
        url=data.get("url", ""),
        licence=data.get("licence", ""),
        citation=data.get("citation", ""),
    )


def scene_config(data: Mapping[str, Any], scene_id: str) -> SceneConfig:
    """One scene of a data set's contents, its overrides applied.

    Raises:
        ConfigError: there is no such scene.
    """
    if scene_id not in data["scenes"]:
        raise ConfigError(f"data set '{data['id']}' has no scene '{scene_id}'", closest(scene_id, data["scenes"]))
    scene = data["scenes"][scene_id] or {}
    source = {key: value for key, value in data["source"].items() if key != "archives"}
    return SceneConfig(
        dataset=data["id"],
        id=scene_id,
        label=scene.get("label", scene_id),
        source=_merged(source, {"path": scene.get("path", scene_id), **scene.get("source", {})}),
        protocol=_merged(data["protocol"], scene.get("protocol", {})),
        initial_points=_merged(data["initial_points"], scene.get("initial_points", {})),
    )


def load_datasets(files: Iterable[Path]) -> dict[str, DatasetConfig]:
    """Reads data set files, by id.

    Raises:
        ConfigError: as :func:`load_dataset`; also where two files describe the same id.
    """
    datasets: dict[str, DatasetConfig] = {}
    for path in files:
        dataset = load_dataset(path)
        if dataset.id in datasets:
            raise ConfigError(
                f"{path}: the data set '{dataset.id}' is also in {datasets[dataset.id].file}", "rename one of them"
            )
        datasets[dataset.id] = dataset
    return datasets


def agreed(datasets: Iterable[DatasetConfig]) -> list[DatasetConfig]:
    """Data sets with what they say together of the archives they share: one that leaves a value open takes the other's.

    Raises:
        ConfigError: two of them say different things of one archive; names both files.
    """
    datasets = list(datasets)
    said: dict[str, dict[str, tuple[Any, Path]]] = {}
    for dataset in datasets:
        for entry in dataset.archives:
            name = archive_name(entry["url"])
            values = {"url and mirrors": (entry["url"], *entry.get("mirrors", ()))}
            values |= {key: entry[key] for key in _PINS if entry.get(key) is not None}
            for key, value in values.items():
                known, file = said.setdefault(name, {}).setdefault(key, (value, dataset.file))
                if known != value:
                    raise ConfigError(
                        f"{file} and {dataset.file} declare {name} differently: {key} is {known} and {value}",
                        "say the same in both, or leave size_bytes and sha256 open (null) in one of them",
                    )
    return [
        replace(
            dataset, archives=tuple(_with_pins(entry, said[archive_name(entry["url"])]) for entry in dataset.archives)
        )
        for dataset in datasets
    ]


def _with_pins(entry: Mapping[str, Any], said: Mapping[str, tuple[Any, Path]]) -> dict[str, Any]:
    return {**entry, **{key: said[key][0] for key in _PINS if key in said}}


def archive_name(url: str) -> str:
    """File name for an address: its last part where that is an archive's name, else a digest of the address."""
    last = posixpath.basename(urllib.parse.urlsplit(url).path)
    if last.lower().endswith(_ARCHIVE_SUFFIXES) and re.fullmatch(r"[\w][\w.+-]*", last):
        return last
    return hashlib.sha256(url.encode()).hexdigest()[:16] + ".archive"


def expand_path(text: str, origin: str) -> Path:
    """A path with ``${NAME}`` and ``${NAME:-fallback}`` replaced from the environment.

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
    """The environment variables in such a path that are set: values by name."""
    return {name: os.environ[name] for name, _ in _VARIABLE.findall(text) if os.environ.get(name)}


def _merged(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides key by key; settings of the procedural scene, the only nested ones, likewise."""
    merged = {**settings, **overrides}
    if "procedural" in merged:
        merged["procedural"] = {**settings.get("procedural", {}), **overrides.get("procedural", {})}
    return merged
