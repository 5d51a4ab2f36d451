"""The vertices of PLY files, as a table.

Owns the header, the three encodings of the data, and the comparison of what a header announces with what the file
contains. Does not own the meaning of any property.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hemgs.core.errors import SceneError
from hemgs.core.pointers import pointer_fault

_MAX_HEADER_BYTES = 1 << 16
_COUNT = re.compile("[0-9]{1,15}")
#: numpy's order of bytes by encoding; the text encoding has none.
_BYTE_ORDERS: Mapping[str, Literal["=", "<", ">"]] = {
    "ascii": "=",
    "binary_little_endian": "<",
    "binary_big_endian": ">",
}
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip


def read_vertices(path: Path, needed: Sequence[str], fix: str) -> NDArray[np.void]:
    """Read the first element of a PLY file, which must be its vertices.

    Args:
        path: the file.
        needed: properties that every vertex must have.
        fix: what to do where the file cannot be used.

    Returns:
        Structured array ``[N]`` with a field for each property.

    Raises:
        SceneError: the file is missing, incomplete or not a PLY file, or lacks a property.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_MAX_HEADER_BYTES)
            encoding, count, fields, start = _Header(path, needed, fix).parse(head)
            # The size is compared before anything is allocated: a header may claim any number. In text, a value takes
            # a digit and a separator.
            num_bytes = path.stat().st_size - start
            dtype = np.dtype(fields).newbyteorder(_BYTE_ORDERS[encoding])
            vertex_bytes = 2 * len(fields) if encoding == "ascii" else dtype.itemsize
            if count * vertex_bytes > num_bytes + (encoding == "ascii"):
                raise _refused(
                    path, f"{count} vertices of {vertex_bytes} bytes announced, {num_bytes} bytes found", fix
                )
            file.seek(start)
            if encoding == "ascii":
                return _text_vertices(path, file.read(), count, dtype, fix)
            return np.frombuffer(file.read(count * dtype.itemsize), dtype=dtype)
    except OSError as fault:
        raise SceneError(f"{path}: cannot be read ({fault.strerror})", "give an existing PLY file") from fault


def _text_vertices(path: Path, data: bytes, count: int, dtype: np.dtype[np.void], fix: str) -> NDArray[np.void]:
    names = dtype.names or ()
    words = data.split(maxsplit=count * len(names))[: count * len(names)]
    try:
        values = np.array(words, np.float64).reshape(count, len(names))
    except ValueError as fault:
        raise _refused(
            path, f"{count} vertices of {len(names)} numbers announced, others found ({fault})", fix
        ) from fault
    table = np.zeros(count, dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # infinities are the caller's; integers are compared below
        for index, name in enumerate(names):
            table[name] = values[:, index]
    for index, name in enumerate(names):
        if dtype[name].kind != "f" and not np.array_equal(table[name], values[:, index]):
            raise _refused(path, f"values of {name} that do not fit its type", fix)
    return table


class _Header:
    """The header of one file, with what its errors name."""

    def __init__(self, path: Path, needed: Sequence[str], fix: str) -> None:
        self._path, self._needed, self._fix = path, needed, fix

    def parse(self, head: bytes) -> tuple[str, int, list[tuple[str, str]], int]:
        """Return the encoding, the number of vertices, their fields, and the offset of their data in bytes."""
        pointer = pointer_fault(head)
        if pointer is not None:
            raise SceneError(f"{self._path} {pointer[0]}", pointer[1])
        found = re.search(rb"\nend_header\r?\n", head)
        if not re.match(rb"ply\r?\n", head) or found is None:
            raise self._refused("not a PLY file, or its header is cut")
        encoding, element, count = "", "", None
        fields: dict[str, str] = {}
        for words in (line.split() for line in head[: found.start()].decode("ascii", "replace").splitlines()[1:]):
            match words:
                case [] | ["comment" | "obj_info", *_]:
                    continue
                case ["format", encoding, "1.0"] if encoding in _BYTE_ORDERS:
                    continue
                case ["element", element, number] if _COUNT.fullmatch(number):
                    if count is None and element != "vertex":
                        raise self._refused(f"its first element is {element!r}, not 'vertex'")
                    count = int(number) if element == "vertex" else count
                case ["property", _, _, *_] if element:
                    if element == "vertex":
                        self._add_field(fields, words)
                case _:
                    raise self._refused(f"header line {' '.join(words)[:80]!r} is not understood")
        missing = [name for name in self._needed if name not in fields]
        if count is None or missing or not encoding:
            raise self._refused(f"vertex properties missing: {', '.join(missing) or 'all'}")
        return encoding, count, list(fields.items()), found.end()

    def _add_field(self, fields: dict[str, str], words: Sequence[str]) -> None:
        if len(words) != 3 or words[1] not in _TYPES or words[2] in fields:
            raise self._refused(f"vertex property {' '.join(words[1:])!r} is a list, unknown or there twice")
        fields[words[2]] = _TYPES[words[1]]

    def _refused(self, reason: str) -> SceneError:
        return _refused(self._path, reason, self._fix)


def _refused(path: Path, reason: str, fix: str) -> SceneError:
    return SceneError(f"{path}: {reason}", fix)
