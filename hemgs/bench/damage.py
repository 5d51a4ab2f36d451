"""Damaged copies of a bitstream, for tests of decoders.

Owns the ways in which a file can be cut, altered or forged. Does not judge the decoder (``conformance``).
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hemgs.coding.container import FORMAT_VERSION, MAGIC, inspect_container, read_container, write_container

#: A size that no section of a file can have. A decoder must not allocate it.
CLAIMED_BYTES = 4 << 30
#: Bytes of a section's entry in the table after its name: u64 size, u32 checksum.
_SIZE_FIELD = struct.Struct("<Q")
_CRC_FIELD = struct.Struct("<I")
_NUM_CUTS = 24
_FORGERIES = ("empty", "cut", "zeros", "ones", "noise", "flip")


@dataclass(frozen=True)
class Damaged:
    """One damaged file.

    Attributes:
        what: description of the damage.
        data: its bytes.
        refused: whether every decoder must refuse the file. An altered file with correct checksums may also be a valid
            bitstream with another meaning.
    """

    what: str
    data: bytes
    refused: bool = True


def damaged_copies(path: Path) -> Iterator[Damaged]:
    """Yield damaged copies of a bitstream: cut, extended, with flipped bits, of other versions, with false sizes."""
    data = path.read_bytes()
    report = inspect_container(path)
    borders = [row.offset for row in report.rows] + [report.header_bytes, len(data)]
    around = {border + step for border in borders for step in (-1, 0, 1)}
    spread = {len(data) * part // _NUM_CUTS for part in range(_NUM_CUTS)}
    for length in sorted({0, 1, len(MAGIC), *around, *spread}):
        if length < len(data):
            yield Damaged(f"cut to {length} of {len(data)} bytes", data[:length])
    yield Damaged("one byte too long", data + b"\0")
    ranges = [("container", 0, report.header_bytes)] + [(row.name, row.offset, row.size_bytes) for row in report.rows]
    for name, offset, size in ranges:
        for place in sorted({0, size // 2, size - 1}) if size else ():
            yield Damaged(f"bit flipped in byte {place} of section {name}", _flipped(data, offset + place))
    for version in (FORMAT_VERSION + 1, 0, 0xFFFF):
        other = data[: len(MAGIC)] + struct.pack("<H", version) + data[len(MAGIC) + 2 :]
        yield Damaged(f"format version {version}", _sealed(other, report.header_bytes))
    for row in report.rows:
        claiming = _with_size(data, row.name, CLAIMED_BYTES, report.header_bytes)
        yield Damaged(f"section {row.name} claims 4 GiB", claiming)
    yield Damaged("not a bitstream", b"PK\x03\x04" + data[4:])


def forged_copies(path: Path, scratch: Path) -> Iterator[Damaged]:
    """Yield copies with altered sections and correct checksums, which only an attacker would make.

    Args:
        path: an intact bitstream.
        scratch: path of a temporary file.
    """
    container = read_container(path)
    rng = random.Random(0)
    for name, payload in container.sections.items():
        for kind in _FORGERIES:
            forged = _forge(kind, payload, rng)
            if forged == payload:
                continue
            sections = {**container.sections, name: forged}
            write_container(scratch, container.method, sections, container.symbols_digest, container.trade_off)
            yield Damaged(f"section {name} forged: {kind}", scratch.read_bytes(), refused=False)
        rest = {other: value for other, value in container.sections.items() if other != name}
        write_container(scratch, container.method, rest, container.symbols_digest, container.trade_off)
        yield Damaged(f"section {name} left out", scratch.read_bytes())
    write_container(scratch, "another_method", container.sections, container.symbols_digest, container.trade_off)
    yield Damaged("written by another method", scratch.read_bytes())


def _forge(kind: str, payload: bytes, rng: random.Random) -> bytes:
    size = len(payload)
    if kind == "empty":
        return b""
    if kind == "cut":
        return payload[: size // 2]
    if kind == "noise":
        return rng.randbytes(size)
    if kind == "flip":
        return _flipped(payload, rng.randrange(size)) if size else payload
    return (b"\0" if kind == "zeros" else b"\xff") * size


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def _with_size(data: bytes, section: str, size: int, header_bytes: int) -> bytes:
    """Return the file with another size in one line of its section table."""
    name = bytes([len(section)]) + section.encode("ascii")
    place = data.index(name, len(MAGIC)) + len(name)
    changed = data[:place] + _SIZE_FIELD.pack(size) + data[place + _SIZE_FIELD.size :]
    return _sealed(changed, header_bytes)


def _sealed(data: bytes, header_bytes: int) -> bytes:
    """Return the file with a correct header checksum."""
    end = header_bytes - _CRC_FIELD.size
    return data[:end] + _CRC_FIELD.pack(zlib.crc32(data[:end])) + data[header_bytes:]
