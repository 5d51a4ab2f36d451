from __future__ import annotations

import errno
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from hemgs.coding import container
from hemgs.coding.container import inspect_container, read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.core.errors import BitstreamError, DeviceError
from hemgs.core.types import LmbdaInterval, TradeOff

SECTIONS = {
    name: bytes(range(number, 7 * number % 251 + number))
    for number, name in enumerate(
        ["settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets", "other"], start=3
    )
}
DIGEST = bytes(range(16))


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "some.gsc"
    write_container(path, "hemgs", SECTIONS, DIGEST)
    return path


def header_of(path: Path) -> bytes:
    return path.read_bytes()[: inspect_container(path).header_bytes]


def forge(path: Path, rows: list[tuple[bytes, int, int]], payload: bytes = b"", count: int | None = None) -> Path:
    """Write a file with any header and a correct header checksum; rows are (name, size, checksum)."""
    head = (
        struct.pack("<8sHB", container.MAGIC, 2, len(rows) if count is None else count) + b"\x05hemgs" + DIGEST + b"\0"
    )
    for name, size, crc in rows:
        head += bytes([len(name)]) + name + struct.pack("<QI", size, crc)
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + payload)
    return path


def refused(path: Path, match: str) -> BitstreamError:
    """Reading must fail with this message, must name the file and a fix, and must not need memory."""
    tracemalloc.start()
    with pytest.raises(BitstreamError, match=match) as caught:
        read_container(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20
    assert str(path) in caught.value.message
    assert caught.value.fix
    return caught.value


def test_round_trip_and_sizes(file):
    sizes = write_container(file, "hemgs", SECTIONS, DIGEST)
    read = read_container(file)
    assert (read.method, read.sections, read.symbols_digest) == ("hemgs", SECTIONS, DIGEST)
    assert list(read.sections) == list(SECTIONS)
    assert list(sizes) == ["container", *SECTIONS]
    assert {name: sizes[name] for name in SECTIONS} == {name: len(payload) for name, payload in SECTIONS.items()}
    assert sum(sizes.values()) == file.stat().st_size
    assert sizes["container"] <= 250


@pytest.mark.parametrize("sections", [{}, {"a": b""}, {"a": b"", "b": b"\0", "c": b""}])
def test_small_files(tmp_path, sections):
    sizes = write_container(tmp_path / "x.gsc", "m", sections, DIGEST)
    assert sum(sizes.values()) == (tmp_path / "x.gsc").stat().st_size
    assert read_container(tmp_path / "x.gsc").sections == sections


def test_two_writes_are_the_same_bytes(file):
    before = file.read_bytes()
    write_container(file, "hemgs", SECTIONS, DIGEST)
    assert file.read_bytes() == before


def test_inspection_of_a_sound_file(file):
    report = inspect_container(file)
    assert report.intact
    assert (report.method, report.version, report.symbols_digest) == ("hemgs", 2, DIGEST)
    assert report.file_bytes == report.expected_bytes == file.stat().st_size
    data = file.read_bytes()
    assert {row.name: data[row.offset : row.offset + row.size_bytes] for row in report.rows} == SECTIONS


@pytest.mark.parametrize(
    ("method", "sections", "digest"),
    [
        ("", {}, DIGEST),
        ("Hemgs", {}, DIGEST),
        ("m" * 33, {}, DIGEST),
        ("m", {"": b""}, DIGEST),
        ("m", {"with space": b""}, DIGEST),
        ("m", {"name\n": b""}, DIGEST),
        ("m", {"é": b""}, DIGEST),
        ("m", {"n" * 17: b""}, DIGEST),
        ("m", {"container": b""}, DIGEST),
        ("m", {f"s{i}": b"" for i in range(33)}, DIGEST),
        ("m", {}, DIGEST[:15]),
    ],
)
def test_writer_refuses(tmp_path, method, sections, digest):
    with pytest.raises(ValueError, match=r"not|allowed"):
        write_container(tmp_path / "x.gsc", method, sections, digest)
    assert not list(tmp_path.iterdir())


def test_largest_header_can_be_read(tmp_path):
    sections = {f"section_name_{i:03d}": bytes([i]) for i in range(32)}
    write_container(tmp_path / "x.gsc", "m" * 32, sections, DIGEST)
    assert read_container(tmp_path / "x.gsc").sections == sections


def test_missing_file(tmp_path):
    refused(tmp_path / "no.gsc", r"no\.gsc: no such file")


def test_directory_and_pipe(tmp_path):
    refused(tmp_path, "is not a regular file")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is not a regular file")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"ply\nformat", b"\x89GSD", bytes(1)])
def test_other_files(tmp_path, content):
    (tmp_path / "x.gsc").write_bytes(content)
    refused(tmp_path / "x.gsc", "is not a bitstream")


def test_empty_file(tmp_path):
    (tmp_path / "x.gsc").write_bytes(b"")
    refused(tmp_path / "x.gsc", "the file is empty")


def test_text_mode_copy(file):
    file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n"))
    refused(file, "is not a bitstream")


def test_every_cut_is_reported_with_the_bytes_missing(file):
    data = file.read_bytes()
    header_bytes = len(header_of(file))
    for length in range(len(data)):
        file.write_bytes(data[:length])
        message = refused(file, "empty|header|section").message
        if length >= header_bytes:
            assert f"cut; {len(data) - length} bytes are missing" in message
            assert "section " in message
        elif length:
            assert "header: cut; at least" in message
        assert not length >= header_bytes or not inspect_container(file).intact


def test_cut_names_the_first_section_that_lacks_bytes(file):
    end = {row.name: row.offset + row.size_bytes for row in inspect_container(file).rows}
    data = file.read_bytes()
    file.write_bytes(data[: end["masks"] - 1])
    refused(file, "section masks: cut")
    rows = inspect_container(file).rows
    assert [row.name for row in rows if row.intact] == ["settings", "locations"]


def test_trailing_bytes(file):
    file.write_bytes(file.read_bytes() + bytes(5))
    refused(file, "5 bytes follow the last section")
    assert not inspect_container(file).intact
    assert all(row.intact for row in inspect_container(file).rows)


def test_every_flipped_byte_is_noticed_and_placed(file):
    data = file.read_bytes()
    rows = inspect_container(file).rows
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        file.write_bytes(changed)
        owner = [row.name for row in rows if row.offset <= position < row.offset + row.size_bytes]
        if owner:
            refused(file, f"section {owner[0]}: checksum does not match")
            assert [row.name for row in inspect_container(file).rows if not row.intact] == owner
        elif position < 8:
            refused(file, "is not a bitstream")
        else:
            refused(file, "header: ")


def test_other_version(file):
    data = bytearray(file.read_bytes())
    data[8:10] = struct.pack("<H", 3)
    file.write_bytes(data)
    error = refused(file, "format version 3, this program reads versions 1 and 2")
    assert "version" in error.fix
    with pytest.raises(BitstreamError, match="format version 3"):
        inspect_container(file)


@pytest.mark.parametrize("size", [4 << 30, 1 << 63, (1 << 64) - 1])
def test_claimed_sizes_are_checked_before_anything_is_read(tmp_path, size):
    path = forge(tmp_path / "x.gsc", [(b"features", size, 0), (b"offsets", 4, 0)], bytes(100))
    error = refused(path, "section features: cut; ")
    assert f"the section claims {size}" in error.message
    assert not inspect_container(path).intact


def test_claimed_sizes_that_would_wrap_around(tmp_path):
    rows = [(b"features", (1 << 64) - 8, 0), (b"offsets", 16, 0)]
    refused(forge(tmp_path / "x.gsc", rows, bytes(8)), "section features: cut")


def test_duplicate_and_ill_formed_names(tmp_path):
    path = tmp_path / "x.gsc"
    refused(forge(path, [(b"masks", 0, 0), (b"masks", 0, 0)]), "section masks appears twice")
    for name in (b"", b"UPPER", b"a b", b"../../x", b"\xff\x00", b"a" * 17, b"n" * 200, b"container", b"a\n"):
        refused(forge(path, [(name, 0, 0)]), "header: section name .* is not allowed")


def test_absurd_section_counts(tmp_path):
    path = tmp_path / "x.gsc"
    refused(forge(path, [], count=255), "claims 255 sections, at most 32")
    refused(forge(path, [], count=32), "header: cut; at least")
    refused(forge(path, [], bytes(5000), count=32), "header: checksum does not match")
    refused(forge(path, [(b"n" * 255, 0, 0)] * 32), r"header: is longer than the \d+ bytes")


def test_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    class FullDisk:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def write(self, data):
            if self._file.tell() > 100:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r", *rest: FullDisk(real(path, mode, *rest)))
    with pytest.raises(DeviceError, match=r"no space left while writing .*x\.gsc"):
        write_container(tmp_path / "x.gsc", "m", {"a": bytes(200), "b": bytes(200)}, DIGEST)
    assert not list(tmp_path.iterdir())


def test_full_disk_keeps_the_older_file(file, monkeypatch):
    before = file.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeviceError, match="no space left"):
        write_container(file, "hemgs", {"a": b"1"}, DIGEST)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_symbol_digest_knows_values_not_types():
    def digest(*updates):
        symbols = SymbolDigest()
        for name, array in updates:
            symbols.update(name, array)
        return symbols.digest()

    values = [0, 1, 5, 100]
    expected = digest(("a", np.array(values, np.int64)))
    assert len(expected) == 16
    for kind in (np.uint8, np.int16, np.uint32, ">i4", np.uint64):
        assert digest(("a", np.array(values, kind))) == expected
    assert digest(("a", np.array(values, np.int8)[::-1][::-1].reshape(2, 2))) == expected
    assert digest(("a", np.array([False, True]))) == digest(("a", [0, 1]))
    different = [
        digest(("b", values)),
        digest(("a", values[:3])),
        digest(("a", [0, 1, 5, 101])),
        digest(("a", [1, 0, 5, 100])),
        digest(("a", values[:2]), ("a", values[2:])),
        digest(("a", values), ("a", [])),
        digest(("a", [0, 1, 5, -100])),
    ]
    assert len({expected, *different}) == 1 + len(different)


def test_symbol_digest_is_pinned():
    symbols = SymbolDigest()
    symbols.update("features", np.arange(-3, 2_000_000))  # more than one chunk
    symbols.update("masks", [True, False])
    assert symbols.digest().hex() == "e042bb4afd42fd8bcd7c5846f6314601"


@pytest.mark.parametrize("array", [[0.5], np.array([2**63], np.uint64), ["a"], np.array([None])])
def test_symbol_digest_refuses(array):
    with pytest.raises(ValueError, match=r"integers|exceeds int64"):
        SymbolDigest().update("a", array)


def test_verify_names_the_file():
    symbols = SymbolDigest()
    symbols.verify(SymbolDigest().digest(), Path("x.gsc"))
    with pytest.raises(BitstreamError, match=r"x\.gsc: decoded symbols"):
        symbols.verify(DIGEST, Path("x.gsc"))


INTERVAL = LmbdaInterval(0.001, 0.004)
TRADE_OFFS = [TradeOff(), TradeOff(0.002), TradeOff(0.002, INTERVAL)]


@pytest.mark.parametrize("trade_off", TRADE_OFFS)
def test_lmbda_and_its_interval_come_back(file: Path, trade_off: TradeOff) -> None:
    sizes = write_container(file, "hemgs", SECTIONS, DIGEST, trade_off)
    assert sum(sizes.values()) == file.stat().st_size
    assert read_container(file).trade_off == inspect_container(file).trade_off == trade_off
    assert read_container(file).sections == SECTIONS


def with_fields(path: Path, fields: bytes) -> Path:
    """A file whose header checksum is right, without sections."""
    head = struct.pack("<8sHB", container.MAGIC, 2, 0) + b"\x05hemgs" + DIGEST + fields
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)))
    return path


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (b"\x04" + bytes(60), "fields 0x04"),  # a field of a later version: a similarity transform
        (b"\x80", "fields 0x80"),
        (b"\x01" + struct.pack("<d", float("nan")), "lmbda must be a positive number"),
        (b"\x01" + struct.pack("<d", -0.002), "lmbda must be a positive number"),
        (b"\x02" + struct.pack("<dd", 0.001, 0.004), "outside its interval"),
        (b"\x03" + struct.pack("<ddd", 0.005, 0.001, 0.004), "outside its interval"),
        (b"\x03" + struct.pack("<ddd", 0.002, 0.004, 0.001), "must rise"),
        (b"\x03" + struct.pack("<ddd", 0.002, 0.001, float("inf")), "must rise"),
    ],
)
def test_fields_that_no_encoder_writes_are_refused(tmp_path: Path, fields: bytes, match: str) -> None:
    refused(with_fields(tmp_path / "x.gsc", fields), match)


def test_version_1_has_neither(tmp_path: Path) -> None:
    head = struct.pack("<8sHB", container.MAGIC, 1, 0) + b"\x05hemgs" + DIGEST
    (tmp_path / "x.gsc").write_bytes(head + struct.pack("<I", zlib.crc32(head)))
    found = read_container(tmp_path / "x.gsc")
    assert (found.version, found.trade_off) == (1, TradeOff())


@pytest.mark.parametrize("names", [(b"locations", b"locations"), (b"Locations",), (b"container",), (b"a b",)])
def test_inspection_refuses_the_names_that_reading_refuses(tmp_path: Path, names: tuple[bytes, ...]) -> None:
    path = forge(tmp_path / "x.gsc", [(name, 0, 0) for name in names])
    report = inspect_container(path)
    assert not report.intact
    assert report.fault == refused(path, "section").message
