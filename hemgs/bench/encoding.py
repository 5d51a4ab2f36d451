"""Encoding as a use case: what the verb ``encode`` does.

Owns the order of files on disk, clocks, records and checks around a method's own encoding. Does not own how a method
does its work, nor what is printed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import torch

from hemgs.bench.decoding import WARM_UP_LIMIT_S, file_sections
from hemgs.bench.rates import encoding_rates, parse_rate
from hemgs.bench.runs import (
    BITSTREAM_FOLDER,
    BITSTREAM_SUFFIX,
    ENCODE_FILE,
    EncodedRate,
    EncodeRecord,
    alone_in,
    bitstream_path,
    origin_of,
    write_record,
)
from hemgs.bench.training import load_model
from hemgs.core.bundle import Bundle
from hemgs.core.device import peak_memory_mib, reset_peak_memory, synchronize
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.events import EventLog
from hemgs.core.files import sha256_of
from hemgs.core.timing import Stopwatch
from hemgs.core.types import Rate, SectionTable
from hemgs.protocol import Method, interval_of


def run_encode(
    model_dir: Path, out: Path, rates: Sequence[Rate], device: torch.device, stream: IO[str] | None = None
) -> EncodeRecord:
    """Encode one model at several rates in one process.

    Writes ``bitstreams/<rate>.gsc`` and, last, ``encode.json`` into ``out``. The first rate is encoded twice: the
    repetition must give the same bytes, and its time is the one that is kept. Waits for another process that encodes
    into ``out``, as a job does that outlived its workflow.

    Args:
        model_dir: what :func:`run_train` wrote.
        out: folder for the results.
        rates: none for all that are usual for the method.
        device: where to compute.
        stream: terminal for the live line, if any.

    Raises:
        ConfigError: no finished training, or a rate that does not fit the model.
        BitstreamError: the method wrote a file whose parts do not add up, or two different files for one rate.
    """
    record, method, model = load_model(model_dir, device)
    chosen = encoding_rates(method.spec, interval_of(method.spec, model), parse_rate(record.rate), rates)
    encoded: dict[str, EncodedRate] = {}
    with (
        alone_in(out, stream),
        contextlib.ExitStack() as undo,
        EventLog(None, f"encoding {method.spec.id} {record.scene}", stream) as events,
    ):
        (out / ENCODE_FILE).unlink(missing_ok=True)
        # Stopped on the way, no part of a sweep is left that could be taken for the whole.
        undo.callback(_remove_others, out / BITSTREAM_FOLDER, ())
        for number, rate in enumerate(chosen, start=1):
            path = bitstream_path(out, rate.id)
            encoded[rate.id] = encode_one(method, model, rate, path, device)
            if number == 1 and encoded[rate.id].encode_s < WARM_UP_LIMIT_S:
                encoded[rate.id] = _repeated(method, model, rate, path, device, encoded[rate.id])
            events.progress(number, len(chosen), bytes=encoded[rate.id].total_bytes)
        undo.pop_all()
        _remove_others(out / BITSTREAM_FOLDER, encoded)
        result = EncodeRecord(record, encoded, str(device), origin_of(method, device))
        write_record(out / ENCODE_FILE, result)
    return result


def run_encode_file(model_dir: Path, out: Path, rate: Rate | None, device: torch.device) -> EncodedRate:
    """Encode one model at one rate into the file ``out``; ``rate`` may be left out where the model has only one.

    Raises:
        ConfigError: as :func:`run_encode`; also if the model has several rates and none is named.
    """
    record, method, model = load_model(model_dir, device)
    if rate is None and method.spec.kind == "all_rates":
        raise ConfigError(f"one file needs one rate, and {method.spec.id} has many", "name it, such as --lmbda 0.002")
    chosen = encoding_rates(
        method.spec, interval_of(method.spec, model), parse_rate(record.rate), [rate] if rate else ()
    )
    return encode_one(method, model, chosen[0], out, device)


def encode_one(method: Method, model: Bundle, rate: Rate, path: Path, device: torch.device) -> EncodedRate:
    """Write one bitstream and check its size.

    Raises:
        BitstreamError: the method's section table, the container's and the length of the file do not agree.
    """
    reset_peak_memory(device)
    with Stopwatch(lambda: synchronize(device)) as watch:
        table = method.encode(model, rate, path, device=device)
    peak_mib = peak_memory_mib(device)
    check_sections(path, table)
    return EncodedRate(
        lmbda=rate.lmbda,
        sections=dict(table.sections),
        estimated_bits={name: float(bits) for name, bits in table.estimated_bits.items()},
        encode_s=watch.seconds,
        encode_peak_mib=peak_mib,
        sha256=sha256_of(path),
        figures={name: float(value) for name, value in table.figures.items()},
    )


def check_sections(path: Path, table: SectionTable) -> None:
    """Raise BitstreamError unless a table, the file's own table and the length of the file agree, to the byte."""
    found = file_sections(path)
    length_bytes = path.stat().st_size
    if dict(table.sections) != found or table.total_bytes != length_bytes:
        raise BitstreamError(
            f"{path}: sections {dict(table.sections)} were reported, the file holds {found} in {length_bytes} bytes",
            "the method's section table must be what write_container returned",
        )
    unknown = set(table.estimated_bits) - set(found)
    if unknown:
        raise BitstreamError(f"{path}: bits are estimated for sections it has not: {', '.join(sorted(unknown))}")


def _repeated(
    method: Method, model: Bundle, rate: Rate, path: Path, device: torch.device, first: EncodedRate
) -> EncodedRate:
    again = encode_one(method, model, rate, path, device)
    if again.sha256 != first.sha256:
        raise BitstreamError(
            f"{path}: encoding twice gave two different files",
            f"the method {method.spec.id} must encode in the same way each time",
        )
    # The first call alone shows the memory that is needed from a standing start.
    return replace(again, encode_peak_mib=max(first.encode_peak_mib, again.encode_peak_mib))


def _remove_others(folder: Path, rate_ids: Collection[str]) -> None:
    """Remove bitstreams of all other rates: the folder must hold what its record lists."""
    for path in folder.glob(f"*{BITSTREAM_SUFFIX}"):
        if path.stem not in rate_ids:
            path.unlink()
