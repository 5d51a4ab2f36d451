"""A bitstream of anchors coded by networks, given side information of one kind: what all rivals' files have in common.

Sections in order: settings, locations, masks, then networks and side information in a codec's own order, then features,
scalings, offsets. Everything that decides a step or a probability is integer arithmetic.

Owns the way from trained anchors to a file and back. Does not own networks, side information and the order in which
anchors are coded (codecs extend :class:`AnchorCodec`), nor what the files of HEMGS, too, hold alike
(``hemgs.anchor_codec.file``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemgs.anchor_codec.file import (
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
from hemgs.anchor_codec.header import MAX_WIDTH, AnchorHeader, check_integer
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchor_codec.stored_networks import StoredHeads, StoredShape, decode_networks, encode_networks
from hemgs.anchor_codec.streams import SymbolStream
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, write_container
from hemgs.core.types import SectionTable

#: Side information: integers of any type and shape.
Side = NDArray[Any]
_Part = TypeVar("_Part")


@dataclass(frozen=True, kw_only=True)
class CodecHeader(AnchorHeader):
    """Settings of one bitstream.

    Attributes:
        Settings: class of ``entropy``.
        entropy: sizes of the entropy model, among them ``feature_dim``, ``num_offsets`` and ``hidden``.
    """

    Settings: ClassVar[type]
    entropy: Any

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        return {"entropy": cls.Settings(**raw.pop("entropy"))}

    @classmethod
    def check_entropy(cls, entropy: Any) -> None:
        super().check_entropy(entropy)
        check_integer("hidden", entropy.hidden, 1, MAX_WIDTH)

    def check(self) -> None:
        super().check()
        self.check_entropy(self.entropy)


class Coder(Protocol):
    """Networks in integers."""

    def integers(self) -> list[Integers]:
        """What a file stores of them."""
        ...


E = TypeVar("E", bound=nn.Module)
H = TypeVar("H", bound=CodecHeader)
C = TypeVar("C", bound=Coder)


class AnchorCodec(ABC, Generic[E, H, C]):
    """Writes and reads the files of one method.

    Types are the entropy model, which has ``settings``, the settings section, and the integer twin of the networks.

    Attributes:
        method: id that files carry.
        Model, Header: classes of the entropy model and of the settings section.
        side_section: of the side information.
        side_first: whether that stands before the networks.
        mixed: attributes whose symbols have mixtures for distributions.
    """

    method: ClassVar[str]
    Model: ClassVar[Any]
    Header: ClassVar[Any]
    side_section: ClassVar[str]
    side_first: ClassVar[bool]
    mixed: ClassVar[Collection[str]] = ()

    @abstractmethod
    def own_fields(self, entropy: E, strides: tuple[float, float, float]) -> dict[str, Any]:
        """Fields of the settings that only this codec has; ``strides`` are lattice units per stored unit by axis."""

    @abstractmethod
    def export(self, entropy: E) -> C:
        """Rounds trained networks."""

    @abstractmethod
    def shapes(self, blank: E) -> list[tuple[int, ...]]:
        """Shapes of the networks' integers; ``blank`` is a model without data."""

    @abstractmethod
    def restore(self, integers: list[Integers], header: H, device: torch.device | str) -> C:
        """Rebuilds networks from what a file stores of them.

        Raises:
            BitstreamError: values that no encoder writes.
        """

    @abstractmethod
    def side(self, anchors: AnchorModel, places: Places, entropy: E) -> Side:
        """The side information.

        Raises:
            TrainingError: it cannot be coded.
        """

    @abstractmethod
    def encode_side(self, side: Side, entropy: E) -> tuple[bytes, dict[str, float]]:
        """Its section; and the section's estimated bits by its name, if they are to be compared with its size."""

    @abstractmethod
    def decode_side(self, section: bytes, header: H, stored: Integers) -> Side:
        """The inverse of :meth:`encode_side`; ``stored`` are the locations of the file's anchors, ``[N, 3]``.

        Raises:
            BitstreamError: the section is damaged, or locations are beyond what the codec takes.
        """

    @abstractmethod
    def walk(
        self,
        header: H,
        coder: C,
        side: Side,
        stored: Integers,
        masks: NDArray[np.bool_],
        stream: SymbolStream,
        device: torch.device | str,
    ) -> dict[str, float]:
        """Codes all anchors in coding order, for encoder and decoder alike.

        Args:
            header: settings.
            coder: networks.
            side: side information.
            stored: ``[N, 3]`` locations in raster order.
            masks: ``[N, K]``.
            stream: takes or gives the symbols.
            device: does the arithmetic.

        Returns:
            numbers of anchors, for tables.
        """

    def encode(
        self,
        path: Path,
        anchors: AnchorModel,
        entropy: E,
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
            TrainingError: no anchor is left, or an attribute or the side information is not finite.
        """
        places = Places.of(anchors, storage)
        header: H = self.Header(
            lmbda=float(lmbda),
            base_steps=base_steps,
            entropy=entropy.settings,
            **self.own_fields(entropy, places.strides),
            **header_fields(anchors, places, viewpoints),
        )
        coder, side = self.export(entropy), self.side(anchors, places, entropy)
        heads, integers = StoredHeads.of(anchors.heads, storage.head_bits), coder.integers()
        stream = writing_stream(anchors, places, header, self.mixed)
        figures = self.walk(header, coder, side, places.stored, places.masks, stream, anchors.coords.device)
        side_section, side_bits = self.encode_side(side, entropy)
        sections = {
            "settings": header.to_bytes(),
            **places.sections(),
            **dict(self._in_order(encode_networks(heads, integers), side_section)),
            **stream.finish(),
        }
        digest = self._digest(places.stored, places.masks, [*heads.integers, *integers], side, stream)
        sizes = write_container(path, self.method, sections, digest)
        return SectionTable(sizes, {**side_bits, **stream.estimated_bits}, figures)

    def decode(self, path: Path, device: torch.device | str = "cpu") -> FixedAnchors:
        """Reads one bitstream.

        Raises:
            BitstreamError: anything about the file that is not as :meth:`encode` wrote it.
        """
        return read_anchor_file(path, self.method, (self.side_section,), lambda file: self._decode(file, device))

    def _decode(self, container: Container, device: torch.device | str) -> FixedAnchors:
        sections = container.sections
        header: H = self.Header.from_bytes(sections["settings"])
        dims = header.entropy.feature_dim, header.entropy.num_offsets
        head_dims = (*dims, header.head_hidden)
        stored, masks = decode_places(sections, header.entropy.num_offsets)
        side = self.decode_side(sections[self.side_section], header, stored)
        with torch.device("meta"):
            shapes = [StoredShape(shape) for shape in self.shapes(self.Model(header.entropy))]
        heads, integers = decode_networks(sections["networks"], head_dims, header.head_bits, shapes)
        coder = self.restore(integers, header, device)
        stream = reading_stream(sections, header, len(stored), *dims, self.mixed)
        self.walk(header, coder, side, stored, masks, stream, device)
        stream.finish()
        check_digest(container, self._digest(stored, masks, [*heads.integers, *integers], side, stream))
        return finished_anchors(header, stored, masks, heads.restored(head_dims), stream, device)

    def _in_order(self, networks: _Part, side: _Part) -> list[tuple[str, _Part]]:
        """What belongs to the networks and to the side information, by section, in the order of the file."""
        parts = [("networks", networks), (self.side_section, side)]
        return parts[::-1] if self.side_first else parts

    def _digest(
        self,
        stored: Integers,
        masks: NDArray[np.bool_],
        integers: Sequence[Integers],
        side: Side,
        stream: SymbolStream,
    ) -> bytes:
        own = self._in_order(integers, [side.astype(np.int64)])
        return symbol_digest(stored, masks, ((name, array) for name, part in own for array in part), stream)
