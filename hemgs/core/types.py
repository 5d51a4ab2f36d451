"""The nouns of the project as plain data: cameras, views, scenes, rates, sections.

Owns the meaning of their fields. Does not own reading or writing them (``hemgs.data``, ``hemgs.coding``) and
knows nothing of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hemgs.core.errors import ConfigError

#: Spatial learning rates scale with this multiple of the camera rig's radius (3DGS, arXiv 2308.04079, released code).
EXTENT_MARGIN = 1.1

Split = Literal["train", "test"]
FitKind = Literal["single", "per_rate", "all_rates", "post"]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with OpenCV axes (x right, y down, z forward).

    Attributes:
        name: the view's name, unique in its scene.
        width, height: image size in pixels.
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels; pixel centres lie at half-integers.
        world_to_camera: ``[4, 4] float64`` rigid transform.
    """

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    world_to_camera: NDArray[np.float64]

    @property
    def center(self) -> NDArray[np.float64]:
        """Camera centre in world coordinates, ``[3] float64``."""
        rotation, translation = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return -rotation.T @ translation

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """Calibration matrix ``[3, 3] float64``."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class MaskFile:
    """The mask of a view: which pixels are trained on and measured.

    Attributes:
        file: path of the mask, relative to the scene's folder.
        sha256: checksum of the file, in hex.
        pixels_sha256: checksum of its size and decoded pixels, in hex.
    """

    file: str
    sha256: str
    pixels_sha256: str


@dataclass(frozen=True)
class View:
    """One image of a scene: its camera, its split and its file."""

    camera: Camera
    file: str  #: path of the image, relative to the scene's folder
    split: Split
    sha256: str  #: of the prepared image file
    mask: MaskFile | None = field(default=None, kw_only=True)  #: ``None`` where all pixels count

    @property
    def name(self) -> str:
        """The camera's name."""
        return self.camera.name


def _no_mask(view: View) -> None:
    """Return the mask of a view in a scene without masks."""


@dataclass(frozen=True)
class Scene:
    """A prepared scene, on which every method is trained and measured.

    Attributes:
        root: folder that contains ``scene.json``.
        dataset, scene: ids.
        views: sorted by name.
        points: ``[N, 3] float32`` initial points in world coordinates.
        point_colors: ``[N, 3] uint8``.
        background: RGB in [0, 1] behind everything.
        protocol: resize policy, split rule, background as applied, for provenance.
        hash: hash of pixels, cameras and points together.
        read_image: function that returns a view's image, ``[H, W, 3] float32`` in [0, 1].
        read_mask: function that returns a view's mask, ``[H, W] bool``, true for pixels that are trained on and
            measured; ``None`` where all of them are.
    """

    root: Path
    dataset: str
    scene: str
    views: tuple[View, ...]
    points: NDArray[np.float32]
    point_colors: NDArray[np.uint8]
    background: tuple[float, float, float]
    protocol: Mapping[str, Any]
    hash: str
    read_image: Callable[[View], NDArray[np.float32]] = field(repr=False, compare=False)
    read_mask: Callable[[View], NDArray[np.bool_] | None] = field(default=_no_mask, repr=False, compare=False)

    def split(self, name: Split) -> tuple[View, ...]:
        """Return the views of one split, sorted by name."""
        return tuple(view for view in self.views if view.split == name)

    @property
    def extent(self) -> float:
        """Radius of the training cameras about their centroid, times :data:`EXTENT_MARGIN`, world units."""
        centers = np.stack([view.camera.center for view in self.split("train")])
        return EXTENT_MARGIN * float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max())


@dataclass(frozen=True)
class Rate:
    """One operating point of a method.

    Paths and tables use ``id`` (``lmbda_0.0020``, or ``single`` for a method without a rate knob). ``lmbda`` is the
    number; it is absent for ``single``.
    """

    id: str
    lmbda: float | None = None

    def __post_init__(self) -> None:
        if self.lmbda is not None and not (math.isfinite(self.lmbda) and self.lmbda > 0):
            raise ValueError(f"lmbda must be a positive number, not {self.lmbda!r}")

    @staticmethod
    def of(lmbda: float) -> Rate:
        """Return the rate of a λ; its id has four decimals, or more if λ needs them.

        >>> Rate.of(0.002).id, Rate.of(0.00125).id
        ('lmbda_0.0020', 'lmbda_0.00125')
        """
        text = f"{lmbda:.4f}"
        return Rate(f"lmbda_{text if float(text) == lmbda else repr(float(lmbda))}", float(lmbda))


#: The only rate of a method without a rate knob.
SINGLE_RATE = Rate("single")


@dataclass(frozen=True)
class LmbdaInterval:
    """The λ that one model serves: every number from ``low`` to ``high``, both positive."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.high) and 0 < self.low < self.high):
            raise ValueError(f"an interval of λ must rise from a positive number, not {self.low!r} to {self.high!r}")

    def holds(self, lmbda: float) -> bool:
        """Return whether ``lmbda`` lies within."""
        return self.low <= lmbda <= self.high

    def check(self, lmbda: float) -> None:
        """Raise ConfigError if ``lmbda`` lies outside."""
        if not self.holds(lmbda):
            raise ConfigError(
                f"lmbda {lmbda:g} lies outside the interval that the model serves",
                f"choose one from {self.low:g} (largest file) to {self.high:g} (smallest file)",
            )


@dataclass(frozen=True)
class TradeOff:
    """The point on the rate–distortion curve at which a bitstream was encoded.

    Attributes:
        lmbda: λ; ``None`` for a method without a rate knob.
        interval: λ that its model serves; ``None`` for a model of one rate.
    """

    lmbda: float | None = None
    interval: LmbdaInterval | None = None

    def __post_init__(self) -> None:
        if self.lmbda is not None and not (math.isfinite(self.lmbda) and self.lmbda > 0):
            raise ValueError(f"lmbda must be a positive number, not {self.lmbda!r}")
        if self.interval is not None and (self.lmbda is None or not self.interval.holds(self.lmbda)):
            raise ValueError(f"lmbda {self.lmbda!r} lies outside its interval")


#: Trade-off of a method without a rate knob.
NO_TRADE_OFF = TradeOff()


@dataclass(frozen=True)
class SectionTable:
    """Bytes of a bitstream by section, in file order; they add up to the file's length.

    ``estimated_bits`` contains the ideal code length of each entropy-coded section under the model that coded it. The
    difference from the actual bits is the coder's overhead. ``figures`` contains counts from encoding, by name.
    """

    sections: Mapping[str, int]
    estimated_bits: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Length of the file."""
        return sum(self.sections.values())


@dataclass(frozen=True)
class MethodSpec:
    """Properties of a method that the workflow and the tables need before it runs.

    Attributes:
        id: lower snake_case; equals its folder, YAML and package name.
        label: for print.
        kind: ``single`` (no rate knob), ``per_rate`` (one training per rate), ``all_rates`` (one model serves
            every rate), ``post`` (no rate knob; starts from the Gaussians that another method has trained).
        attributes: attributes that a bitstream of this method codes, for the storage table.
        lmbda_interval: λ that one model serves; ``None`` unless the kind is ``all_rates``.
        sweep: λ at which a model is encoded by default; empty unless the kind is ``all_rates``.
    """

    id: str
    label: str
    kind: FitKind
    attributes: tuple[str, ...] = ()
    lmbda_interval: LmbdaInterval | None = None
    sweep: tuple[float, ...] = ()
