"""Altered copies of bitstreams, each defined by a seed and a number.

Owns the ways in which a file is altered. Does not decode anything. This module builds files from the documented layout,
not with the package's writer, which refuses to write most of the files that a decoder must refuse to read.
"""

from __future__ import annotations

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hemgs.coding.container import FORMAT_VERSION, MAGIC, inspect_container, read_container
from hemgs.coding.digest import SymbolDigest

#: Numbers at the edges of fields: signs, widths of integers, limits of the format, floats that overflow or vanish.
NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2, 3, 7, 8, 16, 22, 31, 64, 255, 256, 1023, 1024, 1025, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32,
    1 << 33, (1 << 63) - 1, 1 << 64, 10**40, -(1 << 31), -(1 << 63), 0.0, -0.0, 0.5, 1.0, 1e-300, 1e-9, 1e9, 1e38,
    1e300, -1e300, float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
#: Values of other types than a field has.
OTHERS: tuple[Any, ...] = (
    None, True, False, "", "x", "0", "pointnet2_bundled", "pointnet2_s3dis_msg", "../x", "\x00", [], {}, [0], [1, 2, 3],
    [1e300] * 3, [[1, 2, 3]], {"a": 1}, [None] * 3, list(range(3, 40)), "9" * 5000,
)  # fmt: skip
#: Fields that a file may lack, and some that no file has.
_FIELDS = (
    "scene_agnostic", "scene_agnostic_sha256", "feature_context", "geometry_context", "window", "rate_octaves", "size",
    "max_neighbours", "multiplier", "more", "self", "",
)  # fmt: skip
_SIZES = (0, 1, 0xFF, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 4 << 30, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_MAX_RUN = 64
_NUM_TRIES = 8


@dataclass(frozen=True)
class Subject:
    """An intact bitstream.

    Attributes:
        name: for tables.
        data: the file.
        header_bytes: offset of its payloads.
        method, sections, digest: contents of the file.
    """

    name: str
    data: bytes
    header_bytes: int
    method: str
    sections: dict[str, bytes]
    digest: bytes
    version: int
    fields: bytes

    @staticmethod
    def read(path: Path) -> Subject:
        """An intact file."""
        container = read_container(path)
        header_bytes, data = inspect_container(path).header_bytes, path.read_bytes()
        start = 12 + len(container.method) + len(container.symbols_digest)
        numbers = [8, 16] if container.version > 1 else []
        length = sum(size for bit, size in enumerate(numbers) if data[start] >> bit & 1) + (container.version > 1)
        return Subject(
            path.stem,
            data,
            header_bytes,
            container.method,
            container.sections,
            container.symbols_digest,
            container.version,
            data[start : start + length],
        )


@dataclass(frozen=True)
class Mutation:
    """An altered file.

    Attributes:
        kind: one of :data:`KINDS`.
        what: description of the change.
        data: the file.
        sealed: whether its checksums are right, so that it may be another valid bitstream; without, it must be refused.
    """

    kind: str
    what: str
    data: bytes
    sealed: bool


def mutation(subjects: Sequence[Subject], seed: int, index: int) -> tuple[Subject, Mutation]:
    """File number ``index`` of the sequence ``seed``, and which of the subjects it was made from."""
    rng = random.Random(f"{seed}:{index}")
    for _ in range(_NUM_TRIES):
        subject = rng.choice(subjects)
        kind = rng.choice(tuple(KINDS))
        found = KINDS[kind](rng, subject, subjects)
        if found.data != subject.data:
            break
    return subject, found


def sealed(
    method: bytes,
    sections: Sequence[tuple[bytes, bytes]],
    digest: bytes,
    version: int = FORMAT_VERSION,
    fields: bytes = b"\0",
) -> bytes:
    """A file of any content with right checksums; nothing is checked. ``fields`` hold λ and its interval."""
    head = MAGIC + struct.pack("<HB", version & 0xFFFF, len(sections) & 0xFF) + bytes([len(method) & 0xFF]) + method
    head += digest + fields
    for name, payload in sections:
        head += bytes([len(name) & 0xFF]) + name + struct.pack("<QI", len(payload), zlib.crc32(payload))
    return head + struct.pack("<I", zlib.crc32(head)) + b"".join(payload for _, payload in sections)


def altered(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """One to three changes anywhere in ``data``, and what they were."""
    changed, texts = bytearray(data), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice(tuple(_CHANGES))
        texts.append(f"{name} {_CHANGES[name](rng, changed)}")
    return bytes(changed), ", ".join(texts)


def _flip(rng: random.Random, data: bytearray) -> str:
    places = [rng.randrange(len(data)) for _ in range(rng.choice((1, 1, 2, 8)))] if data else []
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    return f"at {places}"


def _run(rng: random.Random, data: bytearray) -> str:
    start, size = rng.randrange(len(data) + 1), rng.randint(1, _MAX_RUN)
    size = min(size, len(data) - start)
    fill = rng.choice((b"\0", b"\xff", b"\x80", b""))
    data[start : start + size] = fill * size if fill else rng.randbytes(size)
    return f"of {size} at {start}"


def _cut(rng: random.Random, data: bytearray) -> str:
    length = rng.choice((rng.randrange(len(data) + 1), max(len(data) - rng.randint(1, 9), 0), rng.randint(0, 9)))
    del data[length:]
    return f"to {len(data)}"


def _remove(rng: random.Random, data: bytearray) -> str:
    start, size = rng.randrange(len(data) + 1), rng.randint(1, _MAX_RUN)
    del data[start : start + size]
    return f"{size} at {start}"


def _insert(rng: random.Random, data: bytearray) -> str:
    start, size = rng.randrange(len(data) + 1), rng.randint(1, _MAX_RUN)
    data[start:start] = rng.choice((bytes(size), rng.randbytes(size), bytes(data[start : start + size])))
    return f"{size} at {start}"


def _integer(rng: random.Random, data: bytearray) -> str:
    """Another integer where one may stand."""
    width = rng.choice((1, 2, 4, 8))
    start = min(rng.choice((0, 4, 8, rng.randrange(len(data) + 1))), max(len(data) - width, 0))
    value = rng.choice([number for number in NUMBERS if isinstance(number, int)]) % (1 << 8 * width)
    data[start : start + width] = value.to_bytes(width, "little")
    return f"{value} ({width} bytes) at {start}"


_CHANGES: dict[str, Callable[[random.Random, bytearray], str]] = {
    "flip": _flip, "run": _run, "cut": _cut, "remove": _remove, "insert": _insert, "integer": _integer,
}  # fmt: skip


def _transport(rng: random.Random, subject: Subject, subjects: Sequence[Subject]) -> Mutation:
    """Changes of a broken copy: anywhere in the file, with the original checksums."""
    data, what = altered(rng, subject.data)
    return Mutation("broken copy", what, data, sealed=False)


def _swapped_parts(rng: random.Random, subject: Subject, subjects: Sequence[Subject]) -> Mutation:
    """Payloads in another order than the table says."""
    order = list(subject.sections)
    rng.shuffle(order)
    data = subject.data[: subject.header_bytes] + b"".join(subject.sections[name] for name in order)
    return Mutation("swapped payloads", " ".join(order), data, sealed=False)


def _header(rng: random.Random, subject: Subject, subjects: Sequence[Subject]) -> Mutation:
    """A field of the container's header, its checksum made to fit."""
    end = subject.header_bytes - 4
    head = bytearray(subject.data[:end])
    field = rng.choice(("any", "version", "sections", "digest", "size"))
    if field == "any":
        changed, what = altered(rng, bytes(head))
        head = bytearray(changed)
    elif field == "version":
        head[8:10] = rng.choice((0, 1, 2, 3, 255, 256, 0xFFFF)).to_bytes(2, "little")
        what = "version"
    elif field == "sections":
        head[10] = rng.choice((0, 1, len(subject.sections) - 1, len(subject.sections) + 1, 32, 33, 255))
        what = f"{head[10]} sections"
    elif field == "digest":
        place = 12 + len(subject.method) + rng.randrange(16)
        head[place] ^= 1 << rng.randrange(8)
        what = "digest of the symbols"
    else:
        name = rng.choice(tuple(subject.sections))
        place = bytes(head).index(bytes([len(name)]) + name.encode(), 12) + 1 + len(name)
        size = rng.choice((*_SIZES, len(subject.sections[name]) + 1, max(len(subject.sections[name]) - 1, 0)))
        head[place : place + 8] = size.to_bytes(8, "little")
        what = f"section {name} claims {size} bytes"
    data = bytes(head) + struct.pack("<I", zlib.crc32(head)) + subject.data[subject.header_bytes :]
    return Mutation("forged header", what, data, sealed=True)


def _payload(rng: random.Random, subject: Subject, subjects: Sequence[Subject]) -> Mutation:
    """One section altered, its checksum made to fit."""
    name = rng.choice(tuple(subject.sections))
    payload, what = altered(rng, subject.sections[name])
    return _forged(rng, subject, {**subject.sections, name: payload}, "forged section", f"{name}: {what}")


def _table(rng: random.Random, subject: Subject, subjects: Sequence[Subject]) -> Mutation:
    """Sections left out, doubled, renamed, in another order, with each other's or another file's payload."""
    pairs = [(name.encode(), payload) for name, payload in subject.sections.items()]
    first, second = rng.randrange(len(pairs)), rng.randrange(len(pairs))
    method = subject.method.encode()
    change = rng.choice(("leave out", "double", "rename", "reorder", "exchange", "transplant", "method", "add", "many"))
    if change == "leave out":
        del pairs[first]
    elif change == "double":
        pairs.insert(second, pairs[first])
    elif change == "rename":
        names = (b"", b"container", b"SETTINGS", b"x" * 16, b"y" * 17, b"\xff\xfe", b"a/b", pairs[second][0])
        pairs[first] = (rng.choice(names), pairs[first][1])
    elif change == "reorder":
        pairs[first], pairs[second] = pairs[second], pairs[first]
    elif change == "exchange":
        (name, payload), (other, its) = pairs[first], pairs[second]
        pairs[first], pairs[second] = (name, its), (other, payload)
    elif change == "transplant":
        donor = rng.choice(subjects)
        payload = donor.sections.get(pairs[first][0].decode()) or rng.choice(tuple(donor.sections.values()))
        pairs[first] = (pairs[first][0], payload)
    elif change == "method":
        method = rng.choice(
            (b"", b"x", b"hemgs", b"gs3d", b"scaffold_gs", b"hac", b"context_gs", b"A" * 33, b"\xff", b"os:system")
        )
    elif change == "add":
        pairs.insert(second, (b"extra_part", rng.randbytes(rng.randint(0, 99))))
    else:
        pairs += [(b"s%d" % number, b"") for number in range(rng.choice((20, 40)))]
    what = f"{change} {first} {second}"
    return Mutation(
        "forged table", what, sealed(method, pairs, subject.digest, subject.version, subject.fields), sealed=True
    )


def _settings(rng: random.Random, subject: Subject, subjects: Sequence[Subject]) -> Mutation:
    """Fields of the settings: in their JSON where they have one, else in their bytes."""
    payload = subject.sections["settings"]
    try:
        values = json.loads(zlib.decompress(payload))
    except (zlib.error, ValueError):
        changed = bytearray(payload)
        what = "integer " + _integer(rng, changed)
        return _forged(rng, subject, {**subject.sections, "settings": bytes(changed)}, "forged settings", what)
    if rng.random() < 0.05:
        text = rng.choice(
            (b"[" * 60_000, b"0" * (1 << 24), b'{"a":' * 9000, b"null", b"[]", b"{}", b'"x"', b"\xff", b"")
        )
        what = f"{len(text)} bytes starting with {text[:8]!r}"
    else:
        choice = rng.random()
        if choice < 0.1:
            what = _sizes(rng, values)
        elif choice < 0.2 and "window" in values.get("entropy", {}):
            what = _window(rng, values["entropy"]["window"])
        else:
            what = ", ".join(_edit(rng, values) for _ in range(rng.choice((1, 1, 1, 2, 3))))
        text = json.dumps(values).encode()
    data = zlib.compress(text, rng.choice((0, 1, 9)))
    return _forged(rng, subject, {**subject.sections, "settings": data}, "forged settings", what)


def _edit(rng: random.Random, values: Any) -> str:
    """Another value for one field, at any depth."""
    places = list(_places(values))
    if not places:
        return "nothing left"
    holder, key = rng.choice(places)
    old = holder[key]
    change = rng.random()
    if change < 0.08:
        del holder[key]
        return f"without {key}"
    if change < 0.15 and isinstance(holder, dict):
        name = rng.choice(_FIELDS)
        holder[name] = copy.deepcopy(rng.choice(NUMBERS if rng.random() < 0.5 else OTHERS))
        return f"{name}, next to {key}: {str(holder[name])[:40]}"
    number = isinstance(old, int | float) and not isinstance(old, bool)
    if number and change < 0.6:
        holder[key] = rng.choice((old + 1, old - 1, old * 2, old // 2, old * 1.5, -old, float(old)))
    else:
        holder[key] = copy.deepcopy(rng.choice(NUMBERS if change < 0.85 else OTHERS))
    return f"{key}: {str(holder[key])[:40]}"


def _sizes(rng: random.Random, values: Any) -> str:
    """Some sizes at once as large as a decoder may allow: for what it would allocate on a file's word."""
    limit, share = rng.choice((16, 22, 64, 255, 1024, 1 << 15)), rng.choice((0.3, 0.6, 1.0))
    for holder, key in list(_places(values)):
        if type(holder[key]) is int and holder[key] > 1 and rng.random() < share:
            most = 22 if "log2" in str(key) else 64 if key == "num_offsets" else 16 if key == "features" else limit
            holder[key] = min(limit, most)
    return f"sizes {limit}"


def _window(rng: random.Random, window: dict[str, Any]) -> str:
    """A window of neighbours as wide as a decoder may allow, or wider: for pairs of anchors without number."""
    window["size"], window["multiplier"] = rng.choice(((25, 1), (25, 4), (25, 16), (25, 64), (255, 1), (255, 64)))
    window["max_neighbours"] = rng.choice((0, 20, 1024))
    return f"window {window}"


def _places(values: Any) -> Any:
    """Every holder and key in nested dicts and lists."""
    keys = list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    for key in keys:
        yield values, key
        yield from _places(values[key])


def _forged(rng: random.Random, subject: Subject, sections: dict[str, bytes], kind: str, what: str) -> Mutation:
    digest = subject.digest
    fitting = _digest_of(sections) if subject.method != "hemgs" and rng.random() < 0.5 else None
    if fitting is not None:
        digest, what = fitting, f"{what}; digest made to fit"
    pairs = [(name.encode(), payload) for name, payload in sections.items()]
    return Mutation(
        kind, what, sealed(subject.method.encode(), pairs, digest, subject.version, subject.fields), sealed=True
    )


def _digest_of(sections: dict[str, bytes]) -> bytes | None:
    """The digest of methods that keep values as they are; the one of HEMGS takes decoding."""
    digest = SymbolDigest()
    for name, payload in sections.items():
        if len(payload) % 4 and name != "settings":
            return None
        if name != "settings":
            digest.update(name, memoryview(payload).cast("i"))
    return digest.digest()


KINDS: dict[str, Callable[[random.Random, Subject, Sequence[Subject]], Mutation]] = {
    "broken copy": _transport,
    "swapped payloads": _swapped_parts,
    "forged header": _header,
    "forged section": _payload,
    "forged table": _table,
    "forged settings": _settings,
}
