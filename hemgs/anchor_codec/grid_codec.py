"""Codecs whose side information is a binary hash grid: HEMGS, HAC and HAC++.

The grid's signs precede the networks. Owns the settings of the grid, and its section. Does not own the networks'
predictions or the order in which anchors are coded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hemgs.anchor_codec.codec import AnchorCodec, C, CodecHeader, Side
from hemgs.anchor_codec.file import Places
from hemgs.anchor_codec.header import check_bounds, take_grid
from hemgs.anchor_codec.location_grid import UNUSED_SIGN, decode_grid, encode_grid, stored_bounds, used_entries
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchors.model import AnchorModel


@dataclass(frozen=True, kw_only=True)
class GridHeader(CodecHeader):
    """Settings of a bitstream with a hash grid; ``entropy.grid`` contains the grid's sizes.

    Attributes:
        low, high: bounds of the hash grid in stored location units.
    """

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        entropy = dict(raw.pop("entropy"))
        return {"entropy": cls.Settings(grid=take_grid(entropy), **entropy)}

    def check(self) -> None:
        super().check()
        check_bounds(self.low, self.high)

    @property
    def sparse(self) -> bool:
        """Whether files contain only those signs that some anchor's feature depends on."""
        return False


E = TypeVar("E", bound=torch.nn.Module)
H = TypeVar("H", bound=GridHeader)


class GridCodec(AnchorCodec[E, H, C]):
    """A codec with a hash grid; its entropy model has ``grid`` and the grid's bounds ``low`` and ``high``."""

    side_section = "hash_grid"
    side_first = True

    def own_fields(self, entropy: Any, strides: tuple[float, float, float]) -> dict[str, Any]:
        low, high = stored_bounds(entropy.low, entropy.high, strides)
        return {"low": low, "high": high}

    def side(self, anchors: AnchorModel, places: Places, entropy: Any) -> Side:
        signs: Side = entropy.grid.signs().cpu().numpy()
        return signs

    def encode_side(self, side: Side, header: H, locations: Integers, entropy: E) -> tuple[bytes, dict[str, float]]:
        used = _used(header, locations)
        if used is not None:
            side[~used] = UNUSED_SIGN
        return encode_grid(side, header.entropy.grid, used), {}

    def decode_side(self, section: bytes, header: H, locations: Integers) -> Side:
        return decode_grid(section, header.entropy.grid, _used(header, locations))


def _used(header: GridHeader, locations: Integers) -> NDArray[np.bool_] | None:
    """Return which rows of the hash grid a file contains; ``None`` for all."""
    if not header.sparse:
        return None
    return used_entries(header.entropy.grid, torch.from_numpy(locations), header.low, header.high)
