"""Sections of uncompressed values, float32, little endian, for methods that do not compress.

Owns how such sections are written, read and checked. Does not own a method's choice of sections, their shapes, or the
contents of the section ``settings``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.coding.container import Container, read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.core.errors import BitstreamError, TrainingError
from hemgs.core.types import SectionTable

#: The fix for a file with impossible content.
FIX = "copy the file again, or encode it again"


def pack_floats(tensor: Tensor) -> bytes:
    """Return the values of a tensor of any shape, in C order."""
    values: NDArray[np.float32] = tensor.detach().cpu().numpy().astype("<f4")
    return values.tobytes()


def unpack_floats(path: Path, name: str, payload: bytes, shape: tuple[int, ...]) -> Tensor:
    """Read the section ``name`` of the file ``path`` as ``[*shape] float32`` on the CPU.

    Raises:
        BitstreamError: the section has more or fewer bytes than the shape needs, or values that are not finite.
    """
    _check_size(path, name, payload, shape)
    values = np.frombuffer(payload, dtype="<f4").reshape(shape)
    if not np.isfinite(values).all():
        raise BitstreamError(f"{path}: section {name} holds values that are not finite", FIX)
    return torch.from_numpy(values.astype(np.float32))


def write_sections(path: Path, method: str, settings: bytes, tensors: Mapping[str, Tensor]) -> SectionTable:
    """Write a bitstream of ``settings`` and one section per tensor, atomically; the digest covers the tensors' bits.

    Raises:
        TrainingError: a tensor is empty, which no decoder accepts.
        DeviceError: the disk is full.
    """
    for name, tensor in tensors.items():
        if not tensor.numel():
            raise TrainingError(f"the model has no {name}, so there is nothing to encode", "train it again")
    sections, digest = {"settings": settings}, SymbolDigest()
    for name, tensor in tensors.items():
        sections[name] = pack_floats(tensor)
        digest.update(name, np.frombuffer(sections[name], "<i4"))
    return SectionTable(write_container(path, method, sections, digest.digest()))


def open_sections(path: Path, method: str) -> tuple[bytes, Container]:
    """Read a bitstream; return ``settings``, empty if there are none, and the container without them.

    Raises:
        BitstreamError: the file is incomplete, altered, or of another version or method.
    """
    container = read_container(path)
    if container.method != method:
        raise BitstreamError(f"{path}: written by the method {container.method!r}, not {method!r}", "name that method")
    return container.sections.pop("settings", b""), container


def check_sections(path: Path, container: Container, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check the sections, their order and their sizes; arguments as in :func:`read_sections`.

    Raises:
        BitstreamError: they are others.
    """
    if list(container.sections) != list(shapes):
        raise BitstreamError(f"{path}: sections are {list(container.sections)}, not {list(shapes)}", FIX)
    for name, shape in shapes.items():
        _check_size(path, name, container.sections[name], shape)


def _check_size(path: Path, name: str, payload: bytes, shape: tuple[int, ...]) -> None:
    expected = 4 * math.prod(shape)
    if len(payload) != expected:
        raise BitstreamError(f"{path}: section {name} has {len(payload)} bytes, {expected} are needed", FIX)


def read_sections(path: Path, container: Container, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read the tensors of :func:`write_sections`, to the CPU; ``shapes`` are those of all sections, in order.

    Raises:
        BitstreamError: sections, their order or sizes, or the digest are wrong, or values are not finite.
    """
    check_sections(path, container, shapes)
    digest, found = SymbolDigest(), {}
    for name, shape in shapes.items():
        found[name] = unpack_floats(path, name, container.sections[name], shape)
        digest.update(name, np.frombuffer(container.sections[name], "<i4"))
    digest.verify(container.symbols_digest, path)
    return found
