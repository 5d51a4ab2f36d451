"""The ``.gsc`` file: named sections behind a checked header.

Owns the layout of the file, its checksums and every error that a damaged or hostile file gives. Does not own what
sections contain. All numbers are little-endian:

    magic            8 bytes   89 47 53 43 0D 0A 1A 0A  (a text-mode copy breaks it)
    version          u16       2
    sections         u8        at most 32
    method           u8 + n    length and ASCII id, at most 32
    symbols digest   16 bytes  BLAKE2b of the decoded symbols (hemgs.coding.digest)
    fields           u8        bit 0: λ; bit 1: interval of λ; bit 2: reserved for the similarity transform of
                               a scene; other bits are 0. A reader refuses bits that it does not know.
    λ                f64       if bit 0 is set
    interval         2 f64     if bit 1 is set, which needs bit 0: the smallest and the largest λ of the model
    per section      u8 + n    length and ASCII name, at most 16;  u64 bytes;  u32 CRC-32
    header checksum  u32       CRC-32 of everything above
    payloads                   in the order of the table, without gaps, to the end of the file

Version 1 has no fields, λ and interval; codecs of anchors kept λ in their settings section.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hemgs.coding.digest import DIGEST_BYTES
from hemgs.core.errors import BitstreamError
from hemgs.core.files import atomic_path
from hemgs.core.types import NO_TRADE_OFF, LmbdaInterval, TradeOff

MAGIC = b"\x89GSC\r\n\x1a\n"
FORMAT_VERSION = 2
#: Versions that this program reads.
READABLE_VERSIONS = (1, 2)
MAX_SECTIONS = 32
MAX_NAME_BYTES = 16
MAX_METHOD_BYTES = 32
#: Name of the section that counts the header's own bytes.
CONTAINER = "container"

_ID = re.compile(r"[a-z0-9_]+\Z")
_FIXED = struct.Struct("<8sHB")
_LMBDA = struct.Struct("<d")
_INTERVAL = struct.Struct("<dd")
#: Bits of ``fields``.
_HAS_LMBDA, _HAS_INTERVAL = 1, 2
_ENTRY = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_MAX_HEADER_BYTES = (
    _FIXED.size
    + (1 + MAX_METHOD_BYTES)
    + DIGEST_BYTES
    + (1 + _LMBDA.size + _INTERVAL.size)
    + MAX_SECTIONS * (1 + MAX_NAME_BYTES + _ENTRY.size)
    + _CRC.size
)
_CHUNK_BYTES = 1 << 20
_COPY_AGAIN = "copy the file again, or encode it again"


@dataclass(frozen=True)
class Container:
    """A bitstream whose checksums were right.

    Attributes:
        method: id of the method.
        sections: payloads by section, in file order.
        symbols_digest: 16 bytes.
        trade_off: λ and its interval; neither in files of version 1.
        version: version of the format.
    """

    method: str
    sections: dict[str, bytes]
    symbols_digest: bytes
    trade_off: TradeOff = NO_TRADE_OFF
    version: int = FORMAT_VERSION


@dataclass(frozen=True)
class SectionRow:
    """One line of a file's section table.

    Attributes:
        name: name of the section.
        offset: offset of its first byte in the file.
        size_bytes: the size in the table.
        intact: whether the file contains all its bytes, with the checksum of the table.
    """

    name: str
    offset: int
    size_bytes: int
    intact: bool


@dataclass(frozen=True)
class ContainerReport:
    """The header of a bitstream file, and which parts of the file are intact.

    Attributes:
        method: id; version: of the format; symbols_digest: 16 bytes; trade_off: λ and its interval.
        header_bytes, header_intact: size of header and table; whether their checksum is right.
        rows: the section table.
        file_bytes: length of the file.
        expected_bytes: length according to the table.
        fault: why :func:`read_container` refuses header and length of the file; empty if it does not.
    """

    method: str
    version: int
    symbols_digest: bytes
    trade_off: TradeOff
    header_bytes: int
    header_intact: bool
    rows: tuple[SectionRow, ...]
    file_bytes: int
    expected_bytes: int
    fault: str = ""

    @property
    def intact(self) -> bool:
        """Whether :func:`read_container` would accept the file."""
        return not self.fault and all(row.intact for row in self.rows)


def write_container(
    path: Path,
    method: str,
    sections: Mapping[str, bytes],
    symbols_digest: bytes,
    trade_off: TradeOff = NO_TRADE_OFF,
) -> dict[str, int]:
    """Write a bitstream atomically.

    Args:
        path: path of the file; its folder is made.
        method: id, lower snake_case, at most 32 characters.
        sections: payloads by name (lower snake_case, at most 16 characters), written in this order; at most 32.
        symbols_digest: 16 bytes, see :class:`hemgs.coding.digest.SymbolDigest`.
        trade_off: λ and its interval, where the method has them.

    Returns:
        Bytes by section in file order, starting with ``container`` for header and table; they add up to the file.

    Raises:
        ValueError: a name, the number of sections or the digest is not allowed.
        DeviceError: the disk is full.
    """
    header = _pack_header(method, sections, symbols_digest, trade_off)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        for payload in sections.values():
            file.write(payload)
    return {CONTAINER: len(header), **{name: len(payload) for name, payload in sections.items()}}


def read_container(path: Path) -> Container:
    """Read a bitstream and check all of it; allocate no more than the file's length.

    Raises:
        BitstreamError: the file is missing, is no bitstream, is of another version, cut, too long or altered.
    """
    with _open(path) as (file, file_bytes):
        header = _parse_header(file.read(_MAX_HEADER_BYTES), file_bytes, path)
        _check_header(header, file_bytes, path)
        file.seek(header.header_bytes)
        sections = {}
        for entry in header.entries:
            payload = file.read(entry.size_bytes)
            if len(payload) != entry.size_bytes or zlib.crc32(payload) != entry.crc:
                raise BitstreamError(f"{path}: section {entry.name}: checksum does not match", _COPY_AGAIN)
            sections[entry.name] = payload
    return Container(header.method, sections, header.symbols_digest, header.trade_off, header.version)


def inspect_container(path: Path) -> ContainerReport:
    """Read the table of a bitstream and report which parts of the file are intact.

    Raises:
        BitstreamError: the file is missing, is no bitstream, is of another version, or its table cannot be read.
    """
    with _open(path) as (file, file_bytes):
        header = _parse_header(file.read(_MAX_HEADER_BYTES), file_bytes, path)
        rows = []
        offset = header.header_bytes
        for entry in header.entries:
            whole = offset + entry.size_bytes <= file_bytes
            intact = whole and _crc_of_range(file, offset, entry.size_bytes) == entry.crc
            rows.append(SectionRow(entry.name, offset, entry.size_bytes, intact))
            offset += entry.size_bytes
        try:
            _check_header(header, file_bytes, path)
            fault = ""
        except BitstreamError as refusal:
            fault = refusal.message
    return ContainerReport(
        method=header.method,
        version=header.version,
        symbols_digest=header.symbols_digest,
        trade_off=header.trade_off,
        header_bytes=header.header_bytes,
        header_intact=header.intact,
        rows=tuple(rows),
        file_bytes=file_bytes,
        expected_bytes=offset,
        fault=fault,
    )


@dataclass(frozen=True)
class _Entry:
    name: str
    size_bytes: int
    crc: int


@dataclass(frozen=True)
class _Header:
    version: int
    method: str
    symbols_digest: bytes
    trade_off: TradeOff
    entries: tuple[_Entry, ...]
    header_bytes: int
    intact: bool

    @property
    def expected_bytes(self) -> int:
        return self.header_bytes + sum(entry.size_bytes for entry in self.entries)


def _pack_header(method: str, sections: Mapping[str, bytes], symbols_digest: bytes, trade_off: TradeOff) -> bytes:
    if not _is_id(method, MAX_METHOD_BYTES):
        raise ValueError(f"method id {method!r} is not lower snake_case of at most {MAX_METHOD_BYTES} characters")
    if len(sections) > MAX_SECTIONS:
        raise ValueError(f"{len(sections)} sections, at most {MAX_SECTIONS} are allowed")
    if len(symbols_digest) != DIGEST_BYTES:
        raise ValueError(f"the symbols digest has {len(symbols_digest)} bytes, not {DIGEST_BYTES}")
    parts = [_FIXED.pack(MAGIC, FORMAT_VERSION, len(sections)), _pack_text(method), symbols_digest]
    parts.append(_pack_trade_off(trade_off))
    for name, payload in sections.items():
        if not _is_id(name, MAX_NAME_BYTES) or name == CONTAINER:
            raise ValueError(f"section name {name!r} is not lower snake_case of at most {MAX_NAME_BYTES} characters")
        parts += [_pack_text(name), _ENTRY.pack(len(payload), zlib.crc32(payload))]
    head = b"".join(parts)
    return head + _CRC.pack(zlib.crc32(head))


def _parse_header(raw: bytes, file_bytes: int, path: Path) -> _Header:
    """Parse a header that may be hostile; ``raw`` is the start of the file, at most _MAX_HEADER_BYTES."""
    cursor = _Cursor(raw, file_bytes, path)
    if not raw or not MAGIC.startswith(raw[: len(MAGIC)]):
        fault = "the file is empty" if not raw else f"is not a bitstream (starts with {raw[: len(MAGIC)].hex(' ')})"
        raise BitstreamError(f"{path}: {fault}", "give a .gsc file written by `hemgs encode`")
    _, version, num_sections = _FIXED.unpack(cursor.take(_FIXED.size))
    if version not in READABLE_VERSIONS:
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise BitstreamError(
            f"{path}: header: format version {version}, this program reads versions {known}",
            "decode with the version of the program that wrote the file",
        )
    if num_sections > MAX_SECTIONS:
        raise BitstreamError(f"{path}: header: claims {num_sections} sections, at most {MAX_SECTIONS}", _COPY_AGAIN)
    method = cursor.take_text()
    symbols_digest = cursor.take(DIGEST_BYTES)
    trade_off = NO_TRADE_OFF if version == 1 else _take_trade_off(cursor, path)
    entries = []
    for _ in range(num_sections):
        name = cursor.take_text()
        entries.append(_Entry(name, *_ENTRY.unpack(cursor.take(_ENTRY.size))))
    computed = zlib.crc32(raw[: cursor.position])
    (stored,) = _CRC.unpack(cursor.take(_CRC.size))
    return _Header(version, method, symbols_digest, trade_off, tuple(entries), cursor.position, stored == computed)


def _pack_trade_off(trade_off: TradeOff) -> bytes:
    fields, values = 0, b""
    if trade_off.lmbda is not None:
        fields |= _HAS_LMBDA
        values += _LMBDA.pack(trade_off.lmbda)
    if trade_off.interval is not None:
        fields |= _HAS_INTERVAL
        values += _INTERVAL.pack(trade_off.interval.low, trade_off.interval.high)
    return bytes([fields]) + values


def _take_trade_off(cursor: _Cursor, path: Path) -> TradeOff:
    (fields,) = cursor.take(1)
    if fields & ~(_HAS_LMBDA | _HAS_INTERVAL):
        raise BitstreamError(
            f"{path}: header: fields {fields:#04x}, some of which this program does not know",
            "decode with the version of the program that wrote the file",
        )
    try:
        lmbda = _LMBDA.unpack(cursor.take(_LMBDA.size))[0] if fields & _HAS_LMBDA else None
        ends = _INTERVAL.unpack(cursor.take(_INTERVAL.size)) if fields & _HAS_INTERVAL else None
        return TradeOff(lmbda, None if ends is None else LmbdaInterval(*ends))
    except ValueError as fault:
        raise BitstreamError(f"{path}: header: {fault}", _COPY_AGAIN) from fault


def _check_header(header: _Header, file_bytes: int, path: Path) -> None:
    """Refuse a header that is damaged, ill-formed or does not describe a file of this length."""
    if not header.intact:
        raise BitstreamError(f"{path}: header: checksum does not match", _COPY_AGAIN)
    names = [entry.name for entry in header.entries]
    ill_formed = [name for name in names if not _is_id(name, MAX_NAME_BYTES) or name == CONTAINER]
    if not _is_id(header.method, MAX_METHOD_BYTES):
        raise BitstreamError(f"{path}: header: method id {header.method!r} is not allowed", _COPY_AGAIN)
    if ill_formed:
        raise BitstreamError(f"{path}: header: section name {ill_formed[0]!r} is not allowed", _COPY_AGAIN)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BitstreamError(f"{path}: header: section {twice} appears twice", _COPY_AGAIN)
    surplus = file_bytes - header.expected_bytes
    if surplus > 0:
        raise BitstreamError(f"{path}: {surplus} bytes follow the last section", _COPY_AGAIN)
    end = header.header_bytes
    for entry in header.entries:
        end += entry.size_bytes
        if end > file_bytes:
            raise BitstreamError(
                f"{path}: section {entry.name}: cut; {-surplus} bytes are missing from the file "
                f"({file_bytes} of {header.expected_bytes}; the section claims {entry.size_bytes})",
                _COPY_AGAIN,
            )


class _Cursor:
    """Reads fields from the start of a file, and reports a file that ends too early."""

    def __init__(self, raw: bytes, file_bytes: int, path: Path) -> None:
        self._raw, self._file_bytes, self._path = raw, file_bytes, path
        self.position = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._raw):
            if len(self._raw) == self._file_bytes:
                fault = f"cut; at least {end - len(self._raw)} bytes are missing (the file has {self._file_bytes})"
            else:
                fault = f"is longer than the {_MAX_HEADER_BYTES} bytes that a header can have"
            raise BitstreamError(f"{self._path}: header: {fault}", _COPY_AGAIN)
        field = self._raw[self.position : end]
        self.position = end
        return field

    def take_text(self) -> str:
        (length,) = self.take(1)
        return self.take(length).decode("ascii", errors="backslashreplace")


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file; yield it with its length."""
    fix = "check the path; `hemgs encode` writes .gsc files"
    try:
        # This check precedes opening, since a pipe without a writer would block.
        if not stat.S_ISREG(path.stat().st_mode):
            raise BitstreamError(f"{path}: is not a regular file", fix)
        with path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except FileNotFoundError as fault:
        raise BitstreamError(f"{path}: no such file", fix) from fault
    except OSError as fault:
        raise BitstreamError(f"{path}: cannot be read ({fault.strerror})", fix) from fault


def _crc_of_range(file: BinaryIO, offset: int, size: int) -> int:
    file.seek(offset)
    crc = 0
    while size > 0 and (chunk := file.read(min(size, _CHUNK_BYTES))):
        crc = zlib.crc32(chunk, crc)
        size -= len(chunk)
    return crc


def _is_id(text: str, limit: int) -> bool:
    return len(text) <= limit and _ID.match(text) is not None


def _pack_text(text: str) -> bytes:
    data = text.encode("ascii")
    return bytes([len(data)]) + data
