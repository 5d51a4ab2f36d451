"""An anchor set in training: the neighbours of rows, and the frozen network's features.

Training has anchors as rows in no order, and files leave out some of them. Coding has the kept ones in raster order
(``hemgs.codec.anchor_set``). This module connects both: it makes an anchor set from the rows at one moment, and answers
questions about rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hemgs.codec.anchor_set import AnchorSet, anchor_set
from hemgs.codec.context import Pairs
from hemgs.codec.settings import EntropySettings
from hemgs.coding.locations import raster_order, stored_locations
from hemgs.coding.names import RAW16


@dataclass(frozen=True)
class Surroundings:
    """Rows of an anchor model, and the anchor set made from them.

    Attributes:
        rows: ``[N] int64`` rows in raster order.
        position: ``[num_anchors] int64`` place of each row in ``rows``, -1 for none.
        anchors: N anchors; ``None`` if nothing depends on other anchors.
    """

    rows: Tensor
    position: Tensor
    anchors: AnchorSet | None

    @staticmethod
    def of(coords: Tensor, kept: Tensor, settings: EntropySettings, location_codec: str = RAW16) -> Surroundings:
        """Build the anchor set of the kept rows as they would be coded now.

        Args:
            coords: ``[num_anchors, 3] int64`` lattice coordinates.
            kept: ``[N] int64`` rows that a file would contain.
            settings: settings of the entropy model.
            location_codec: codec of the file's locations.
        """
        position = torch.full((len(coords),), -1, dtype=torch.int64, device=coords.device)
        anchors, rows = None, kept
        if (settings.has_context or settings.scene_agnostic) and len(kept):
            stored, _ = stored_locations(coords[kept].cpu().numpy(), location_codec)
            order = raster_order(stored)
            rows = kept[torch.from_numpy(order).to(kept.device)]
            anchors = anchor_set(stored[order], settings, coords.device)
        position[rows] = torch.arange(len(rows), device=rows.device)
        return Surroundings(rows, position, anchors)

    def contains(self, rows: Tensor) -> Tensor:
        """Return which rows were kept when the set was made, ``bool``."""
        return self.position[rows] >= 0

    def scene_agnostic(self, rows: Tensor) -> Tensor | None:
        """Return features of the frozen network, ``[n, A] float32``, zero for rows not kept; ``None`` without one."""
        features = None if self.anchors is None else self.anchors.scene_agnostic_float
        if features is None:
            return None
        position = self.position[rows]
        return torch.where((position >= 0).unsqueeze(1), features[position.clamp_min(0)], 0.0)

    def pairs(self, rows: Tensor, chosen: Tensor) -> tuple[Pairs | None, Tensor]:
        """Return pairs of some rows with their neighbours.

        Args:
            rows: ``[M] int64``, distinct.
            chosen: ``[n] int64`` places in ``rows``; :meth:`contains` is true for them.

        Returns:
            pairs whose ``neighbour`` counts in ``rows`` followed by the second result, which are the neighbours that
            ``rows`` lacks; ``None`` and no rows without an autoregressive network.
        """
        if self.anchors is None or self.anchors.table is None:
            return None, rows[:0]
        pairs = self.anchors.table.pairs(self.position[rows[chosen]])
        neighbours = self.rows[pairs.neighbour]
        place = torch.full_like(self.position, -1)
        place[rows] = torch.arange(len(rows), device=rows.device)
        extra = torch.unique(neighbours[place[neighbours] < 0])
        place[extra] = torch.arange(len(rows), len(rows) + len(extra), device=rows.device)
        return replace(pairs, neighbour=place[neighbours]), extra
