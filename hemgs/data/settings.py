"""A dataset's YAML as typed settings for one of its scenes.

Owns the ranges and meanings of the keys that decide a prepared scene. Does not own the file's schema (checked before it
gets here), a scene's overrides (``config.dataset``) nor any reading of captures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hemgs.config.dataset import scene_config
from hemgs.core.errors import ConfigError

SOURCE_KINDS = ("colmap", "blender", "procedural")
FILTERS = ("nearest", "box", "bilinear", "bicubic", "lanczos")
PRINCIPAL_POINTS = ("as_given", "centered")
#: Fewer views than this do not constrain a scene.
MIN_VIEWS = 8


@dataclass(frozen=True)
class Protocol:
    """How views are made from stored images, and which of them are held out.

    Attributes:
        max_width: wider images are scaled down to this width; ``None`` for no limit.
        scale: factor on both sides, applied before ``max_width``.
        filter: resampling filter of Pillow.
        split_kind: ``every_nth`` (sorted by name, every ``split_n``-th view from the first is a test view) or ``files``
            (the capture says).
        background: display colour in [0, 1] behind transparent pixels and around the scene.
        principal_point: ``as_given``, or ``centered`` in the image as some published pipelines assume.
        min_views: fewer registered views are an error.
    """

    max_width: int | None = None
    scale: float = 1.0
    filter: str = "bicubic"
    split_kind: str = "every_nth"
    split_n: int = 8
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    principal_point: str = "as_given"
    min_views: int = MIN_VIEWS

    @staticmethod
    def of(values: Mapping[str, Any]) -> Protocol:
        """Reads the ``protocol`` section.

        Raises:
            ConfigError: an unknown key or a value out of range.
        """
        known = {"max_width", "scale", "filter", "split", "background", "principal_point", "min_views"}
        _check_keys("protocol", values, known)
        split = values.get("split", {"kind": "every_nth", "n": 8})
        if not isinstance(split, Mapping):
            raise _bad("protocol.split", split, "a mapping such as {kind: every_nth, n: 8}")
        _check_keys("protocol.split", split, {"kind", "n"})
        background = values.get("background", (0.0, 0.0, 0.0))
        if not isinstance(background, list | tuple) or len(background) != 3 or not all(map(_in_unit, background)):
            raise _bad("protocol.background", background, "three numbers in [0, 1]")
        max_width, scale = values.get("max_width"), values.get("scale", 1.0)
        if max_width is not None and not _whole(max_width, 1):
            raise _bad("protocol.max_width", max_width, "a positive whole number or null")
        if not _number(scale) or not 0 < scale <= 1:
            raise _bad("protocol.scale", scale, "a number above 0 and at most 1")
        n, min_views = split.get("n", 8), values.get("min_views", MIN_VIEWS)
        if not _whole(n, 2):
            raise _bad("protocol.split.n", n, "a whole number of at least 2")
        if not _whole(min_views, 2):
            raise _bad("protocol.min_views", min_views, "a whole number of at least 2")
        return Protocol(
            max_width=max_width,
            scale=float(scale),
            filter=_one_of("protocol.filter", values.get("filter", "bicubic"), FILTERS),
            split_kind=_one_of("protocol.split.kind", split.get("kind", "every_nth"), ("every_nth", "files")),
            split_n=n,
            background=(float(background[0]), float(background[1]), float(background[2])),
            principal_point=_one_of(
                "protocol.principal_point", values.get("principal_point", "as_given"), PRINCIPAL_POINTS
            ),
            min_views=min_views,
        )

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """The prepared size of an image: both sides times one exact factor, rounded down (3DGS, released code)."""
        factor = Fraction(repr(self.scale))
        if self.max_width is not None:
            factor = min(factor, Fraction(self.max_width, width))
        return int(width * factor), int(height * factor)

    def as_json(self) -> dict[str, Any]:
        """The protocol as applied, for ``scene.json``."""
        split = {"kind": self.split_kind} | ({"n": self.split_n} if self.split_kind == "every_nth" else {})
        return {
            "max_width": self.max_width,
            "scale": self.scale,
            "filter": self.filter,
            "split": split,
            "background": list(self.background),
            "principal_point": self.principal_point,
            "min_views": self.min_views,
        }


@dataclass(frozen=True)
class InitialPoints:
    """Where training starts: ``sfm`` (the capture's points) or ``random`` (uniform in a cube, grey)."""

    kind: str = "sfm"
    num_points: int = 10_000
    low: float = -1.3
    high: float = 1.3
    seed: int = 0

    @staticmethod
    def of(values: Mapping[str, Any]) -> InitialPoints:
        """Reads the ``initial_points`` section.

        Raises:
            ConfigError: an unknown key or a value out of range.
        """
        _check_keys("initial_points", values, {"kind", "num_points", "low", "high", "seed"})
        points = InitialPoints(**values)
        _one_of("initial_points.kind", points.kind, ("sfm", "random"))
        if not _whole(points.num_points, 1):
            raise _bad("initial_points.num_points", points.num_points, "a positive whole number")
        if not _number(points.low) or not _number(points.high) or not points.low < points.high:
            raise _bad("initial_points.low, high", (points.low, points.high), "two numbers, low below high")
        if not _whole(points.seed, 0):
            raise _bad("initial_points.seed", points.seed, "a whole number of at least 0")
        return points


@dataclass(frozen=True)
class SceneSettings:
    """All that preparing one scene needs.

    Attributes:
        source: the ``source`` section with the scene's overrides; ``path`` is the scene's folder inside ``local``.
        archives: what can be fetched, as listed under ``source.archives``.
    """

    dataset: str
    scene: str
    source: Mapping[str, Any]
    archives: Sequence[Mapping[str, Any]]
    protocol: Protocol
    initial_points: InitialPoints

    @staticmethod
    def of(dataset: Mapping[str, Any], scene_id: str) -> SceneSettings:
        """Settings of one scene of a data set's contents, the scene's overrides applied.

        Raises:
            ConfigError: an unknown scene, key or source kind, or a value out of range.
        """
        config = scene_config(dataset, scene_id)
        source = dict(config.source)
        _check_keys("source", source, {"kind", "local", "path", "images", "sparse", "resized_images", "procedural"})
        _one_of("source.kind", source.get("kind"), SOURCE_KINDS)
        return SceneSettings(
            config.dataset,
            scene_id,
            source,
            tuple(dataset["source"].get("archives", ())),
            Protocol.of(config.protocol),
            InitialPoints.of(config.initial_points),
        )


def _check_keys(where: str, values: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{where} has the unknown key {unknown[0]!r}", f"known keys are {', '.join(sorted(known))}")


def _one_of(where: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ConfigError(f"{where} is {value!r}", f"choose one of {', '.join(allowed)}")
    return str(value)


def _bad(where: str, value: object, wanted: str) -> ConfigError:
    return ConfigError(f"{where} is {value!r}", f"give {wanted}")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _in_unit(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
