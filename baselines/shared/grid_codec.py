"""The bitstream of a codec with a hash grid under its networks: what the files of HAC and HAC++ have in common.

The grid's signs stand before the networks; anchors are coded in raster order.

Owns the settings that say of the grid, its section, and the walk over all anchors. Does not own what is predicted of an
anchor (:class:`GridCoder`), nor the file around it (``anchor_codec``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.shared.grid_model import GridModel
from hemgs.anchor_codec.codec import AnchorCodec, CodecHeader, Coder, Side
from hemgs.anchor_codec.file import Places
from hemgs.anchor_codec.header import check_bounds, check_grid, take_grid
from hemgs.anchor_codec.location_grid import decode_grid, encode_grid, exact_lookup, stored_bounds
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.streams import CHUNK, SymbolStream, chunks
from hemgs.anchors import AnchorModel


@dataclass(frozen=True, kw_only=True)
class GridHeader(CodecHeader):
    """Settings of a bitstream with a hash grid, of which ``entropy.grid`` says the sizes.

    Attributes:
        low, high: bounds of the hash grid in stored location units.
    """

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        entropy = dict(raw.pop("entropy"))
        return {"entropy": cls.Settings(grid=take_grid(entropy), **entropy)}

    @classmethod
    def check_entropy(cls, entropy: Any) -> None:
        super().check_entropy(entropy)
        check_grid(entropy.grid)

    def check(self) -> None:
        super().check()
        check_bounds(self.low, self.high)


class GridCoder(Coder, Protocol):
    """Networks in integers that code anchors, given what the hash grid says of their locations."""

    def code(self, stream: SymbolStream, rows: slice, inputs: Tensor, masks: NDArray[np.bool_]) -> object:
        """Codes the anchors ``rows``; ``inputs`` are their hash-grid features, ``[n, F] float64`` integers."""
        ...


E = TypeVar("E", bound=GridModel)
H = TypeVar("H", bound=GridHeader)
C = TypeVar("C", bound=GridCoder)


class GridCodec(AnchorCodec[E, H, C]):
    """See :class:`AnchorCodec`.

    Attributes:
        batch: anchors coded together; part of the format where an anchor's symbols do not stand together.
    """

    side_section = "hash_grid"
    side_first = True
    batch: ClassVar[int] = CHUNK

    def own_fields(self, entropy: E, strides: tuple[float, float, float]) -> dict[str, Any]:
        low, high = stored_bounds(entropy.low, entropy.high, strides)
        return {"low": low, "high": high}

    def side(self, anchors: AnchorModel, places: Places, entropy: E) -> Side:
        return entropy.grid.signs().cpu().numpy()

    def encode_side(self, side: Side, entropy: E) -> tuple[bytes, dict[str, float]]:
        return encode_grid(side, entropy.grid.settings), {}

    def decode_side(self, section: bytes, header: H, stored: Integers) -> Side:
        return decode_grid(section, header.entropy.grid)

    def walk(
        self,
        header: H,
        coder: C,
        side: Side,
        stored: Integers,
        masks: NDArray[np.bool_],
        stream: SymbolStream,
        device: torch.device | str,
    ) -> dict[str, float]:
        coords = torch.from_numpy(stored).to(device)
        hashed = exact_lookup(header.entropy.grid, torch.from_numpy(side), coords, header.low, header.high)
        for rows in chunks(len(stored), self.batch):
            coder.code(stream, rows, hashed[rows].double(), masks[rows])
        return {"num_anchors": len(stored)}
