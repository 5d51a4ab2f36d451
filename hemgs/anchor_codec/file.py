"""The common sections of all anchor codecs' bitstreams: locations, masks, networks, symbols, checksum.

A codec's file has the sections settings, locations, masks, networks, features, scalings, offsets, and its own. Owns
how the common ones are written and read. Does not own any codec's header, networks or order of coding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hemgs.anchor_codec.header import AnchorHeader
from hemgs.anchor_codec.masks import keep_mask
from hemgs.anchor_codec.settings import AS_PUBLISHED, Storage
from hemgs.anchor_codec.steps import ATTRIBUTES, attribute_widths
from hemgs.anchor_codec.streams import ONE_CHUNK, ReadingStream, SymbolStream, WritingStream
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, read_container
from hemgs.coding.digest import SymbolDigest
from hemgs.coding.locations import decode_locations, encode_locations, raster_order, stored_locations
from hemgs.coding.masks import decode_masks, encode_masks
from hemgs.core.errors import BitstreamError, TrainingError

DAMAGED = "get the file again from its source, or encode again with this version"
COMMON_SECTIONS = ("settings", "locations", "masks", "networks", *ATTRIBUTES)

_Decoded = TypeVar("_Decoded")


@dataclass(frozen=True)
class Places:
    """The N anchors of a file, in raster order.

    Attributes:
        stored: ``[N, 3] int64`` stored locations.
        strides: lattice units per stored unit by axis.
        masks: ``[N, K] bool``, at least one of each row set.
        rows: ``[N] int64``, their rows in the trained model.
        storage: form of their sections.
    """

    stored: NDArray[np.int64]
    strides: tuple[float, float, float]
    masks: NDArray[np.bool_]
    rows: NDArray[np.int64]
    storage: Storage

    @staticmethod
    def of(anchors: AnchorModel, storage: Storage = AS_PUBLISHED) -> Places:
        """Choose all anchors with an offset left.

        Raises:
            TrainingError: there is none.
        """
        kept = torch.nonzero(keep_mask(anchors.mask_logits).any(dim=1)).squeeze(1).cpu().numpy()
        if kept.size == 0:
            raise TrainingError("no anchor has an offset left, so there is nothing to encode", "lower mask_weight")
        stored, strides = stored_locations(anchors.coords.cpu().numpy()[kept], storage.locations)
        order = raster_order(stored)
        stored, kept = stored[order], kept[order]
        return Places(stored, strides, keep_mask(anchors.mask_logits).cpu().numpy()[kept], kept, storage)

    def sections(self) -> dict[str, bytes]:
        """Return the sections of locations and masks."""
        return {
            "locations": encode_locations(self.stored, self.storage.locations),
            "masks": encode_masks(self.masks, self.storage.masks),
        }


def header_fields(anchors: AnchorModel, places: Places, viewpoints: Tensor) -> dict[str, Any]:
    """Return the fields of an :class:`AnchorHeader` that follow from the anchors.

    Args:
        viewpoints: ``[V, 3] float32`` camera centres for exports to plain Gaussians.
    """
    return {
        "voxel_size": anchors.voxel_size,
        "strides": places.strides,
        "head_hidden": anchors.heads.hidden_dim,
        "head_bits": places.storage.head_bits,
        "viewpoints": tuple(float(f"{value:.4g}") for value in viewpoints.flatten().tolist()),
    }


def writing_stream(
    anchors: AnchorModel,
    places: Places,
    header: AnchorHeader,
    mixed: Collection[str] = (),
    chunks: Mapping[str, int] = ONE_CHUNK,
) -> WritingStream:
    """Make the encoder's stream with the attributes to code; ``mixed`` ones are coded as mixtures.

    Raises:
        TrainingError: an attribute is not finite.
    """
    attributes = anchors.attributes(torch.from_numpy(places.rows).to(anchors.coords.device))
    parts = (attributes.features, attributes.scalings, attributes.offsets.flatten(1))
    values = {name: part.detach().double().cpu().numpy() for name, part in zip(ATTRIBUTES, parts, strict=True)}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise TrainingError(f"anchor {name} are not finite", "train again with lower learning rates")
    return WritingStream(values, header.base_steps.of_attributes(), mixed, chunks)


def reading_stream(
    sections: Mapping[str, bytes],
    header: AnchorHeader,
    num: int,
    feature_dim: int,
    num_offsets: int,
    mixed: Collection[str] = (),
    chunks: Mapping[str, int] = ONE_CHUNK,
) -> ReadingStream:
    """Make the decoder's stream for ``num`` anchors; ``mixed`` attributes are coded as mixtures."""
    return ReadingStream(
        {name: sections[name] for name in ATTRIBUTES},
        {name: (num, width) for name, width in attribute_widths(feature_dim, num_offsets).items()},
        header.base_steps.of_attributes(),
        mixed,
        chunks,
    )


def decode_places(sections: Mapping[str, bytes], num_offsets: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Decode stored locations ``[N, 3]`` and masks ``[N, K]``.

    Raises:
        BitstreamError: a section is damaged, or there are no anchors, or they are not in raster order.
    """
    stored = decode_locations(sections["locations"])
    if not len(stored):
        raise BitstreamError("section locations: contains no anchors", DAMAGED)  # No encoder writes such a file.
    if not np.array_equal(raster_order(stored), np.arange(len(stored))):
        raise BitstreamError("section locations: anchors are not in raster order", DAMAGED)
    return stored, decode_masks(sections["masks"], len(stored), num_offsets)


def symbol_digest(
    stored: NDArray[np.int64],
    masks: NDArray[np.bool_],
    others: Iterable[tuple[str, ArrayLike]],
    stream: SymbolStream,
) -> bytes:
    """Return the checksum of all decoded integers; ``others`` are the codec's own integers by section."""
    digest = SymbolDigest()
    digest.update("locations", stored)
    digest.update("masks", masks.astype(np.int64))
    for name, array in others:
        digest.update(name, array)
    for name in ATTRIBUTES:
        digest.update(name, stream.symbols[name])
    return digest.digest()


def read_anchor_file(
    path: Path, method: str, own_sections: Iterable[str], decode: Callable[[Container], _Decoded]
) -> _Decoded:
    """Return the result of ``decode`` for a file with all common sections and the codec's own; errors name the file.

    Raises:
        BitstreamError: the file is cut or altered, belongs to another method or lacks a section, or ``decode`` fails.
    """
    container = read_container(path)
    if container.method != method:
        raise BitstreamError(f"{path}: written by method {container.method}, not {method}", "decode it with its method")
    try:
        missing = {*COMMON_SECTIONS, *own_sections} - set(container.sections)
        if missing:
            raise BitstreamError(f"sections {sorted(missing)} are missing", DAMAGED)
        return decode(container)
    except BitstreamError as fault:
        raise BitstreamError(f"{path}: {fault.message}", fault.fix) from fault


def finished_anchors(
    header: AnchorHeader,
    stored: NDArray[np.int64],
    masks: NDArray[np.bool_],
    heads: AnchorHeads,
    stream: ReadingStream,
    device: torch.device | str,
) -> FixedAnchors:
    """Build decoded anchors on ``device``.

    Raises:
        BitstreamError: the settings make them infinite.
    """
    values = {name: torch.from_numpy(value).to(device) for name, value in stream.values.items()}
    attributes = AnchorAttributes(
        values["features"],
        values["scalings"].clamp_min(0),
        values["offsets"].view(len(stored), masks.shape[1], 3),
        torch.from_numpy(masks).to(device).float(),
    )
    viewpoints = torch.tensor(header.viewpoints, dtype=torch.float32, device=device).view(-1, 3)
    # World coordinates are two float64 products and one rounding, which are equal on every device.
    positions = torch.from_numpy(
        (stored * np.array(header.strides, np.float64) * header.voxel_size).astype(np.float32)
    ).to(device)
    for name, tensor in {**values, "locations": positions, "viewpoints": viewpoints}.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BitstreamError(f"section settings: its steps or sizes give {name} that are not finite", DAMAGED)
    return FixedAnchors(positions, attributes, heads.to(device), viewpoints)


def check_digest(container: Container, digest: bytes) -> None:
    """Raise BitstreamError if ``digest`` (:func:`symbol_digest`) is not that of the file."""
    if digest != container.symbols_digest:
        raise BitstreamError("the decoded symbols do not have the file's checksum", DAMAGED)
