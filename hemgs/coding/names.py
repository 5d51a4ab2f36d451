"""Names of the codecs of locations and masks, as settings use them; the codecs themselves need compiled kernels."""

from __future__ import annotations

#: Codecs of :mod:`hemgs.coding.locations`: 16 bits a coordinate, and an octree.
RAW16, OCTREE = "raw16", "octree"
#: Codecs of :mod:`hemgs.coding.masks`: one probability for each offset index, and contexts.
STATIC, ADAPTIVE = "static", "adaptive"
