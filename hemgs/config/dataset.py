"""Datasets: the keys of their files, and the resulting settings of each scene.

Owns ``config/datasets/<id>.yaml``: keys with their ranges, scenes with their overrides applied, and the size of a
prepared image. Does not own the places of captures (``hemgs.config.captures``), pixels (``hemgs.data``) or the
selection of scenes (``hemgs.config.benchmark``).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, StringConstraints
from pydantic import model_validator as check

from hemgs.config.fields import LIST, Id, MethodParams, Text
from hemgs.core.errors import ConfigError
from hemgs.core.reading import RefusedError, Section, checked, closest
from hemgs.core.yaml_files import load_yaml

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

Address = Annotated[str, StringConstraints(pattern="^https?://")]
SourceKind = Annotated[
    Literal["colmap", "blender", "procedural"],
    Field(
        description="Layout of a scene's folder: colmap (images and a sparse model), blender (transforms_*.json "
        "with RGBA images) or procedural (made by this project; no folder needed)."
    ),
]
MaxWidth = Annotated[int | None, Field(ge=16, description="Images wider than this are scaled to it; null leaves them.")]
Channel = Annotated[float, Field(ge=0, le=1)]
Background = Annotated[
    tuple[Channel, Channel, Channel],
    LIST,
    Field(description="RGB in [0, 1] behind the scene; images with an alpha channel are composed over it."),
]
Layout = Literal["court", "garden"]


class Procedural(Section):
    """The scene to make (procedural only)."""

    layout: Layout | None = None
    """Name of a built-in layout; the id of the scene when absent."""
    num_views: Annotated[int, Field(ge=8)] = 40
    """Cameras on the path, test views included."""
    width: Annotated[int, Field(ge=16)] = 160
    """Pixels."""
    height: Annotated[int, Field(ge=16)] = 120
    """Pixels."""
    num_points: Annotated[int, Field(ge=1)] = 4000
    """Initial points sampled from visible surfaces."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the layout, the cameras and the points."""


class SourceKeys(Section):
    """Keys of source that may differ for a scene."""

    kind: SourceKind = "colmap"
    local: Text = ""
    """Folder that contains the scenes. ${NAME} is an environment variable, ${NAME:-text} falls back to text. A relative
    path starts at the folder in which the workflow runs."""
    images: str = "images"
    """Folder of the images inside a scene's folder (colmap only)."""
    sparse: Text | None = None
    """Folder of the COLMAP model, binary or text, inside a scene's folder (colmap only); sparse/0 when absent, and then
    a larger model next to it is an error."""
    masks: Text | None = "masks"
    """Folder of masks inside a scene's folder, named as for COLMAP (colmap only); it need not exist. Pixels that are 0
    in an image's mask are neither trained on nor measured. null ignores all masks, also those of transforms.json."""
    resized_images: bool = False
    """Whether the images were resized after their cameras were calibrated (colmap only): cameras are then scaled to
    them, axis by axis. Without it, an image of another size than its camera is an error."""
    procedural: Procedural = Procedural()


class SceneSource(SourceKeys):
    """Origin of the pixels, cameras and points of one scene."""

    kind: SourceKind
    path: str
    """The scene's folder inside `local`."""


class Archive(Section):
    """A file to fetch and unpack."""

    url: Address
    """First address to try."""
    mirrors: Annotated[tuple[Address, ...], LIST] = ()
    """Further addresses of the same file, in order."""
    size_bytes: Annotated[int | None, Field(ge=1)] = None
    """Length of the file; null where nobody states it, or where another dataset with the same file states it."""
    sha256: Annotated[str | None, StringConstraints(pattern="^[0-9a-f]{64}$")] = None
    """Checksum of the file; null where nobody publishes it, or where another dataset with the same file states it."""
    scenes: Annotated[tuple[Id, ...], LIST] | None = None
    """Scenes in this file; all scenes when absent."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return archive_name(self.url)

    def holds(self, scene: str) -> bool:
        """Return whether the archive contains a scene of the dataset."""
        return self.scenes is None or scene in self.scenes


class Source(SourceKeys):
    """Origin of the pixels, cameras and points."""

    kind: SourceKind
    archives: Annotated[tuple[Archive, ...], LIST] = ()
    """Files to fetch and unpack into `local`."""


class EveryNth(Section):
    """Views sorted by name; those whose index is divisible by n are test views."""

    kind: Literal["every_nth"]
    """Views sorted by name; those whose index is divisible by n are test views."""
    n: Annotated[int, Field(ge=2)]
    """Distance between test views."""


class SplitFiles(Section):
    """The split that comes with the data."""

    kind: Literal["files"]
    """The split that comes with the data: transforms_train.json and transforms_test.json, or train_filenames and
    test_filenames in transforms.json."""


Split = Annotated[
    EveryNth | SplitFiles, Field(discriminator="kind", description="Rule for the views that are held out for testing.")
]


class ProtocolKeys(Section):
    """Keys of protocol that may differ for a scene."""

    max_width: MaxWidth = None
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the image's sides, applied before max_width."""
    filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bicubic"
    """Resampling filter, by its Pillow name."""
    split: Split = EveryNth(kind="every_nth", n=8)
    background: Background = (0.0, 0.0, 0.0)
    principal_point: Literal["as_given", "centered"] = "as_given"
    """as_given keeps the camera model's principal point, centered puts it in the middle of the image."""
    min_views: Annotated[int, Field(ge=2)] = 8
    """A scene with fewer views is an error: too few views do not constrain its geometry."""


class Protocol(ProtocolKeys):
    """The steps that prepare images, once, before any method reads them."""

    max_width: MaxWidth
    split: Split
    background: Background

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return an image's prepared size: both sides times one exact factor, rounded down (3DGS, released code)."""
        factor = Fraction(repr(self.scale))
        if self.max_width is not None:
            factor = min(factor, Fraction(self.max_width, width))
        return int(width * factor), int(height * factor)


class SfmPoints(Section):
    """The points that come with the capture."""

    kind: Literal["sfm"]
    """The points of the COLMAP model or of points3D.ply in its folder, of the PLY file that transforms.json names or
    that is next to it, or of the procedural scene."""


class RandomPoints(Section):
    """Points that are uniform in a cube, grey."""

    kind: Literal["random"]
    """Uniform in a cube."""
    num_points: Annotated[int, Field(ge=1)]
    """Number of points."""
    low: Annotated[float, Field(allow_inf_nan=False)]
    """Lower corner of the cube on each axis."""
    high: Annotated[float, Field(allow_inf_nan=False)]
    """Upper corner of the cube on each axis."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the generator."""

    @check(mode="after")
    def _low_below_high(self) -> Self:
        if not self.low < self.high:
            raise RefusedError("give a low below high")
        return self


InitialPoints = Annotated[
    SfmPoints | RandomPoints, Field(discriminator="kind", description="The points that methods start from.")
]


class SceneKeys(Section):
    """A scene, with the keys that it replaces."""

    path: str = ""
    """The scene's folder inside `local`; the scene's id when absent."""
    label: str = ""
    """Name used in print; the id when absent."""
    source: SourceKeys = SourceKeys()
    """Keys of source that differ for this scene."""
    protocol: ProtocolKeys = ProtocolKeys()
    """Keys of protocol that differ for this scene."""
    initial_points: InitialPoints = SfmPoints(kind="sfm")


class DatasetFile(Section):
    """One file of workflow/config/datasets/. A dataset is a list of scenes that share an origin and a protocol."""

    id: Id
    """Name used in paths and selections; equals the file's name."""
    label: Text
    """Name used in print."""
    url: str = ""
    """Home page of the data."""
    licence: str = ""
    """The permission that the owners of the data give, in their words, or a note that they state none."""
    citation: str = ""
    """Paper to cite when the data is used."""
    source: Source
    protocol: Protocol
    initial_points: InitialPoints
    scenes: Annotated[dict[Id, SceneKeys], Field(min_length=1)]
    """The scenes by id. A scene may replace single keys of source, protocol and initial_points."""
    method_params: MethodParams = Field(default_factory=dict)
    """Settings of methods that belong to this dataset, by method id, over the method's own file. `all_methods` is for
    settings that every method has, such as iterations."""


@dataclass(frozen=True)
class SceneConfig:
    """One scene with everything ``prepare_scene`` needs, overrides applied.

    Attributes:
        archives: archives that contain the scene.
        settings: exactly the settings that decide the prepared scene, as in the file. If they change, the scene is
            prepared again.
    """

    dataset: str
    id: str
    label: str
    source: SceneSource
    protocol: Protocol
    initial_points: SfmPoints | RandomPoints
    archives: tuple[Archive, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class DatasetConfig:
    """One file of ``config/datasets``."""

    id: str
    label: str
    file: Path
    scenes: Mapping[str, SceneConfig]
    archives: tuple[Archive, ...]
    method_params: Mapping[str, Mapping[str, Any]]
    url: str = ""
    licence: str = ""
    citation: str = ""


def load_dataset(path: Path) -> DatasetConfig:
    """Read one dataset file.

    Raises:
        ConfigError: the file cannot be read, a key or value cannot be used, or the id differs from the file's name.
    """
    return dataset_of(load_named(path, DatasetFile), Path(path))


def load_named(path: Path, kind: type[Section]) -> dict[str, Any]:
    """Read a file whose name is the ``id`` in it, and check it against a model.

    Raises:
        ConfigError: as in :func:`load_yaml` and :func:`checked`; or name and id differ.
    """
    data = load_yaml(path)
    checked(kind, data, str(path))
    if data["id"] != path.stem:
        raise ConfigError(f"{path}: 'id' is '{data['id']}'", f"make it '{path.stem}', or rename the file")
    return data


def dataset_of(data: Mapping[str, Any], file: Path) -> DatasetConfig:
    """Return the dataset that a file's contents describe.

    Raises:
        ConfigError: a key or value cannot be used. The error names ``file``.
    """
    own: DatasetFile = checked(DatasetFile, data, str(file))
    return DatasetConfig(
        id=own.id,
        label=own.label,
        file=file,
        scenes={scene: _scene(data, own, scene, file) for scene in own.scenes},
        archives=own.source.archives,
        method_params=own.method_params,
        url=own.url,
        licence=own.licence,
        citation=own.citation,
    )


def scene_of(data: Mapping[str, Any], scene: str) -> SceneConfig:
    """Return one scene of a dataset file's contents.

    Raises:
        ConfigError: as in :func:`dataset_of`; or the dataset has no such scene.
    """
    scenes = dataset_of(data, Path(f"{data.get('id', 'dataset')}.yaml")).scenes
    if scene not in scenes:
        raise ConfigError(f"dataset '{data['id']}' has no scene '{scene}'", closest(scene, scenes))
    return scenes[scene]


def _scene(data: Mapping[str, Any], own: DatasetFile, scene: str, file: Path) -> SceneConfig:
    keys, overrides, where = own.scenes[scene], data["scenes"][scene], f"{file}: scenes.{scene}"
    source = {key: value for key, value in data["source"].items() if key != "archives"}
    settings = {
        "source": _merged(source, {"path": keys.path or scene, **overrides.get("source", {})}),
        "protocol": _merged(data["protocol"], overrides.get("protocol", {})),
        "initial_points": _merged(data["initial_points"], overrides.get("initial_points", {})),
    }
    merged: SceneSource = checked(SceneSource, settings["source"], f"{where}.source")
    if merged.kind == "procedural" and not merged.procedural.layout and scene not in get_args(Layout):
        raise ConfigError(
            f"{where}: source.procedural has no layout, and there is none named '{scene}'",
            closest(scene, get_args(Layout)),
        )
    return SceneConfig(
        dataset=own.id,
        id=scene,
        label=keys.label or scene,
        source=merged,
        protocol=checked(Protocol, settings["protocol"], f"{where}.protocol"),
        initial_points=checked(InitialPoints, settings["initial_points"], f"{where}.initial_points"),
        archives=tuple(archive for archive in own.source.archives if archive.holds(scene)),
        settings=settings,
    )


def load_datasets(files: Iterable[Path]) -> dict[str, DatasetConfig]:
    """Read dataset files, by id.

    Raises:
        ConfigError: as in :func:`load_dataset`; or two files have the same id.
    """
    datasets: dict[str, DatasetConfig] = {}
    for path in files:
        dataset = load_dataset(path)
        if dataset.id in datasets:
            raise ConfigError(
                f"{path}: the dataset '{dataset.id}' is also in {datasets[dataset.id].file}", "rename one of them"
            )
        datasets[dataset.id] = dataset
    return datasets


def archive_name(url: str) -> str:
    """Return a file name for an address: its last part if that names an archive, else a digest of the address."""
    last = posixpath.basename(urllib.parse.urlsplit(url).path)
    if last.lower().endswith(_ARCHIVE_SUFFIXES) and re.fullmatch(r"[\w][\w.+-]*", last):
        return last
    return hashlib.sha256(url.encode()).hexdigest()[:16] + ".archive"


def _merged(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Override key by key, also in the settings of the procedural scene, which are the only nested ones."""
    merged = {**settings, **overrides}
    if "procedural" in merged:
        merged["procedural"] = {**settings.get("procedural", {}), **overrides.get("procedural", {})}
    return merged
