"""The bitstream of a codec with a hash grid under its networks: what the files of HAC and HAC++ have in common.

Sections in order: settings, locations, masks, hash_grid, networks, features, scalings, offsets. Anchors stand in raster
order. Everything that decides a step or a probability is integer arithmetic.

Owns the walk over all anchors, alike for encoder and decoder, and the sections around it. Does not own the settings
section, nor what is predicted of an anchor (:class:`GridCoder`), nor what all anchor codecs' files hold alike
(``hemgs.entropy.anchor_file``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from baselines.shared.grid_codec import GridHeader
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, write_container
from hemgs.core.types import SectionTable
from hemgs.entropy.anchor_file import (
    Places,
    check_digest,
    decode_places,
    finished_anchors,
    reading_stream,
    symbol_digest,
    writing_stream,
)
from hemgs.entropy.hashgrid import HashGridSettings
from hemgs.entropy.location_grid import decode_grid, encode_grid, exact_lookup
from hemgs.entropy.prediction import Integers
from hemgs.entropy.stored_networks import StoredHeads, StoredShape, decode_networks, encode_networks
from hemgs.entropy.streams import CHUNK, SymbolStream, chunks

#: The sections beside those that all anchor codecs' files have.
SECTIONS = ("hash_grid",)


class GridCoder(Protocol):
    """Networks in integers that code anchors, given what the hash grid says of their locations."""

    def integers(self) -> list[Integers]:
        """What the file stores of them."""
        ...

    def code(self, stream: SymbolStream, rows: slice, inputs: Tensor, masks: NDArray[np.bool_]) -> object:
        """Codes the anchors ``rows``; ``inputs`` are their hash-grid features, ``[n, F] float64`` integers."""
        ...


@dataclass(frozen=True)
class GridFormat:
    """What the files of one method have of their own.

    Attributes:
        method: id.
        mixed: attributes whose symbols have mixtures for distributions.
        batch: anchors coded together; part of the format where an anchor's symbols do not stand together.
    """

    method: str
    mixed: Collection[str] = ()
    batch: int = CHUNK

    def write(
        self,
        path: Path,
        anchors: AnchorModel,
        places: Places,
        header: GridHeader,
        grid: HashGridSettings,
        signs: NDArray[np.int8],
        coder: GridCoder,
    ) -> SectionTable:
        """Writes one file; the arithmetic runs where the anchors are.

        Args:
            path: of the file.
            anchors: trained.
            places: of these anchors.
            header: settings of the file.
            grid: sizes of the hash grid.
            signs: ``[num_entries, F]`` of it.
            coder: on the device of the anchors.

        Raises:
            TrainingError: an attribute is not finite.
        """
        heads, integers = StoredHeads.of(anchors.heads, places.storage.head_bits), coder.integers()
        stream = writing_stream(anchors, places, header, self.mixed)
        self._walk(header, grid, signs, coder, places.stored, places.masks, stream, anchors.coords.device)
        sections = {
            "settings": header.to_bytes(),
            **places.sections(),
            "hash_grid": encode_grid(signs, grid),
            "networks": encode_networks(heads, integers),
            **stream.finish(),
        }
        digest = symbol_digest(places.stored, places.masks, _own_integers(signs, [*heads.integers, *integers]), stream)
        sizes = write_container(path, self.method, sections, digest)
        return SectionTable(sizes, stream.estimated_bits, {"num_anchors": len(places.stored)})

    def read(
        self,
        container: Container,
        header: GridHeader,
        grid: HashGridSettings,
        dims: tuple[int, int],
        shapes: Sequence[tuple[int, ...]],
        coder_of: Callable[[list[Integers]], GridCoder],
        device: torch.device | str,
    ) -> FixedAnchors:
        """Reads one file.

        Args:
            container: of the file.
            header: its settings.
            grid: sizes of the hash grid.
            dims: D and K.
            shapes: of the networks' integers.
            coder_of: rebuilds the networks on ``device``.
            device: that does the arithmetic and gets the anchors.

        Raises:
            BitstreamError: anything that is not as :meth:`write` wrote it.
        """
        sections, head_dims = container.sections, (*dims, header.head_hidden)
        stored, masks = decode_places(sections, dims[1])
        signs = decode_grid(sections["hash_grid"], grid)
        heads, integers = decode_networks(
            sections["networks"], head_dims, header.head_bits, [StoredShape(shape) for shape in shapes]
        )
        stream = reading_stream(sections, header, len(stored), *dims, self.mixed)
        self._walk(header, grid, signs, coder_of(integers), stored, masks, stream, device)
        stream.finish()
        own = _own_integers(signs, [*heads.integers, *integers])
        check_digest(container, symbol_digest(stored, masks, own, stream))
        return finished_anchors(header, stored, masks, heads.restored(head_dims), stream, device)

    def _walk(
        self,
        header: GridHeader,
        grid: HashGridSettings,
        signs: NDArray[np.int8],
        coder: GridCoder,
        stored: NDArray[np.int64],
        masks: NDArray[np.bool_],
        stream: SymbolStream,
        device: torch.device | str,
    ) -> None:
        """Walks all anchors in coding order."""
        coords = torch.from_numpy(stored).to(device)
        hashed = exact_lookup(grid, torch.from_numpy(signs), coords, header.low, header.high)
        for rows in chunks(len(stored), self.batch):
            coder.code(stream, rows, hashed[rows].double(), masks[rows])


def _own_integers(signs: NDArray[np.int8], integers: Sequence[Integers]) -> Iterator[tuple[str, ArrayLike]]:
    """What is decoded besides what all codecs do, by section."""
    yield "hash_grid", signs.astype(np.int64)
    for array in integers:
        yield "networks", array
