"""The settings section of every anchor codec, and its checks.

The section is compact JSON, deflated. A file may be forged, so every field is checked before anything is allocated.
Codecs extend :class:`AnchorHeader` with the sizes of their networks.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Self

from hemgs.anchor_codec import header_version_1
from hemgs.anchor_codec.settings import HALF, HEAD_BITS, LATER, MAX_WIDTH, SETTINGS_FIX, HashGridSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.coding.container import Container
from hemgs.core.bounded import check_integer, check_number, check_positive, parse_json
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.types import TradeOff

#: A settings section never inflates to more than this.
MAX_BYTES = 1 << 16
FIX = "get the file again from its source"
#: Metadata of a field that the container stores instead of the section.
IN_CONTAINER = {"in_container": True}


@dataclass(frozen=True, kw_only=True)
class AnchorHeader:
    """Settings of one bitstream that every anchor codec has.

    Attributes:
        trade_off: λ of the encoding, and the interval that its model serves.
        voxel_size: world units per lattice unit.
        strides: lattice units per stored location unit, by axis; 1 unless the scene spans more than 2^16 voxels.
        head_hidden: hidden width of the rendering heads.
        head_bits: bits of the heads' weights, from ``hemgs.anchor_codec.stored_networks``.
        viewpoints: camera centres for exports to plain Gaussians, x y z one after the other, world units.
        base_steps: quantisation steps before prediction.
    """

    trade_off: TradeOff = field(metadata=IN_CONTAINER)
    voxel_size: float
    strides: tuple[float, float, float]
    head_hidden: int
    viewpoints: tuple[float, ...]
    base_steps: BaseSteps
    head_bits: int = field(default=HALF, metadata=LATER)

    def to_bytes(self) -> bytes:
        """Return the section's bytes.

        Raises:
            ConfigError: no decoder accepts such a section.
        """
        try:
            self.check()
        except ValueError as fault:
            raise ConfigError(f"no decoder takes a file of these settings: {fault}", SETTINGS_FIX) from fault
        return zlib.compress(json.dumps(_written(self), separators=(",", ":"), sort_keys=True).encode(), 9)

    @classmethod
    def of_file(cls, container: Container) -> Self:
        """Read and check the settings of a file.

        Raises:
            BitstreamError: the file has no valid settings section, or one with values that no encoder writes.
        """
        try:
            raw, trade_off = _inflated(container.sections["settings"]), container.trade_off
            if container.version == 1:
                trade_off = header_version_1.upgrade(raw)
            parts: dict[str, Any] = {"base_steps": BaseSteps(**raw.pop("base_steps")), **cls.take_parts(raw)}
            header = cls(trade_off=trade_off, **parts, **{name: json_tuple(value) for name, value in raw.items()})
            header.check()
        except (zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
            raise BitstreamError(f"section settings is not valid ({fault})", FIX) from fault
        return header

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Remove the fields that are objects from ``raw``, and return the built objects; raise as ``check`` does."""
        return {}

    def check(self) -> None:
        """Raise ValueError for a value that no encoder writes."""
        steps = {f"base_steps.{name}": value for name, value in asdict(self.base_steps).items()}
        positive = {"lmbda": self.trade_off.lmbda, "voxel_size": self.voxel_size, **steps}
        positive |= {f"strides.{axis}": stride for axis, stride in enumerate(three(self.strides, "strides"))}
        for name, value in positive.items():
            check_positive(name, value)
        check_integer("head_hidden", self.head_hidden, 1, MAX_WIDTH)
        check_integer("head_bits", self.head_bits, min(HEAD_BITS), max(HEAD_BITS))
        if self.head_bits not in HEAD_BITS:
            raise ValueError(f"head_bits is {self.head_bits!r}, not one of {HEAD_BITS}")
        if not isinstance(self.viewpoints, tuple) or len(self.viewpoints) % 3 or len(self.viewpoints) > MAX_WIDTH:
            raise ValueError("viewpoints are not a list of points")
        for value in self.viewpoints:
            check_number("viewpoints", value)


def _inflated(section: bytes) -> dict[str, Any]:
    """Return the JSON object of a settings section; raise ValueError or zlib.error for anything else."""
    inflater = zlib.decompressobj()
    text = inflater.decompress(section, MAX_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("it is incomplete, too long, or followed by other data")
    raw = parse_json(text)
    if not isinstance(raw, dict):
        raise ValueError("it is not a JSON object")
    return raw


def _written(part: Any) -> dict[str, Any]:
    """Return the fields that the section stores of a dataclass and of the dataclasses in it.

    The container stores the fields marked :data:`IN_CONTAINER`. Fields marked :data:`LATER` are left out if they have
    their default value.
    """
    return {
        entry.name: _written(value) if is_dataclass(value) else value
        for entry in fields(part)
        if "in_container" not in entry.metadata
        and ((value := getattr(part, entry.name)) != entry.default or "later" not in entry.metadata)
    }


def check_bounds(low: Any, high: Any) -> None:
    """Raise ValueError unless ``low`` and ``high`` are bounds of a hash grid in stored location units."""
    for axis, (least, most) in enumerate(zip(three(low, "low"), three(high, "high"), strict=True)):
        check_integer(f"low.{axis}", least, -(1 << 32), 1 << 32)
        check_integer(f"high.{axis}", most, least + 1, 1 << 33)


def take_grid(raw: dict[str, Any]) -> HashGridSettings:
    """Remove the field ``grid`` from ``raw``, and return the built object; the caller must call its ``check``."""
    return HashGridSettings(**{name: json_tuple(value) for name, value in raw.pop("grid").items()})


def three(value: Any, name: str) -> tuple[Any, Any, Any]:
    """Return ``value``; raise ValueError unless it consists of three numbers."""
    if not isinstance(value, tuple) or len(value) != 3:
        raise ValueError(f"{name} is {value!r}, not three numbers")
    return value


def json_tuple(value: Any) -> Any:
    """Convert JSON arrays to tuples."""
    if isinstance(value, Mapping):
        raise ValueError("it contains an object in place of a number")
    return tuple(value) if isinstance(value, list) else value
