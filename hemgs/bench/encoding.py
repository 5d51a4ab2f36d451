"""Encoding as a use case: what the verb ``encode`` does.

Owns the order of files on disk, clocks, records and checks around a method's own encoding. Does not own how a method
does its work, nor what is printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch

from hemgs.bench.decoding import WARM_UP_LIMIT_S, file_sections
from hemgs.bench.rates import encoding_rates, parse_rate
from hemgs.bench.runs import (
    BITSTREAM_FOLDER,
    ENCODE_FILE,
    RATES_FILE,
    WORK_FOLDER,
    EncodedRate,
    EncodeRecord,
    TrainRecord,
    alone_in,
    bitstream_path,
    origin_of,
    read_rates,
    write_record,
)
from hemgs.bench.training import load_model
from hemgs.core.bundle import Bundle
from hemgs.core.device import peak_memory_mib, reset_peak_memory, synchronize
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.events import EventLog
from hemgs.core.files import sha256_of, write_bytes
from hemgs.core.timing import Stopwatch
from hemgs.core.types import Rate, SectionTable
from hemgs.protocol import Method, interval_of


def run_encode(
    model_dir: Path,
    out: Path,
    rates: Sequence[Rate],
    device: torch.device,
    stream: IO[str] | None = None,
    *,
    overwrite: bool = False,
) -> EncodeRecord:
    """Encode one model at several rates in one process.

    Writes ``bitstreams/<rate>.gsc`` and, last, ``encode.json`` into ``out``. Rates of this model that are there already
    are left as they are, and rates that are not asked for stay. Rates that are finished when the call fails or is
    stopped wait in ``work/`` for the next call. The first rate is encoded twice: the repetition must give the same
    bytes, and its time is the one that is kept. Waits for another process that encodes into ``out``, as a job does that
    outlived its workflow.

    Args:
        model_dir: folder that :func:`run_train` wrote.
        out: folder for the results.
        rates: rates to encode at; none for the default rates of the method.
        device: device of the computation.
        stream: terminal for the live line, if any.
        overwrite: whether bitstreams of another model in ``out`` are replaced.

    Returns:
        The record of the rates that were asked for.

    Raises:
        ConfigError: no finished training, a rate that does not fit the model, or files in the way.
        BitstreamError: the method wrote a file whose parts do not add up, or two different files for one rate.
    """
    record, method, model = load_model(model_dir, device)
    chosen = encoding_rates(method.spec, interval_of(method.spec, model), parse_rate(record.rate), rates)
    with alone_in(out, stream):
        found, waiting = _found_in(out, record), _found_in(out / WORK_FOLDER, record)
        unlisted = [
            path for rate in chosen if (path := bitstream_path(out, rate.id)).exists() and path not in found.paths
        ]
        if (in_the_way := [*found.others, *waiting.others, *unlisted]) and not overwrite:
            raise ConfigError(
                f"{in_the_way[0]} is no bitstream of the model in {model_dir}",
                "name another folder with --out, or replace such files with --overwrite",
            )
        left = [rate for rate in chosen if rate.id not in found.whole]
        with EventLog(None, f"encoding {method.spec.id} {record.scene}", stream) as events:
            new = _encode_into(out / WORK_FOLDER, waiting, record, method, model, left, device, events)
        listed = _publish(out, record, found, new)
        result = EncodeRecord(train=record, rates={rate.id: listed[rate.id] for rate in chosen})
        write_record(out / ENCODE_FILE, result)
    return result


@dataclass(frozen=True)
class _Found:
    """Bitstreams that are listed in a folder.

    Attributes:
        listed: those of the model to encode, by rate id.
        whole: ids of those whose files are as they were written.
        paths: their files.
        others: files of another model.
    """

    listed: Mapping[str, EncodedRate] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    paths: frozenset[Path] = frozenset()
    others: tuple[Path, ...] = ()


def _found_in(folder: Path, record: TrainRecord) -> _Found:
    found = read_rates(folder)
    if found is None:
        return _Found()
    paths = {rate: path for rate in found.rates if (path := bitstream_path(folder, rate)).is_file()}
    if found.train.model_sha256 != record.model_sha256:
        return _Found(others=tuple(paths.values()))
    whole = frozenset(rate for rate, path in paths.items() if sha256_of(path) == found.rates[rate].sha256)
    return _Found(found.rates, whole, frozenset(paths.values()))


def _encode_into(
    work: Path,
    waiting: _Found,
    record: TrainRecord,
    method: Method,
    model: Bundle,
    rates: Sequence[Rate],
    device: torch.device,
    events: EventLog,
) -> dict[str, EncodedRate]:
    """Encode each rate that does not wait in the work folder; list there what is finished after each of them."""
    finished = {rate: waiting.listed[rate] for rate in waiting.whole}
    left = [rate for rate in rates if rate.id not in finished]
    for number, rate in enumerate(left, start=1):
        path = bitstream_path(work, rate.id)
        try:
            encoded = encode_one(method, model, rate, path, device)
            if number == 1 and encoded.encode_s < WARM_UP_LIMIT_S:
                encoded = _repeated(method, model, rate, path, device, encoded)
            _write_rates(work, record, {**finished, rate.id: encoded})
        except BaseException:
            path.unlink(missing_ok=True)  # no record lists it
            raise
        finished[rate.id] = encoded
        events.progress(number, len(left), bytes=encoded.total_bytes)
    return finished


def _write_rates(folder: Path, record: TrainRecord, rates: Mapping[str, EncodedRate]) -> None:
    by_lmbda = dict(sorted(rates.items(), key=lambda item: item[1].lmbda or 0.0))
    write_record(folder / BITSTREAM_FOLDER / RATES_FILE, EncodeRecord(train=record, rates=by_lmbda))


def _publish(out: Path, record: TrainRecord, found: _Found, new: Mapping[str, EncodedRate]) -> dict[str, EncodedRate]:
    """Copy new bitstreams to where they belong, remove those of another model, and list all that are there now."""
    if found.others:
        (out / BITSTREAM_FOLDER / RATES_FILE).unlink()
        for path in found.others:
            path.unlink()
    for rate in new:  # not moved: the folder may be a link to another disk
        write_bytes(bitstream_path(out, rate), bitstream_path(out / WORK_FOLDER, rate).read_bytes())
    rates = {**found.listed, **new}
    _write_rates(out, record, rates)
    return rates


def run_encode_file(model_dir: Path, out: Path, rate: Rate | None, device: torch.device) -> EncodedRate:
    """Encode one model at one rate into the file ``out``; ``rate`` may be left out where the model has only one.

    Raises:
        ConfigError: as in :func:`run_encode`; or the model has several rates and none is given.
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
        origin=origin_of(method, device),
    )


def check_sections(path: Path, table: SectionTable) -> None:
    """Raise BitstreamError unless a table, the file's own table and the length of the file agree, to the byte."""
    found = file_sections(path)
    length_bytes = path.stat().st_size
    if dict(table.sections) != found or table.total_bytes != length_bytes:
        raise BitstreamError(
            f"{path}: sections {dict(table.sections)} were reported, the file contains {found} in {length_bytes} bytes",
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
    return again.model_copy(update={"encode_peak_mib": max(first.encode_peak_mib, again.encode_peak_mib)})
