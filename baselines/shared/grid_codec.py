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
from hemgs.anchor_codec.codec import CodingTask
from hemgs.anchor_codec.grid_codec import GridCodec, GridHeader
from hemgs.anchor_codec.location_grid import exact_lookup
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

    def walk(self, task: CodingTask[H, C]) -> dict[str, float]:
        header, num_anchors = task.header, len(task.locations)
        coords, signs = torch.from_numpy(task.locations).to(task.device), torch.from_numpy(task.side)
        hashed = exact_lookup(header.entropy.grid, signs, coords, header.low, header.high)
        for rows in chunks(num_anchors, self.batch):
            task.coder.code(task.stream, rows, hashed[rows].double(), task.masks[rows])
        return {"num_anchors": num_anchors}
