"""HAC's bitstream: one file that decodes from itself alone.

Sections in order: settings, locations, masks, hash_grid, networks, features, scalings, offsets. Anchors stand in raster
order. Everything that decides a step or a probability is integer arithmetic.

Owns the settings section and the order of coding. Does not own what all anchor codecs' files hold alike
(``hemgs.entropy.anchor_file``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from baselines.hac.model import HacModel, HacSettings
from baselines.shared.grid_codec import GridHeader
from baselines.shared.predictor import FixedPredictor
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, write_container
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
from hemgs.entropy.anchor_header import (
    MAX_OFFSETS,
    MAX_WIDTH,
    check_grid,
    check_integer,
    take_grid,
)
from hemgs.entropy.location_grid import decode_grid, encode_grid, exact_lookup, stored_bounds
from hemgs.entropy.prediction import Integers
from hemgs.entropy.steps import BaseSteps, attribute_widths
from hemgs.entropy.stored_networks import StoredHeads, decode_networks, encode_networks
from hemgs.entropy.streams import SymbolStream, chunks

METHOD = "hac"


@dataclass(frozen=True, kw_only=True)
class HacHeader(GridHeader):
    """Settings of one bitstream.

    Attributes:
        entropy: sizes of the entropy model.
    """

    entropy: HacSettings

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        entropy = dict(raw.pop("entropy"))
        grid = take_grid(entropy)
        return {"entropy": HacSettings(grid=grid, **entropy)}

    def check(self) -> None:
        super().check()
        check_integer("feature_dim", self.entropy.feature_dim, 1, MAX_WIDTH)
        check_integer("num_offsets", self.entropy.num_offsets, 1, MAX_OFFSETS)
        check_integer("hidden", self.entropy.hidden, 1, MAX_WIDTH)
        check_grid(self.entropy.grid)


def encode_anchors(
    path: Path,
    anchors: AnchorModel,
    entropy: HacModel,
    base_steps: BaseSteps,
    lmbda: float,
    viewpoints: Tensor,
    storage: Storage = AS_PUBLISHED,
) -> SectionTable:
    """Writes one bitstream; deterministic; the arithmetic runs where the anchors are.

    Args:
        path: of the file.
        anchors, entropy: trained, on one device.
        base_steps: that they were trained with.
        lmbda: that they were trained for.
        viewpoints: ``[V, 3] float32`` camera centres for exports to plain Gaussians.
        storage: how the common sections are written.

    Raises:
        TrainingError: no anchor is left, or an attribute is not finite.
    """
    places, predictor = Places.of(anchors, storage), FixedPredictor.export(entropy.predictor)
    low, high = stored_bounds(entropy.low, entropy.high, places.strides)
    header = HacHeader(
        lmbda=float(lmbda),
        low=low,
        high=high,
        base_steps=base_steps,
        entropy=entropy.settings,
        **header_fields(anchors, places, viewpoints),
    )
    signs, integers = entropy.grid.signs().cpu().numpy(), predictor.integers()
    heads = StoredHeads.of(anchors.heads, storage.head_bits)
    stream = writing_stream(anchors, places, header)
    _code(header, signs, predictor, places.stored, places.masks, stream, anchors.coords.device)
    sections = {
        "settings": header.to_bytes(),
        **places.sections(),
        "hash_grid": encode_grid(signs, header.entropy.grid),
        "networks": encode_networks(heads, integers),
        **stream.finish(),
    }
    digest = symbol_digest(places.stored, places.masks, _own_integers(signs, [*heads.integers, *integers]), stream)
    sizes = write_container(path, METHOD, sections, digest)
    return SectionTable(sizes, stream.estimated_bits, {"num_anchors": len(places.stored)})


def decode_anchors(path: Path, device: torch.device | str = "cpu") -> FixedAnchors:
    """Reads one bitstream.

    Raises:
        BitstreamError: anything about the file that is not as :func:`encode_anchors` wrote it.
    """
    return read_anchor_file(path, METHOD, ("hash_grid",), lambda container: _decode(container, device))


def _decode(container: Container, device: torch.device | str) -> FixedAnchors:
    sections = container.sections
    header = HacHeader.from_bytes(sections["settings"])
    settings = header.entropy
    dims = settings.feature_dim, settings.num_offsets
    head_dims = (*dims, header.head_hidden)
    stored, masks = decode_places(sections, settings.num_offsets)
    signs = decode_grid(sections["hash_grid"], settings.grid)
    with torch.device("meta"):
        shapes = FixedPredictor.shapes(HacModel(settings).predictor)
    heads, integers = decode_networks(sections["networks"], head_dims, header.head_bits, shapes)
    predictor = FixedPredictor.from_integers(integers, attribute_widths(*dims), device)
    stream = reading_stream(sections, header, len(stored), *dims)
    _code(header, signs, predictor, stored, masks, stream, device)
    stream.finish()
    check_digest(container, symbol_digest(stored, masks, _own_integers(signs, [*heads.integers, *integers]), stream))
    return finished_anchors(header, stored, masks, heads.restored(head_dims), stream, device)


def _code(
    header: HacHeader,
    signs: NDArray[np.int8],
    predictor: FixedPredictor,
    stored: NDArray[np.int64],
    masks: NDArray[np.bool_],
    stream: SymbolStream,
    device: torch.device | str,
) -> None:
    """Walks all anchors in coding order, for encoder and decoder alike."""
    coords = torch.from_numpy(stored).to(device)
    hashed = exact_lookup(header.entropy.grid, torch.from_numpy(signs), coords, header.low, header.high)
    for rows in chunks(len(stored)):
        predictor.code(stream, rows, hashed[rows].double(), masks[rows])


def _own_integers(signs: NDArray[np.int8], integers: Sequence[Integers]) -> Iterator[tuple[str, ArrayLike]]:
    """What HAC decodes besides what all codecs do, by section."""
    yield "hash_grid", signs.astype(np.int64)
    for array in integers:
        yield "networks", array
