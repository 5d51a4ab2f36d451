"""A HEMGS bitstream: anchors in, one file out, and back.

Sections in order: settings, locations, masks, hash_grid, networks, features, scalings, offsets. Nothing but the file,
the package's integer tables and the frozen network that the settings name is needed to decode. Files with networks in
floating point also need sums to be rounded as where they were written, which their checksum tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hemgs.anchor_codec.file import (
    AS_PUBLISHED,
    DAMAGED,
    Places,
    Storage,
    check_digest,
    decode_places,
    finished_anchors,
    header_fields,
    read_anchor_file,
    reading_stream,
    symbol_digest,
    writing_stream,
)
from hemgs.anchor_codec.location_grid import UNUSED_SIGN, decode_grid, encode_grid, stored_bounds, used_entries
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchor_codec.stored_networks import Stored, StoredHeads, StoredShape, decode_networks, encode_networks
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.codec.anchor_set import AnchorSet, anchor_set
from hemgs.codec.header import Header
from hemgs.codec.integer_model import FixedGroup
from hemgs.codec.model import EntropyModel, EntropySettings
from hemgs.codec.rate_predictor import rate_input
from hemgs.codec.traversal import FixedModel, traverse
from hemgs.coding.container import Container, write_container
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.types import SectionTable
from hemgs.pointnet.features import scene_agnostic_digest

_FLOAT_FIX = "decode it where it was written: its networks are in floating point; or encode it without float_networks"


def encode_anchors(
    path: Path,
    method: str,
    anchors: AnchorModel,
    entropy: EntropyModel,
    base_steps: BaseSteps,
    lmbda: float,
    viewpoints: Tensor,
    storage: Storage = AS_PUBLISHED,
) -> SectionTable:
    """Writes one bitstream; deterministic; the arithmetic runs where the anchors are.

    Args:
        path: of the file.
        method: id that the file carries.
        anchors, entropy: trained, on one device.
        base_steps: that they were trained with.
        lmbda: the rate.
        viewpoints: ``[V, 3] float32`` camera centres for exports to plain Gaussians.
        storage: how the common sections are written.

    Raises:
        ConfigError: λ outside the trained interval.
        TrainingError: no anchor is left, or an attribute is not finite.
    """
    places = Places.of(anchors, storage)
    entropy.choose_window(places.stored)  # a training that ended before its last phase has not
    header = _header(anchors, places, entropy, base_steps, lmbda, viewpoints)
    signs, used = entropy.grid.signs().cpu().numpy(), _used(header, places.stored)
    if used is not None:
        signs[~used] = UNUSED_SIGN
    features, geometry = (FixedGroup.export(group).stored() for group in (entropy.features, entropy.geometry))
    # Exact networks may code wherever they are; others where they will decode.
    device = torch.device("cpu") if header.entropy.float_networks else anchors.coords.device
    model = _fixed_model(header, signs, features, geometry, device)
    known = anchor_set(places.stored, header.entropy, device)
    stream = writing_stream(anchors, places, header, chunks=header.entropy.chunks)
    traverse(model, known, places.masks, stream)

    heads = StoredHeads.of(anchors.heads, storage.head_bits)
    networks = [*features, *geometry]
    sections = {
        "settings": header.to_bytes(),
        **places.sections(),
        "hash_grid": encode_grid(signs, header.entropy.grid, used),
        "networks": encode_networks(heads, networks),
        **stream.finish(),
    }
    digest = symbol_digest(places.stored, places.masks, _own_integers(signs, [*heads.integers, *networks]), stream)
    sizes = write_container(path, method, sections, digest)
    return SectionTable(sizes, stream.estimated_bits, known.figures)


def decode_anchors(path: Path, method: str, device: torch.device | str = "cpu") -> FixedAnchors:
    """Reads one bitstream.

    Raises:
        BitstreamError: anything about the file that is not as :func:`encode_anchors` wrote it.
    """
    return read_anchor_file(path, method, ("hash_grid",), lambda container: _decode(container, device))


def _decode(container: Container, device: torch.device | str) -> FixedAnchors:
    sections = container.sections
    header = Header.from_bytes(sections["settings"])
    header.check_assets()
    settings = header.entropy
    stored, masks = decode_places(sections, settings.num_offsets)
    signs = decode_grid(sections["hash_grid"], settings.grid, _used(header, stored))
    dims = settings.feature_dim, settings.num_offsets
    head_dims = (*dims, header.head_hidden)
    shapes = _stored_shapes(settings)
    every_shape = [shape for group in shapes for shape in group]
    heads, networks = decode_networks(sections["networks"], head_dims, header.head_bits, every_shape)
    features, geometry = networks[: len(shapes[0])], networks[len(shapes[0]) :]
    # Waves are some dozens of anchors each: a GPU would spend its time on being told what to do.
    processor = torch.device("cpu") if settings.has_context or settings.float_networks else device
    model = _fixed_model(header, signs, features, geometry, processor)
    stream = reading_stream(sections, header, len(stored), *dims, chunks=settings.chunks)
    try:
        traverse(model, _known(stored, settings, processor), masks, stream)
        stream.finish()
        own = _own_integers(signs, [*heads.integers, *networks])
        check_digest(container, symbol_digest(stored, masks, own, stream))
    except BitstreamError as fault:
        raise BitstreamError(fault.message, _FLOAT_FIX if settings.float_networks else fault.fix) from fault
    return finished_anchors(header, stored, masks, heads.restored(head_dims), stream, device)


def _known(stored: NDArray[np.int64], settings: EntropySettings, device: torch.device | str) -> AnchorSet:
    """What a file's locations tell.

    Raises:
        BitstreamError: its settings ask for more neighbours than any scene has.
    """
    try:
        return anchor_set(stored, settings, device)
    except ConfigError as fault:
        raise BitstreamError(f"section settings: {fault.message}", DAMAGED) from fault


def _stored_shapes(settings: EntropySettings) -> tuple[list[StoredShape], list[StoredShape]]:
    """What a file's networks are stored as, of the features and of the geometry.

    An untrained model knows them, and tensors without data cost nothing.
    """
    with torch.device("meta"):
        blank = EntropyModel(settings)
    return FixedGroup.shapes(blank.features), FixedGroup.shapes(blank.geometry)


def _fixed_model(
    header: Header,
    signs: NDArray[np.int8],
    features: list[Stored],
    geometry: list[Stored],
    device: torch.device | str,
) -> FixedModel:
    """The model of a file from what it stores of both groups."""
    settings = header.entropy
    return FixedModel(
        header,
        torch.from_numpy(signs),
        FixedGroup.from_stored(features, settings.rate_octaves, device, settings.feature_chunks),
        FixedGroup.from_stored(geometry, settings.rate_octaves, device),
    )


def _header(
    anchors: AnchorModel,
    places: Places,
    entropy: EntropyModel,
    base_steps: BaseSteps,
    lmbda: float,
    viewpoints: Tensor,
) -> Header:
    low, high = stored_bounds(entropy.low, entropy.high, places.strides)
    asset = entropy.settings.scene_agnostic
    return Header(
        lmbda=float(lmbda),
        rate=round(rate_input(lmbda) * (1 << ACTIVATION_BITS)),
        low=low,
        high=high,
        base_steps=base_steps,
        entropy=entropy.settings,
        scene_agnostic_sha256=scene_agnostic_digest(asset) if asset else "",
        **header_fields(anchors, places, viewpoints),
    )


def _used(header: Header, stored: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Rows of the hash grid that a file holds; ``None`` for all."""
    if not header.entropy.sparse_grid:
        return None
    return used_entries(header.entropy.grid, torch.from_numpy(stored), header.low, header.high)


def _own_integers(signs: NDArray[np.int8], networks: Sequence[Stored]) -> Iterator[tuple[str, ArrayLike]]:
    """What HEMGS decodes besides what all codecs do, by section; of floats their bit patterns."""
    yield "hash_grid", signs.astype(np.int64)
    for array in networks:
        yield "networks", array.view(np.int16) if array.dtype == np.float16 else array
