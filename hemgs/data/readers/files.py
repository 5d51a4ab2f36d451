"""Reading of whole files of a capture, with the faults that every format shares.

Owns byte order marks, encodings and pointer files. Does not own any format.
"""

from __future__ import annotations

import io
from pathlib import Path

from hemgs.core.errors import SceneError
from hemgs.core.pointers import pointer_fault


def read_data(path: Path) -> bytes:
    """Return the contents of a file.

    Raises:
        SceneError: the file cannot be read, or is the pointer that Git LFS or git-annex keep in its place.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise SceneError(f"{path} cannot be read ({fault.strerror})", "check the file and its permissions") from fault
    pointer = pointer_fault(data)
    if pointer is not None:
        raise SceneError(f"{path} {pointer[0]}", pointer[1])
    return data


def read_text(path: Path, fix: str) -> str:
    r"""Return the text of a UTF-8 file, with or without a byte order mark; lines end with ``\n``.

    Args:
        path: the file.
        fix: what to do where the file is not such text.

    Raises:
        SceneError: as :func:`read_data`, or the file has another encoding.
    """
    try:
        text = read_data(path).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise SceneError(f"{path} is not a text file in UTF-8 ({fault})", fix) from fault
    return io.StringIO(text, newline=None).read()
