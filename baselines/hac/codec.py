"""HAC's bitstream: one file that decodes without any other.

Owns the settings section and the choice of the network. Does not own the sections and the order of anchors, which HAC++
shares (``baselines.shared.grid_codec``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.hac.model import HacModel
from baselines.hac.params import SPECS, HacSettings
from baselines.shared.grid_codec import RasterCodec
from baselines.shared.predictor import FixedPredictor
from hemgs.anchor_codec.grid_codec import GridHeader
from hemgs.anchor_codec.steps import attribute_widths
from hemgs.anchor_codec.stored_networks import Stored, StoredParts, StoredShape


@dataclass(frozen=True, kw_only=True)
class HacHeader(GridHeader):
    """Settings of one bitstream."""

    Settings: ClassVar[type] = HacSettings
    entropy: HacSettings


class HacCodec(RasterCodec[HacModel, HacHeader, FixedPredictor]):
    """See :class:`hemgs.anchor_codec.codec.AnchorCodec`."""

    method = SPECS["Hac"].id
    Model = HacModel
    Header = HacHeader

    def export(self, entropy: HacModel) -> list[Stored]:
        return FixedPredictor.export(entropy.predictor).stored()

    def shapes(self, blank: HacModel) -> list[StoredShape]:
        return FixedPredictor.shapes(blank.predictor)

    def restore(self, parts: StoredParts, header: HacHeader) -> FixedPredictor:
        sizes = header.entropy
        return FixedPredictor.from_stored(parts, attribute_widths(sizes.feature_dim, sizes.num_offsets))


CODEC = HacCodec()
