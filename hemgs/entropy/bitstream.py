"""A HEMGS bitstream: anchors in, one file out, and back.

Sections in order: settings, locations, masks, hash_grid, networks, features, scalings, offsets. Nothing but the file,
the package's integer tables and the frozen network that the settings name is needed to decode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, write_container
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.core.types import SectionTable
from hemgs.entropy.anchor_file import (
    AS_PUBLISHED,
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
from hemgs.entropy.anchor_set import anchor_set
from hemgs.entropy.fixed import FixedGroup
from hemgs.entropy.header import Header
from hemgs.entropy.location_grid import decode_grid, encode_grid, stored_bounds
from hemgs.entropy.model import EntropyModel, EntropySettings
from hemgs.entropy.prediction import Integers
from hemgs.entropy.rate_predictor import rate_input
from hemgs.entropy.steps import BaseSteps
from hemgs.entropy.stored_networks import StoredHeads, decode_networks, encode_networks
from hemgs.entropy.symbols import FixedModel, traverse
from hemgs.pointnet.features import scene_agnostic_digest


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
    model = FixedModel(
        header, entropy.grid.signs(), FixedGroup.export(entropy.features), FixedGroup.export(entropy.geometry)
    )
    known = anchor_set(places.stored, header.entropy, anchors.coords.device)
    stream = writing_stream(anchors, places, header)
    traverse(model, known, places.masks, stream)

    signs = model.signs.cpu().numpy()
    heads = StoredHeads.of(anchors.heads, storage.head_bits)
    integers = model.features.integers() + model.geometry.integers()
    sections = {
        "settings": header.to_bytes(),
        **places.sections(),
        "hash_grid": encode_grid(signs, header.entropy.grid),
        "networks": encode_networks(heads, integers),
        **stream.finish(),
    }
    digest = symbol_digest(places.stored, places.masks, _own_integers(signs, [*heads.integers, *integers]), stream)
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
    signs = decode_grid(sections["hash_grid"], settings.grid)
    dims = settings.feature_dim, settings.num_offsets
    head_dims = (*dims, header.head_hidden)
    shapes = _integer_shapes(settings)
    every_shape = [shape for group in shapes for shape in group]
    heads, integers = decode_networks(sections["networks"], head_dims, header.head_bits, every_shape)
    # Waves are some dozens of anchors each: a GPU would spend its time on being told what to do.
    processor = torch.device("cpu") if settings.has_context else device
    model = _fixed_model(header, signs, integers, len(shapes[0]), processor)
    stream = reading_stream(sections, header, len(stored), *dims)
    traverse(model, anchor_set(stored, settings, processor), masks, stream)
    stream.finish()
    check_digest(container, symbol_digest(stored, masks, _own_integers(signs, [*heads.integers, *integers]), stream))
    return finished_anchors(header, stored, masks, heads.restored(head_dims), stream, device)


def _integer_shapes(settings: EntropySettings) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of a file's network integers, of the features and of the geometry.

    An untrained model knows them, and tensors without data cost nothing.
    """
    with torch.device("meta"):
        blank = EntropyModel(settings)
    return FixedGroup.shapes(blank.features), FixedGroup.shapes(blank.geometry)


def _fixed_model(
    header: Header,
    signs: NDArray[np.int8],
    integers: list[Integers],
    num_features: int,
    device: torch.device | str,
) -> FixedModel:
    """The model of a file; the first ``num_features`` arrays are those of the features, the others of the geometry."""
    octaves = header.entropy.rate_octaves
    features, geometry = (
        FixedGroup.from_integers(part, octaves, device) for part in (integers[:num_features], integers[num_features:])
    )
    return FixedModel(header, torch.from_numpy(signs), features, geometry)


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


def _own_integers(signs: NDArray[np.int8], integers: Sequence[Integers]) -> Iterator[tuple[str, ArrayLike]]:
    """What HEMGS decodes besides what all codecs do, by section."""
    yield "hash_grid", signs.astype(np.int64)
    for array in integers:
        yield "networks", array
