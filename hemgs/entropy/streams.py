"""Where symbols come from and where they go: the two ends of the entropy coder, alike for all anchor codecs.

An encoder's stream quantises values and collects symbols; a decoder's pulls symbols and restores values. A codec walks
its anchors once, for either of them, so that what decides a symbol's table stands in one place.

Owns both streams. Does not own any order of coding or prediction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hemgs.coding.mixture import MixtureDecoder, MixtureEncoder
from hemgs.coding.quantize import dequantize, quantize
from hemgs.coding.rans import GaussianDecoder, GaussianEncoder
from hemgs.core.errors import BitstreamError
from hemgs.entropy.mixture import FixedMixture
from hemgs.entropy.prediction import FixedPrediction, Integers
from hemgs.entropy.steps import ATTRIBUTES

#: Anchors worked on at once; bounds memory, changes no bit.
CHUNK = 16384
#: Some anchors, or some of their channels, as numpy indexes them.
Rows = slice | Integers | tuple[slice, slice]
#: What decides the tables of symbols: a mixture, for attributes that are coded as such.
CodedPrediction = FixedPrediction | FixedMixture


class SymbolStream(Protocol):
    """Source or sink of symbols, called in coding order."""

    #: Symbols ``[N, C] int64`` by attribute; those that are not coded are zero.
    symbols: dict[str, Integers]
    #: Whether an attribute's symbols are all known once :meth:`start` has seen its steps.
    complete: bool

    def start(self, attribute: str, rows: Rows, step_index: Integers, select: NDArray[np.bool_]) -> None:
        """Takes the steps of some rows of an attribute, before any of its symbols; ``select`` names the coded ones."""
        ...

    def code(self, attribute: str, rows: Rows, prediction: CodedPrediction, select: NDArray[np.bool_]) -> Integers:
        """Codes the symbols of some rows of an attribute and gives them, ``[n, C]``."""
        ...

    def end(self, attribute: str, rows: Rows, step_index: Integers) -> None:
        """Takes the steps of some rows of an attribute again, after all of its symbols."""
        ...


class WritingStream:
    """Quantises values and encodes them.

    Args:
        values: ``[N, C] float64`` by attribute.
        base_steps: by attribute.
        mixed: attributes whose predictions are mixtures.
    """

    complete = True

    def __init__(
        self, values: dict[str, NDArray[np.float64]], base_steps: dict[str, float], mixed: Collection[str] = ()
    ) -> None:
        self._values, self._base_steps = values, base_steps
        self._encoders = {name: MixtureEncoder() if name in mixed else GaussianEncoder() for name in ATTRIBUTES}
        self.symbols = {name: np.zeros(values[name].shape, dtype=np.int64) for name in ATTRIBUTES}
        self.estimated_bits = dict.fromkeys(ATTRIBUTES, 0.0)

    def start(self, attribute: str, rows: Rows, step_index: Integers, select: NDArray[np.bool_]) -> None:
        symbols = quantize(self._values[attribute][rows], self._base_steps[attribute], step_index)
        self.symbols[attribute][rows] = np.where(select, symbols, 0)

    def code(self, attribute: str, rows: Rows, prediction: CodedPrediction, select: NDArray[np.bool_]) -> Integers:
        symbols = self.symbols[attribute][rows]
        centre, *tables = prediction.table_rows()
        residual = symbols - centre
        self._encoders[attribute].push(residual[select].astype(np.int32), *(part[select] for part in tables))
        self.estimated_bits[attribute] += float(prediction.bits(symbols)[select].sum())
        return symbols

    def end(self, attribute: str, rows: Rows, step_index: Integers) -> None:
        """All was said at the start."""

    def finish(self) -> dict[str, bytes]:
        """The coded streams by attribute."""
        return {name: encoder.finish() for name, encoder in self._encoders.items()}


class ReadingStream:
    """Decodes symbols and restores values.

    Args:
        streams: coded streams by attribute.
        shapes: ``(N, C)`` by attribute.
        base_steps: by attribute.
        mixed: attributes whose predictions are mixtures.
    """

    complete = False

    def __init__(
        self,
        streams: dict[str, bytes],
        shapes: dict[str, tuple[int, int]],
        base_steps: dict[str, float],
        mixed: Collection[str] = (),
    ) -> None:
        self._base_steps = base_steps
        self._decoders = {
            name: MixtureDecoder(streams[name]) if name in mixed else GaussianDecoder(streams[name])
            for name in ATTRIBUTES
        }
        self.symbols = {name: np.zeros(shapes[name], dtype=np.int64) for name in ATTRIBUTES}
        self.values = {name: np.zeros(shapes[name], dtype=np.float32) for name in ATTRIBUTES}

    def start(self, attribute: str, rows: Rows, step_index: Integers, select: NDArray[np.bool_]) -> None:
        """Nothing is known before the first symbol."""

    def code(self, attribute: str, rows: Rows, prediction: CodedPrediction, select: NDArray[np.bool_]) -> Integers:
        centre, *tables = prediction.table_rows()
        symbols = np.zeros(centre.shape, dtype=np.int64)
        try:
            symbols[select] = self._decoders[attribute].pull(*(part[select] for part in tables)) + centre[select]
        except BitstreamError as fault:
            raise BitstreamError(f"section {attribute}: {fault.message}", fault.fix) from fault
        self.symbols[attribute][rows] = symbols
        return symbols

    def end(self, attribute: str, rows: Rows, step_index: Integers) -> None:
        symbols = self.symbols[attribute][rows]
        self.values[attribute][rows] = dequantize(symbols, self._base_steps[attribute], step_index)

    def finish(self) -> None:
        """Checks that every stream was used up."""
        for name, decoder in self._decoders.items():
            try:
                decoder.finish()
            except BitstreamError as fault:
                raise BitstreamError(f"section {name}: {fault.message}", fault.fix) from fault


def every(num: int, channels: int) -> NDArray[np.bool_]:
    """A selection of all symbols of ``num`` anchors."""
    return np.broadcast_to(np.ones(1, dtype=bool), (num, channels))


def chunks(num: int, size: int = CHUNK) -> Iterator[slice]:
    """``num`` rows in pieces of ``size``, in order."""
    for first in range(0, num, size):
        yield slice(first, min(first + size, num))
