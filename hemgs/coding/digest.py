"""The checksum of decoded symbols that every bitstream carries.

Owns the hashed data and the report of a mismatch. Does not own its place in the file (``container``).
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hemgs.core.errors import BitstreamError

DIGEST_BYTES = 16
_CHUNK_SYMBOLS = 1 << 20


class SymbolDigest:
    """BLAKE2b over named arrays of decoded integers, independent of their integer type.

    Encoder and decoder must give equal arrays under equal names in equal order.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def update(self, name: str, integers: ArrayLike) -> None:
        """Add an array of integers or booleans of any shape, in C order.

        Raises:
            ValueError: the array is not of integers, or they exceed int64.
        """
        array = np.asarray(integers)
        if array.size and array.dtype.kind not in "biu":
            raise ValueError(f"{name}: only integers have a digest, not {array.dtype}")
        if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise ValueError(f"{name}: {int(array.max())} exceeds int64")
        label = name.encode("utf-8")
        self._hash.update(struct.pack("<QQ", len(label), array.size) + label)
        flat = array.reshape(-1)
        for start in range(0, flat.size, _CHUNK_SYMBOLS):
            self._hash.update(flat[start : start + _CHUNK_SYMBOLS].astype("<i8").tobytes())

    def digest(self) -> bytes:
        """Return the 16 bytes that a container carries."""
        return self._hash.digest()

    def verify(self, expected: bytes, path: Path) -> None:
        """Check decoded symbols against the digest of the file that they came from.

        Raises:
            BitstreamError: the digests differ.
        """
        if self.digest() != expected:
            raise BitstreamError(
                f"{path}: decoded symbols have digest {self.digest().hex()}, the file contains {expected.hex()}",
                "decode with the version of the program that encoded it, or report a decoder that is not exact here",
            )
