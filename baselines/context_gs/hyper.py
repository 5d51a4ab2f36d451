"""The section ``hyper``: latents of anchors, coded with one stored table of frequencies for each channel.

For each channel it contains its centre (i32), the half width h of its table (u8) and 2h + 1 frequencies (u16), at least
1 each. They are those of the values around the centre. The rest to 65536 is the frequency of all other values, which
are escaped. Then follows one stream with all latents of the first anchor, the second, and so on. All numbers are
little-endian.

Owns the section's framing and the choice of tables. Does not own the coder (``hemgs.coding.rans``) or the density, from
which frequencies come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.streams import chunks
from hemgs.coding.rans import GaussianDecoder, GaussianEncoder
from hemgs.coding.tables import NUM_MEAN_OFFSETS, PROBABILITY_BITS, GaussianTables
from hemgs.core.errors import BitstreamError

#: Widest table: the coder's lookup stores an entry's place in a byte.
MAX_HALF_WIDTH = 127
_TABLE_HEAD = struct.Struct("<iB")
_TOTAL = 1 << PROBABILITY_BITS
_DAMAGED = "the file is damaged or was made by another version; encode again"

#: Frequencies of ``low..high`` and of all other values, for a channel; see ``density.FactorizedDensity.frequencies``.
Frequencies = Callable[[int, int, int], NDArray[np.uint16]]


@dataclass(frozen=True)
class LatentTable:
    """Frequencies of one channel.

    Attributes:
        centre: middle of the values with a frequency.
        frequencies: ``[2h + 2] int64`` of the values from ``centre - h`` on, and of all others.
    """

    centre: int
    frequencies: Integers

    @property
    def half_width(self) -> int:
        """The half width h."""
        return len(self.frequencies) // 2 - 1

    @staticmethod
    def of(symbols: Integers, channel: int, frequencies: Frequencies) -> LatentTable:
        """Build a table that contains all symbols of a channel (``[N]``), up to the largest half width."""
        low, high = int(symbols.min()), int(symbols.max())
        centre = (low + high) // 2
        half_width = min(high - centre, MAX_HALF_WIDTH)
        return LatentTable(centre, frequencies(channel, centre - half_width, centre + half_width).astype(np.int64))

    def to_bytes(self) -> bytes:
        """Return the table's bytes in the section."""
        head = _TABLE_HEAD.pack(self.centre, self.half_width)
        return head + self.frequencies[:-1].astype("<u2").tobytes()


def encode_latents(symbols: Integers, frequencies: Frequencies) -> tuple[bytes, float]:
    """Encode latents.

    Args:
        symbols: ``[N, L]``, N at least 1, within int32; L at most 64.
        frequencies: frequencies of the density.

    Returns:
        The section, and its ideal code length in bits: latents under the tables, and the tables themselves.
    """
    tables = [LatentTable.of(symbols[:, channel], channel, frequencies) for channel in range(symbols.shape[1])]
    encoder = GaussianEncoder(_coder_tables(tables))
    residuals = symbols - np.array([table.centre for table in tables])
    encoder.push(residuals.astype(np.int32), *_indices(*symbols.shape))
    head = b"".join(table.to_bytes() for table in tables)
    return head + encoder.finish(), encoder.table_bits() + 8 * len(head)


def decode_latents(section: bytes, num: int, channels: int) -> Integers:
    """Decode a section of :func:`encode_latents`, ``[num, channels] int64``.

    Raises:
        BitstreamError: the section is damaged or does not contain that many latents.
    """
    tables, start = [], 0
    for channel in range(channels):
        table, start = _read_table(section, start, channel)
        tables.append(table)
    decoder = GaussianDecoder(section[start:], "section hyper", _coder_tables(tables))
    symbols = np.empty((num, channels), np.int64)
    for rows in chunks(num):
        symbols[rows] = decoder.pull(*_indices(rows.stop - rows.start, channels))
    decoder.finish()
    return symbols + np.array([table.centre for table in tables], np.int64)


def _read_table(section: bytes, start: int, channel: int) -> tuple[LatentTable, int]:
    """Read the table of a channel, which starts at byte ``start``; return it and its end."""
    values = start + _TABLE_HEAD.size
    if len(section) < values:
        raise BitstreamError(f"section hyper: ends before the table of channel {channel}", _DAMAGED)
    centre, half_width = _TABLE_HEAD.unpack_from(section, start)
    end = values + 2 * (2 * half_width + 1)
    if half_width > MAX_HALF_WIDTH or len(section) < end:
        raise BitstreamError(f"section hyper: table of channel {channel} is {half_width} wide or cut", _DAMAGED)
    frequencies = np.frombuffer(section[values:end], "<u2").astype(np.int64)
    rest = _TOTAL - int(frequencies.sum())
    if not frequencies.min() > 0 or rest < 1:
        raise BitstreamError(f"section hyper: frequencies of channel {channel} do not add up", _DAMAGED)
    return LatentTable(centre, np.append(frequencies, rest)), end


def _coder_tables(tables: Sequence[LatentTable]) -> GaussianTables:
    """Convert tables to the coder's layout: a channel is a level, and all mean offsets have the same table."""
    rows = [np.tile(table.frequencies, NUM_MEAN_OFFSETS) for table in tables]
    return GaussianTables.of(
        np.concatenate(rows).astype(np.uint16), np.array([table.half_width for table in tables], np.int64)
    )


def _indices(num: int, channels: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return level and mean offset of each latent, ``[num, channels]``."""
    levels = np.broadcast_to(np.arange(channels, dtype=np.uint8), (num, channels))
    return np.ascontiguousarray(levels), np.zeros((num, channels), np.uint8)
