"""The section ``networks`` of anchor codecs: rendering networks, then the integers of the entropy networks.

Rendering networks are stored as float16, or as integers of 8 bits with a float16 scale for each output. The integers
are entropy-coded with those of the entropy networks; biases stay float16. A decoded weight is the product of an integer
of 8 bits and a float of 11, which is exact in float32 on every device. Entropy networks in floating point are stored as
float16, too.

Owns the section. Does not own any network, or the coding of floats and integers (``hemgs.coding.weights``).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchor_codec.prediction import Integers, checked_exponents
from hemgs.anchor_codec.settings import BYTE, HALF
from hemgs.anchors.heads import AnchorHeads
from hemgs.coding.fixed_point import FixedMlp
from hemgs.coding.weights import decode_half, decode_integers, encode_half, encode_integers
from hemgs.core.errors import BitstreamError

#: Integers of 8 bits, as many below zero as above.
_MOST = (1 << (BYTE - 1)) - 1
#: The least scale, which is the least float16 of full precision. Only outputs that ignore their inputs have it.
_LEAST_SCALE = 2.0**-14
#: An array of the entropy networks: of ``int64``, or of ``float16`` where they are in floating point.
Stored = NDArray[Any]
#: Number of arrays of an :class:`~hemgs.anchor_codec.networks.Mlp`: weights and biases of two layers.
NUM_MLP_ARRAYS = 4
_DAMAGED = "get the file again from its source, or encode again with this version"

Network = TypeVar("Network")


@dataclass(frozen=True)
class StoredHeads:
    """The stored form of rendering networks.

    Attributes:
        floats: arrays in float16. With 16 bits all parameters; with 8 bits scales ``[out]`` and biases ``[out]``.
        integers: ``[out, in] int64`` weights with 8 bits; none with 16.
    """

    floats: list[NDArray[np.float32]]
    integers: list[Integers]

    @staticmethod
    def of(heads: AnchorHeads, bits: int) -> StoredHeads:
        """Round trained networks; ``bits`` is one of :data:`HEAD_BITS`."""
        arrays = [value.detach().cpu().numpy() for value in heads.state_dict().values()]
        if bits == HALF:
            return StoredHeads(arrays, [])
        floats, integers = [], []
        for array in arrays:
            if array.ndim == 1:
                floats.append(array)
                continue
            scale = np.maximum(np.abs(array).max(axis=1) / _MOST, _LEAST_SCALE).astype(np.float16).astype(np.float32)
            floats.append(scale)
            ratios = np.nan_to_num(array / scale[:, None], posinf=_MOST, neginf=-_MOST)
            integers.append(np.rint(ratios).clip(-_MOST, _MOST).astype(np.int64))
        return StoredHeads(floats, integers)

    def restored(self, dims: tuple[int, int, int]) -> AnchorHeads:
        """Build networks for rendering, on the CPU; ``dims`` are D, K and hidden width.

        Raises:
            BitstreamError: a weight is one that no encoder writes.
        """
        floats, integers = iter(self.floats), iter(self.integers)
        weights = {}
        for name, shape in AnchorHeads.shapes(dims).items():
            values = next(floats)
            if len(shape) == 2 and self.integers:
                array = next(integers)
                if np.abs(array).max(initial=0) > _MOST:
                    raise BitstreamError(f"section networks: {name} exceeds {BYTE} bits", _DAMAGED)
                values = array.astype(np.float32) * values[:, None]
            weights[name] = torch.from_numpy(np.array(values, np.float32))
        if not all(bool(torch.isfinite(values).all()) for values in weights.values()):
            raise BitstreamError("section networks: weights are not finite", _DAMAGED)
        return AnchorHeads.of_weights(dims, weights)


@dataclass(frozen=True)
class StoredShape:
    """Shape of an array of the entropy networks, and whether it contains float16 values instead of integers."""

    shape: tuple[int, ...]
    in_half: bool = False


class StoredParts:
    """The arrays of a bitstream's entropy networks, which their classes take one after the other.

    Args:
        parts: arrays in the order in which they are stored.
        device: device of the networks.
    """

    def __init__(self, parts: Iterable[Stored], device: torch.device | str) -> None:
        self._parts, self._device = iter(parts), device

    def network(self, build: Callable[[list[Tensor], torch.device | str], Network], num: int) -> Network:
        """Build a network from the next ``num`` arrays.

        Raises:
            BitstreamError: values that no encoder writes.
        """
        tensors = [torch.from_numpy(part) for part in itertools.islice(self._parts, num)]
        try:
            return build(tensors, self._device)
        except ValueError as fault:
            raise BitstreamError(f"networks: {fault}", _DAMAGED) from fault

    def mlp(self) -> FixedMlp:
        """Build a network of two layers; raises as :meth:`network`."""
        return self.network(FixedMlp.from_stored, NUM_MLP_ARRAYS)

    def exponents(self) -> Integers:
        """Return the next array, which contains exponents.

        Raises:
            BitstreamError: exponents that no encoder writes.
        """
        return checked_exponents(next(self._parts))


def encode_networks(heads: StoredHeads, parts: Sequence[Stored]) -> bytes:
    """Encode rendering networks, then entropy networks.

    Raises:
        TrainingError: a weight is not finite or exceeds float16.
    """
    half = encode_half([*heads.floats, *(part for part in parts if part.dtype == np.float16)])
    integers = encode_integers([*heads.integers, *(part for part in parts if part.dtype != np.float16)])
    return struct.pack("<I", len(half)) + half + integers


def decode_networks(
    section: bytes, dims: tuple[int, int, int], head_bits: int, shapes: Sequence[StoredShape]
) -> tuple[StoredHeads, list[Stored]]:
    """Decode a section of :func:`encode_networks`.

    Args:
        section: the section of the file.
        dims: sizes of the rendering networks: D, K and hidden width.
        head_bits: one of :data:`HEAD_BITS`.
        shapes: shapes of the entropy networks.

    Raises:
        BitstreamError: the section is damaged or contains other networks.
    """
    if len(section) < 4 or struct.unpack("<I", section[:4])[0] > len(section) - 4:
        raise BitstreamError("section networks is cut", _DAMAGED)
    end = 4 + struct.unpack("<I", section[:4])[0]
    own = list(AnchorHeads.shapes(dims).values())
    matrices = [] if head_bits == HALF else [shape for shape in own if len(shape) == 2]
    in_half = [each.shape for each in shapes if each.in_half]
    floats = decode_half(section[4:end], [*(own if head_bits == HALF else [shape[:1] for shape in own]), *in_half])
    integers = decode_integers(section[end:], [*matrices, *(each.shape for each in shapes if not each.in_half)])
    halves, whole = iter(floats[len(own) :]), iter(integers[len(matrices) :])
    parts: list[Stored] = [next(halves).astype(np.float16) if each.in_half else next(whole) for each in shapes]
    return StoredHeads(floats[: len(own)], integers[: len(matrices)]), parts
