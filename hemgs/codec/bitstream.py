"""The HEMGS bitstream: from a trained model to one file, and back.

Owns the parts that HEMGS adds to a codec with a hash grid: its networks, the assets and neighbours that it needs, and
its device. Does not own the sections and their order (``hemgs.anchor_codec``), or the order of coding (``traversal``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hemgs.anchor_codec.codec import CodingTask
from hemgs.anchor_codec.file import DAMAGED
from hemgs.anchor_codec.grid_codec import GridCodec
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.stored_networks import Stored, StoredParts, StoredShape
from hemgs.anchors.rendering import FixedAnchors
from hemgs.codec.anchor_set import anchor_set
from hemgs.codec.header import HemgsHeader
from hemgs.codec.integer_model import FixedGroup
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import SPECS
from hemgs.codec.traversal import FixedModel, traverse
from hemgs.coding.container import Container
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.pointnet.features import scene_agnostic_digest

_FLOAT_FIX = "decode it where it was written: its networks are in floating point; or encode it without float_networks"


#: Integer networks of the group of features and of the group of geometry.
Groups = tuple[FixedGroup, FixedGroup]


class HemgsCodec(GridCodec[EntropyModel, HemgsHeader, Groups]):
    """The codec of HEMGS; see :class:`hemgs.anchor_codec.codec.AnchorCodec`."""

    method = SPECS["Hemgs"].id
    Model = EntropyModel
    Header = HemgsHeader

    def prepare(self, entropy: EntropyModel, locations: Integers) -> None:
        entropy.choose_window(locations)  # A training that stopped before its last phase has not chosen a window.

    def own_fields(self, entropy: EntropyModel, strides: tuple[float, float, float]) -> dict[str, Any]:
        asset = entropy.settings.scene_agnostic
        digest = scene_agnostic_digest(asset) if asset else ""
        return {**super().own_fields(entropy, strides), "scene_agnostic_sha256": digest}

    def chunks(self, header: HemgsHeader) -> Mapping[str, int]:
        return header.entropy.chunks

    def encoding_device(self, header: HemgsHeader, device: torch.device | str) -> torch.device | str:
        # Exact networks may code on any device. Others must code on the device that will decode.
        return "cpu" if header.entropy.float_networks else device

    def decoding_device(self, header: HemgsHeader, device: torch.device | str) -> torch.device | str:
        # Each wave contains some dozens of anchors, too few to keep a GPU busy.
        return "cpu" if header.entropy.has_context or header.entropy.float_networks else device

    def export(self, entropy: EntropyModel) -> list[Stored]:
        return [part for group in (entropy.features, entropy.geometry) for part in FixedGroup.export(group).stored()]

    def shapes(self, blank: EntropyModel) -> list[StoredShape]:
        return [*FixedGroup.shapes(blank.features), *FixedGroup.shapes(blank.geometry)]

    def restore(self, parts: StoredParts, header: HemgsHeader) -> Groups:
        header.check_assets()
        settings = header.entropy
        return (
            FixedGroup.from_stored(parts, settings.rate_octaves, settings.feature_context, settings.feature_chunks),
            FixedGroup.from_stored(parts, settings.rate_octaves, settings.geometry_context),
        )

    def walk(self, task: CodingTask[HemgsHeader, Groups]) -> Mapping[str, float]:
        anchors = anchor_set(task.locations, task.header.entropy, task.device)
        model = FixedModel(task.header, torch.from_numpy(task.side), *task.coder)
        traverse(model, anchors, task.masks, task.stream)
        return anchors.figures

    def _decode(self, container: Container, device: torch.device | str) -> FixedAnchors:
        try:
            return super()._decode(container, device)
        except ConfigError as fault:  # The settings request more neighbours than any scene has.
            raise BitstreamError(f"section settings: {fault.message}", DAMAGED) from fault
        except BitstreamError as fault:
            if not HemgsHeader.of_file(container).entropy.float_networks:
                raise
            raise BitstreamError(fault.message, _FLOAT_FIX) from fault


CODEC = HemgsCodec()
