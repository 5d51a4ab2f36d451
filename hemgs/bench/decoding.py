"""Decoding as a use case: the work of the verb ``decode``, and facts about a bitstream for other use cases.

Owns finding the method that wrote a file, the timing of its decoder, and the comparison of decoded scenes. Does not own
processes (``isolation``) or the container.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from hemgs.bench.registry import get_method, list_methods
from hemgs.bench.runs import counts_of
from hemgs.coding.container import inspect_container
from hemgs.core.bundle import Bundle
from hemgs.core.device import peak_memory_mib, reset_peak_memory, synchronize
from hemgs.core.errors import BitstreamError, HemgsError
from hemgs.core.timing import Stopwatch
from hemgs.protocol import CanCheckFile, Method, Renderable

#: A first call that took less than this many seconds is repeated, so that its time contains no compiling. Compiling is
#: a small part of longer calls.
WARM_UP_LIMIT_S = 10.0


@dataclass(frozen=True)
class DecodeStats:
    """Size of one file, and time and memory of its decoding.

    Attributes:
        method: id of the method.
        file_bytes: length of the file.
        decode_s: wall time of the method's ``decode``, from opening the file to a model ready to render. The call is
            made twice, and the second one counts, unless the first took longer than :data:`WARM_UP_LIMIT_S`.
        decode_first_s: wall time of the first call, compiling and filling of caches included.
        decode_peak_mib: peak memory of the process (CPU) or of the device's allocator (CUDA) while decoding.
        num_anchors, num_gaussians: counts of the decoded scene; ``None`` if the method does not report them.
    """

    method: str
    file_bytes: int
    decode_s: float
    decode_first_s: float
    decode_peak_mib: float
    num_anchors: int | None
    num_gaussians: int | None


def run_decode(
    path: Path, device: torch.device, method_name: str | None = None, repeat: bool = True
) -> tuple[Renderable, DecodeStats]:
    """Decode one bitstream.

    Args:
        path: path of the bitstream, which is the only opened file except for the codec's declared assets.
        device: device of the decoder.
        method_name: id or entry of the method, if it is not installed under the id in the file.
        repeat: whether the call is repeated, so that its time contains no compiling (see :class:`DecodeStats`).

    Raises:
        BitstreamError: the file is incomplete, altered, of another version, or of a method that is not installed; or
            the two calls gave different results.
    """
    method = method_of_bitstream(path, method_name)
    reset_peak_memory(device)
    with Stopwatch(lambda: synchronize(device)) as first:
        renderable = method.decode(path, device=device)
    last = first
    if repeat and first.seconds < WARM_UP_LIMIT_S:
        with Stopwatch(lambda: synchronize(device)) as last:
            again = method.decode(path, device=device)
        if not bundles_equal(renderable.to_bundle(), again.to_bundle()):
            raise BitstreamError(
                f"{path}: decoding twice gave two different scenes", f"the method {method.spec.id} must decode exactly"
            )
    counts = counts_of(renderable.to_bundle())
    stats = DecodeStats(
        method=method.spec.id,
        file_bytes=path.stat().st_size,
        decode_s=last.seconds,
        decode_first_s=first.seconds,
        decode_peak_mib=peak_memory_mib(device),
        num_anchors=counts.get("num_anchors"),
        num_gaussians=counts.get("num_gaussians"),
    )
    return renderable, stats


def method_of_bitstream(path: Path, method_name: str | None = None) -> Method:
    """Return the method that wrote a bitstream.

    Raises:
        BitstreamError: the file is not a bitstream, or its method is not installed.
        ConfigError: the method is installed but cannot be imported, or ``method_name`` is not a method.
    """
    written_by = inspect_container(path).method
    # A file must not cause an import of code that it chooses: `get_method` also accepts module:Class.
    if ":" in written_by:
        raise BitstreamError(f"{path}: header: method id {written_by!r} is not allowed", "get the file from its source")
    if method_name is None and written_by not in list_methods():
        raise BitstreamError(
            f"{path}: written by the method {written_by!r}, which is not installed here",
            "install its package, or name its class with --method package.module:Class",
        )
    return get_method(method_name or written_by)


def refusal_of(path: Path) -> BitstreamError | None:
    """Return the error with which the method of an intact file refuses it, as far as is known without decoding.

    A file of a method that is not installed, or cannot be imported here, is not refused.
    """
    try:
        method = method_of_bitstream(path)
    except HemgsError:
        return None
    try:
        if isinstance(method, CanCheckFile):
            method.check_file(path)
    except BitstreamError as fault:
        return fault
    return None


def file_sections(path: Path) -> dict[str, int]:
    """Return bytes by section from the file's own table, the container's first.

    Raises:
        BitstreamError: the file is not an intact bitstream.
    """
    report = inspect_container(path)
    if not report.intact:
        raise BitstreamError(f"{path}: the file is damaged", "encode it again; `hemgs inspect` shows where")
    return {"container": report.header_bytes, **{row.name: row.size_bytes for row in report.rows}}


def bundles_equal(left: Bundle, right: Bundle) -> bool:
    """Return whether two bundles contain the same metadata and, bit for bit, the same tensors."""
    return (
        left.meta == right.meta
        and left.tensors.keys() == right.tensors.keys()
        and all(_same_bits(tensor, right.tensors[name]) for name, tensor in left.tensors.items())
    )


def _same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    raw = [tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right)]
    return torch.equal(*raw)
