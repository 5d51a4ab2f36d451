"""The base class of all codecs of anchors: from a trained model to one file, and back.

A file contains settings, locations and masks, then networks and side information in a codec's own order, then features,
scalings and offsets. Everything that decides a step or a probability is integer arithmetic.

Owns the steps of encoding and decoding and their order. Does not own networks, side information and the order in which
anchors are coded (codecs extend :class:`AnchorCodec`), or how single sections are written (``file``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemgs.anchor_codec.file import (
    Places,
    check_digest,
    decode_places,
    finished_anchors,
    header_fields,
    read_anchor_file,
    reading_stream,
    symbol_digest,
    writing_stream,
)
from hemgs.anchor_codec.header import AnchorHeader
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.settings import AS_PUBLISHED, Storage
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchor_codec.stored_networks import (
    Stored,
    StoredHeads,
    StoredParts,
    StoredShape,
    decode_networks,
    encode_networks,
)
from hemgs.anchor_codec.streams import ONE_CHUNK, SymbolStream
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, write_container
from hemgs.core.types import SectionTable, TradeOff

#: Side information: integers of any type and shape.
Side = NDArray[Any]
_Part = TypeVar("_Part")


@dataclass(frozen=True, kw_only=True)
class CodecHeader(AnchorHeader):
    """Settings of one bitstream.

    Attributes:
        Settings: class of ``entropy``.
        entropy: sizes of the entropy model, an :class:`EntropySizes`.
    """

    Settings: ClassVar[type]
    entropy: Any

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        return {"entropy": cls.Settings(**raw.pop("entropy"))}

    def check(self) -> None:
        super().check()
        self.entropy.check()


E = TypeVar("E", bound=nn.Module)
H = TypeVar("H", bound=CodecHeader)
C = TypeVar("C")


@dataclass(frozen=True)
class CodingTask(Generic[H, C]):
    """The parts of a file that encoder and decoder know before they code its symbols.

    Attributes:
        header: settings.
        coder: coding networks.
        side: side information.
        locations: ``[N, 3]`` stored locations in raster order.
        masks: ``[N, K]``.
        stream: stream that writes or reads the symbols.
        device: device of the arithmetic.
    """

    header: H
    coder: C
    side: Side
    locations: Integers
    masks: NDArray[np.bool_]
    stream: SymbolStream
    device: torch.device | str


class AnchorCodec(ABC, Generic[E, H, C]):
    """The writer and reader of one method's files.

    The type parameters are the entropy model, which has ``settings``, the settings section, and the coding networks.
    Coding networks compute in integers. Some codecs also have them in floating point.

    Attributes:
        method: id of the method in files.
        Model, Header: classes of the entropy model and of the settings section.
        side_section: name of the section of the side information.
        side_first: whether that section precedes the networks.
        mixed: attributes whose symbols have mixtures as distributions.
    """

    method: ClassVar[str]
    Model: ClassVar[Any]
    Header: ClassVar[Any]
    side_section: ClassVar[str]
    side_first: ClassVar[bool]
    mixed: ClassVar[Collection[str]] = ()

    @abstractmethod
    def own_fields(self, entropy: E, strides: tuple[float, float, float]) -> dict[str, Any]:
        """Return settings that only this codec has; ``strides`` are lattice units per stored location unit, by axis."""

    @abstractmethod
    def export(self, entropy: E) -> list[Stored]:
        """Return the parts of the trained networks that a file stores."""

    @abstractmethod
    def shapes(self, blank: E) -> list[StoredShape]:
        """Return the shapes of what :meth:`export` returns; ``blank`` is a model without data."""

    @abstractmethod
    def restore(self, parts: StoredParts, header: H) -> C:
        """Return the coding networks, from the parts that :meth:`export` returned.

        Raises:
            BitstreamError: the file contains values that no encoder writes.
        """

    @abstractmethod
    def side(self, anchors: AnchorModel, places: Places, entropy: E) -> Side:
        """Return the side information.

        Raises:
            TrainingError: the side information cannot be coded.
        """

    @abstractmethod
    def encode_side(self, side: Side, header: H, locations: Integers, entropy: E) -> tuple[bytes, dict[str, float]]:
        """Return the section of the side information, and its estimated bits by name if tables compare them.

        Args:
            side: result of :meth:`side`; entries that the section leaves out are set to the decoder's values.
            header: settings.
            locations: ``[N, 3]`` stored locations.
            entropy: the model.
        """

    @abstractmethod
    def decode_side(self, section: bytes, header: H, locations: Integers) -> Side:
        """Invert :meth:`encode_side`.

        Raises:
            BitstreamError: the section is damaged, or locations exceed what the codec accepts.
        """

    @abstractmethod
    def walk(self, task: CodingTask[H, C]) -> Mapping[str, float]:
        """Code all anchors in coding order; encoder and decoder share this method.

        Returns:
            Counts of anchors by name, for tables.
        """

    def prepare(self, entropy: E, locations: Integers) -> None:
        """Choose the settings that training left to the encoder; ``locations`` are those of :class:`CodingTask`."""

    def chunks(self, header: H) -> Mapping[str, int]:
        """Return the number of chunks that an attribute's channels are coded in; attributes not listed have one."""
        return ONE_CHUNK

    def encoding_device(self, header: H, device: torch.device | str) -> torch.device | str:
        """Return the device of an encoder, given that of the anchors."""
        return device

    def decoding_device(self, header: H, device: torch.device | str) -> torch.device | str:
        """Return the device of a decoder, given that of its result."""
        return device

    def encode(
        self,
        path: Path,
        anchors: AnchorModel,
        entropy: E,
        base_steps: BaseSteps,
        trade_off: TradeOff,
        viewpoints: Tensor,
        storage: Storage = AS_PUBLISHED,
    ) -> SectionTable:
        """Write one bitstream; equal input gives equal bytes.

        Args:
            path: path of the file.
            anchors, entropy: trained models, on one device.
            base_steps: base steps of the training.
            trade_off: λ to encode at, and the interval that the model serves.
            viewpoints: ``[V, 3] float32`` camera centres for exports to plain Gaussians.
            storage: options of the sections that all codecs share.

        Raises:
            ConfigError: no decoder accepts a file with these settings.
            TrainingError: no anchor is left, or an attribute or the side information is not finite.
        """
        places = Places.of(anchors, storage)
        locations, masks = places.stored, places.masks
        self.prepare(entropy, locations)
        header: H = self.Header(
            trade_off=trade_off,
            base_steps=base_steps,
            entropy=entropy.settings,
            **self.own_fields(entropy, places.strides),
            **header_fields(anchors, places, viewpoints),
        )
        settings = header.to_bytes()
        side = self.side(anchors, places, entropy)
        side_section, side_bits = self.encode_side(side, header, locations, entropy)
        stored = self.export(entropy)
        device = self.encoding_device(header, anchors.coords.device)
        stream = writing_stream(anchors, places, header, self.mixed, self.chunks(header))
        coder = self.restore(StoredParts(stored, device), header)
        figures = self.walk(CodingTask(header, coder, side, locations, masks, stream, device))
        heads = StoredHeads.of(anchors.heads, storage.head_bits)
        sections = {
            "settings": settings,
            **places.sections(),
            **dict(self._in_order(encode_networks(heads, stored), side_section)),
            **stream.finish(),
        }
        digest = self._digest(locations, masks, [*heads.integers, *stored], side, stream)
        sizes = write_container(path, self.method, sections, digest, trade_off)
        return SectionTable(sizes, {**side_bits, **stream.estimated_bits}, figures)

    def decode(self, path: Path, device: torch.device | str = "cpu") -> FixedAnchors:
        """Read one bitstream.

        Raises:
            BitstreamError: the file is not one that :meth:`encode` wrote.
        """
        return read_anchor_file(path, self.method, (self.side_section,), lambda file: self._decode(file, device))

    def check_file(self, path: Path) -> None:
        """Check what can be checked without decoding: the sections, and the settings.

        Raises:
            BitstreamError: :meth:`decode` refuses the file.
        """
        read_anchor_file(path, self.method, (self.side_section,), self.Header.of_file)

    def _decode(self, container: Container, device: torch.device | str) -> FixedAnchors:
        sections = container.sections
        header: H = self.Header.of_file(container)
        dims = header.entropy.feature_dim, header.entropy.num_offsets
        head_dims = (*dims, header.head_hidden)
        locations, masks = decode_places(sections, header.entropy.num_offsets)
        side = self.decode_side(sections[self.side_section], header, locations)
        with torch.device("meta"):
            shapes = self.shapes(self.Model(header.entropy))
        heads, stored = decode_networks(sections["networks"], head_dims, header.head_bits, shapes)
        processor = self.decoding_device(header, device)
        coder = self.restore(StoredParts(stored, processor), header)
        stream = reading_stream(sections, header, len(locations), *dims, self.mixed, self.chunks(header))
        self.walk(CodingTask(header, coder, side, locations, masks, stream, processor))
        stream.finish()
        check_digest(container, self._digest(locations, masks, [*heads.integers, *stored], side, stream))
        return finished_anchors(header, locations, masks, heads.restored(head_dims), stream, device)

    def _in_order(self, networks: _Part, side: _Part) -> list[tuple[str, _Part]]:
        """Order the parts of the networks and of the side information by section, as in the file."""
        parts = [("networks", networks), (self.side_section, side)]
        return parts[::-1] if self.side_first else parts

    def _digest(
        self,
        locations: Integers,
        masks: NDArray[np.bool_],
        networks: Sequence[Stored],
        side: Side,
        stream: SymbolStream,
    ) -> bytes:
        # The bit patterns of networks in floating point.
        patterns = [part.view(np.int16) if part.dtype == np.float16 else part for part in networks]
        own: list[tuple[str, list[Any]]] = self._in_order(patterns, [side.astype(np.int64)])
        return symbol_digest(locations, masks, ((name, array) for name, part in own for array in part), stream)
