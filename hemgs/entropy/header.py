"""The settings section of a HEMGS bitstream: everything the decoder must know before the first symbol.

Compact JSON, deflated. What comes from a file is checked field by field before anything is allocated.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.entropy.hashgrid import HashGridSettings
from hemgs.entropy.model import EntropySettings
from hemgs.entropy.neighbours import ContextWindow
from hemgs.entropy.rate_predictor import MAX_OCTAVES
from hemgs.entropy.simulation import BaseSteps
from hemgs.pointnet.features import scene_agnostic_digest

#: A settings section never inflates to more than this.
MAX_BYTES = 1 << 16
#: Limits on sizes that a file may ask for, far above any published setting.
MAX_WIDTH, MAX_OFFSETS, MAX_LEVELS, MAX_LOG2_ENTRIES, MAX_RESOLUTION = 1024, 64, 32, 22, 1 << 15
MAX_WINDOW, MAX_MULTIPLIER = 255, 64
#: Eighteen times what the paper's setting has; few bytes may stand for many equal signs, and memory must not follow.
MAX_SIGNS = 1 << 24
_FIX = "get the file again from its source"


@dataclass(frozen=True)
class Header:
    """Settings of one bitstream.

    Attributes:
        lmbda: λ it was encoded at.
        rate: λ as the integer networks see it, units of ``2^-ACTIVATION_BITS``.
        voxel_size: world units per lattice unit.
        strides: lattice units per stored location unit, by axis; 1 unless the scene spans over 2^16 voxels.
        low, high: bounds of the hash grid in stored location units.
        head_hidden: hidden width of the rendering heads.
        viewpoints: camera centres for exports to plain Gaussians, x y z after each other, world units.
        base_steps: quantisation steps before prediction.
        entropy: sizes of the entropy model.
        scene_agnostic_sha256: of the frozen network's weights; empty without one.
    """

    lmbda: float
    rate: int
    voxel_size: float
    strides: tuple[float, float, float]
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    head_hidden: int
    viewpoints: tuple[float, ...]
    base_steps: BaseSteps
    entropy: EntropySettings
    scene_agnostic_sha256: str = ""

    def to_bytes(self) -> bytes:
        """The section."""
        return zlib.compress(json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode(), 9)

    @staticmethod
    def from_bytes(data: bytes) -> Header:
        """Reads and checks a section.

        Raises:
            BitstreamError: not a settings section, or values that no encoder writes.
        """
        try:
            inflater = zlib.decompressobj()
            text = inflater.decompress(data, MAX_BYTES)
            if not inflater.eof or inflater.unused_data:
                raise ValueError("it is cut, too long, or followed by other data")
            raw = json.loads(text)
            entropy = dict(raw.pop("entropy"))
            grid = HashGridSettings(**{name: _tuple(value) for name, value in entropy.pop("grid").items()})
            # Files from before there was a context have none.
            window = ContextWindow(**entropy.pop("window", {}))
            header = Header(
                base_steps=BaseSteps(**raw.pop("base_steps")),
                entropy=EntropySettings(grid=grid, window=window, **entropy),
                **{name: _tuple(value) for name, value in raw.items()},
            )
            header.check()
        except (zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
            raise BitstreamError(f"section settings is not valid ({fault})", _FIX) from fault
        return header

    def check(self) -> None:
        """Raises ValueError for a value that no encoder writes."""
        steps = {f"base_steps.{name}": value for name, value in asdict(self.base_steps).items()}
        positive = {"lmbda": self.lmbda, "voxel_size": self.voxel_size, **steps}
        positive |= {f"strides.{axis}": stride for axis, stride in enumerate(_three(self.strides, "strides"))}
        for name, value in positive.items():
            if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise ValueError(f"{name} is {value!r}, not a positive number")
        _integer("rate", self.rate, 0, 1 << ACTIVATION_BITS)
        _integer("head_hidden", self.head_hidden, 1, MAX_WIDTH)
        if not isinstance(self.viewpoints, tuple) or len(self.viewpoints) % 3 or len(self.viewpoints) > MAX_WIDTH:
            raise ValueError("viewpoints are not a list of points")
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in self.viewpoints):
            raise ValueError("viewpoints are not finite numbers")
        for axis, (low, high) in enumerate(zip(_three(self.low, "low"), _three(self.high, "high"), strict=True)):
            _integer(f"low.{axis}", low, -(1 << 32), 1 << 32)
            _integer(f"high.{axis}", high, low + 1, 1 << 33)
        if type(self.entropy.rate_octaves) is not float or not 0 < self.entropy.rate_octaves <= MAX_OCTAVES:
            raise ValueError(f"rate_octaves is {self.entropy.rate_octaves!r}, not a number up to {MAX_OCTAVES}")
        others = {"grid", "rate_octaves", "scene_agnostic", "window"}
        sizes = {f.name: getattr(self.entropy, f.name) for f in fields(self.entropy) if f.name not in others}
        for name, value in sizes.items():
            lowest = 0 if name.endswith("_context") else 1
            _integer(name, value, lowest, MAX_OFFSETS if name == "num_offsets" else MAX_WIDTH)
        _check_grid(self.entropy.grid)
        _check_window(self.entropy.window)
        if type(self.entropy.scene_agnostic) is not str or type(self.scene_agnostic_sha256) is not str:
            raise ValueError("scene_agnostic is not a name")

    def check_assets(self) -> None:
        """Raises BitstreamError if this installation's frozen network is not the one that the file was made with."""
        asset = self.entropy.scene_agnostic
        try:
            digest = scene_agnostic_digest(asset) if asset else ""
        except ConfigError as fault:
            raise BitstreamError(f"section settings: {fault.message}", _FIX) from fault
        if digest != self.scene_agnostic_sha256:
            raise BitstreamError(
                f"the file was made with weights {self.scene_agnostic_sha256[:12]!r} of {asset!r}, not {digest[:12]!r}",
                "decode it with the version of this package that made it, or encode the model again",
            )


def _check_grid(grid: HashGridSettings) -> None:
    _integer("features", grid.features, 1, 16)
    for dimensions in ("3d", "2d"):
        _integer(f"log2_entries_{dimensions}", getattr(grid, f"log2_entries_{dimensions}"), 3, MAX_LOG2_ENTRIES)
        resolutions = getattr(grid, f"resolutions_{dimensions}")
        if not isinstance(resolutions, tuple) or len(resolutions) > MAX_LEVELS:
            raise ValueError(f"resolutions_{dimensions} is {resolutions!r}")
        for resolution in resolutions:
            _integer(f"resolutions_{dimensions}", resolution, 3, MAX_RESOLUTION)
    _integer("signs of the hash grid", sum(level.entries for level in grid.levels) * grid.features, 0, MAX_SIGNS)


def _check_window(window: ContextWindow) -> None:
    _integer("window.size", window.size, 3, MAX_WINDOW)
    _integer("window.max_neighbours", window.max_neighbours, 0, MAX_WIDTH)
    _integer("window.multiplier", window.multiplier, 1, MAX_MULTIPLIER)


def _integer(name: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, not an integer from {low} to {high}")


def _three(value: Any, name: str) -> tuple[Any, Any, Any]:
    if not isinstance(value, tuple) or len(value) != 3:
        raise ValueError(f"{name} is {value!r}, not three numbers")
    return value


def _tuple(value: Any) -> Any:
    """JSON arrays as the tuples they were."""
    if isinstance(value, Mapping):
        raise ValueError("an object stands where a number belongs")
    return tuple(value) if isinstance(value, list) else value
