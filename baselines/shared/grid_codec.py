"""The bitstream of a codec that predicts anchors from the hash grid alone, for HAC and HAC++.

Anchors are coded in raster order. Owns the loop over all anchors. Does not own the prediction of an anchor
(:class:`GridCoder`), or the sections (``hemgs.anchor_codec``).
"""

from __future__ import annotations

from typing import ClassVar, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.shared.grid_model import GridModel
from hemgs.anchor_codec.codec import Side
from hemgs.anchor_codec.grid_codec import GridCodec, GridHeader
from hemgs.anchor_codec.location_grid import exact_lookup
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.streams import CHUNK, SymbolStream, chunks


class GridCoder(Protocol):
    """Networks in integers that code anchors from the hash-grid features of their locations."""

    def code(self, stream: SymbolStream, rows: slice, inputs: Tensor, masks: NDArray[np.bool_]) -> object:
        """Code the anchors ``rows``; ``inputs`` are their hash-grid features, ``[n, F] float64`` integers."""
        ...


E = TypeVar("E", bound=GridModel)
H = TypeVar("H", bound=GridHeader)
C = TypeVar("C", bound=GridCoder)


class RasterCodec(GridCodec[E, H, C]):
    """See :class:`hemgs.anchor_codec.codec.AnchorCodec`.

    Attributes:
        batch: number of anchors coded together; part of the format where an anchor's symbols are not consecutive.
    """

    batch: ClassVar[int] = CHUNK

    def walk(
        self,
        header: H,
        coder: C,
        side: Side,
        locations: Integers,
        masks: NDArray[np.bool_],
        stream: SymbolStream,
        device: torch.device | str,
    ) -> dict[str, float]:
        coords = torch.from_numpy(locations).to(device)
        hashed = exact_lookup(header.entropy.grid, torch.from_numpy(side), coords, header.low, header.high)
        for rows in chunks(len(locations), self.batch):
            coder.code(stream, rows, hashed[rows].double(), masks[rows])
        return {"num_anchors": len(locations)}
