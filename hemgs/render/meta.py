"""The tile lists in the form that callers of gsplat 1.5.3 know.

Owns that translation. The lists themselves come from ``hemgs.render.binning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hemgs.render.binning import TileLists


def tile_meta(lists: Sequence[TileLists], bounds: Sequence[int], depths: Tensor) -> dict[str, Any]:
    """Entries of ``meta`` that describe intersections.

    Args:
        lists: one per camera.
        bounds: C + 1 numbers; camera ``c`` owns the rows ``bounds[c]`` to ``bounds[c + 1]``.
        depths: ``[C, N]``, or ``[nnz]`` if packed.

    Returns:
        ``tiles_per_gauss`` (int32, shaped like ``depths``); ``flatten_ids [M] int32`` (row of each intersection, by
        camera, tile and depth); ``isect_ids [M] int64`` (camera, tile and the depth's bits, from high to low);
        ``isect_offsets [C, tiles down, tiles across] int32`` (where each tile's intersections begin); ``tile_width``;
        ``tile_height``.
    """
    tile_width, tile_height = lists[0].tile_width, lists[0].tile_height
    num_tiles = tile_width * tile_height
    flat_depths = depths.detach().float().flatten().numpy()
    per_row, rows, keys, offsets = [], [], [], []
    begin = 0
    for camera, own in enumerate(lists):
        owners = own.owners + np.int32(bounds[camera])
        tiles = np.repeat(np.arange(num_tiles, dtype=np.int64), np.diff(own.offsets))
        place = (camera << num_tiles.bit_length()) | tiles
        keys.append((place << 32) | flat_depths[owners].view(np.uint32).astype(np.int64))
        rows.append(owners)
        per_row.append(np.diff(own.starts))
        offsets.append(own.offsets[:-1] + begin)
        begin += len(owners)
    return {
        "tile_width": tile_width,
        "tile_height": tile_height,
        "tiles_per_gauss": torch.from_numpy(np.concatenate(per_row).astype(np.int32)).reshape(depths.shape),
        "isect_ids": torch.from_numpy(np.concatenate(keys)),
        "flatten_ids": torch.from_numpy(np.concatenate(rows)),
        "isect_offsets": torch.from_numpy(
            np.concatenate(offsets).astype(np.int32).reshape(len(lists), tile_height, tile_width)
        ),
    }
