"""Speed and size of the entropy coders on the same symbols: ours, torchac, constriction.

Run as ``python -m tests.speed.coder``. Each coder runs in turn, several rounds, in one process and one thread; CPU
time, best round. Absolute figures depend on the machine, ratios much less so. torchac appears twice: as a codec has to
use it, with a row of cumulative frequencies made for every symbol, and alone, with rows made in advance.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hemgs.coding import rans
from hemgs.core.errors import DeviceError
from tests.oracles import torchac_coder
from tests.oracles.gaussian_bits import gaussian_bits
from tests.unit.coding.coding_workload import LIMIT, Workload, workload

#: Symbols of a batch that a wavefront decoder asks for.
BATCH = 1000
Coder = tuple[Callable[[Workload], Any], Callable[[Workload, Any], np.ndarray], Callable[[Any], int]]


def measure(num_symbols: int = 1_000_000, rounds: int = 3) -> list[dict[str, Any]]:
    """Encodes and decodes one workload with every coder that is installed.

    Args:
        num_symbols: of the workload (each with its own Gaussian, 2.64 bits on average).
        rounds: best of these is reported; the first also compiles and is dropped.

    Returns:
        One row for each coder: ``coder``, ``status``, ``encode_msym_s``, ``decode_msym_s`` (million symbols a second of
        CPU time), ``bytes``, ``over_ideal`` (relative), and ``encode_ratio``, ``decode_ratio``: our speed over its.
    """
    load = workload(num_symbols)
    ideal_bytes = gaussian_bits(load.values, load.means, load.scales) / 8
    coders = {
        "hemgs rANS": _ours(batch=None),
        f"hemgs rANS, decoding {BATCH} at a time": _ours(batch=BATCH),
        "torchac": _torchac(),
        "torchac, rows at hand": _torchac_alone(load),
        "constriction ANS": _constriction(),
    }
    best: dict[str, list[float]] = {name: [np.inf, np.inf] for name in coders}
    sizes: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, coder in coders.items():
            if isinstance(coder, str):
                continue
            encode_s, decode_s, sizes[name] = _time(coder, load)
            if number:
                best[name] = [min(best[name][0], encode_s), min(best[name][1], decode_s)]
    reference = best["hemgs rANS"]
    rows: list[dict[str, Any]] = []
    for name, coder in coders.items():
        if isinstance(coder, str):
            rows.append({"coder": name, "status": coder})
            continue
        encode_s, decode_s = best[name]
        rows.append(
            {
                "coder": name,
                "status": "ok",
                "encode_msym_s": num_symbols / encode_s / 1e6,
                "decode_msym_s": num_symbols / decode_s / 1e6,
                "bytes": sizes[name],
                "over_ideal": sizes[name] / ideal_bytes - 1,
                "encode_ratio": encode_s / reference[0],
                "decode_ratio": decode_s / reference[1],
            }
        )
    return rows


def _time(coder: Coder, load: Workload) -> tuple[float, float, int]:
    encode, decode, size = coder
    started_s = time.process_time()
    stream = encode(load)
    encoded_s = time.process_time()
    values = decode(load, stream)
    decoded_s = time.process_time()
    if not np.array_equal(values, load.residuals):
        raise RuntimeError("a coder did not give its symbols back")
    return encoded_s - started_s, decoded_s - encoded_s, size(stream)


def _ours(batch: int | None) -> Coder:
    def encode(load: Workload) -> bytes:
        encoder = rans.GaussianEncoder()
        encoder.push(load.residuals, load.levels, load.offsets)
        return encoder.finish()

    def decode(load: Workload, stream: bytes) -> np.ndarray:
        decoder = rans.GaussianDecoder(stream)
        size = batch or len(load.levels)
        starts = range(0, len(load.levels), size)
        parts = [decoder.pull(load.levels[s : s + size], load.offsets[s : s + size]) for s in starts]
        decoder.finish()
        return np.concatenate(parts)

    return encode, decode, len


def _torchac() -> Coder | str:
    try:
        torchac_coder.load_torchac()
    except DeviceError as fault:
        return fault.message

    def encode(load: Workload) -> bytes:
        encoder = torchac_coder.GaussianEncoder()
        encoder.push(load.residuals, load.levels, load.offsets)
        return encoder.finish()

    def decode(load: Workload, stream: bytes) -> np.ndarray:
        decoder = torchac_coder.GaussianDecoder(stream)
        residuals = decoder.pull(load.levels, load.offsets)
        decoder.finish()
        return residuals

    return encode, decode, len


def _torchac_alone(load: Workload) -> Coder | str:
    """The library's own code; the same streams without their framing, escaped values excepted."""
    try:
        library = torchac_coder.load_torchac()
    except DeviceError as fault:
        return fault.message
    import torch

    rows = torchac_coder.Rows.of(load.levels, load.offsets)
    chunks = []
    for start in range(0, len(rows), torchac_coder.CHUNK_SYMBOLS):
        chosen = rows.part(slice(start, start + torchac_coder.CHUNK_SYMBOLS))
        residuals = load.residuals[start : start + torchac_coder.CHUNK_SYMBOLS]
        high = (residuals + ((1 << chosen.shifts) >> 1)) >> chosen.shifts
        cumulative = chosen.cumulative()
        inside = np.abs(high) <= chosen.half_widths
        symbols = np.where(inside, high + chosen.half_widths, cumulative.shape[1] - 2)
        cdf = torch.from_numpy(cumulative.astype(np.uint16).view(np.int16))
        chunks.append((cdf, torch.from_numpy(symbols.astype(np.int16))))

    def encode(_: Workload) -> list[bytes]:
        return [library.encode_int16_normalized_cdf(cdf, symbols) for cdf, symbols in chunks]

    def decode(load: Workload, streams: list[bytes]) -> np.ndarray:
        for (cdf, symbols), stream in zip(chunks, streams, strict=True):
            if not torch.equal(library.decode_int16_normalized_cdf(cdf, stream), symbols):
                raise RuntimeError("torchac did not give its symbols back")
        return load.residuals

    return encode, decode, lambda streams: sum(map(len, streams)) + (int(rows.shifts.sum()) + 7) // 8


def _constriction() -> Coder | str:
    try:
        from constriction import stream as library
    except ImportError as fault:
        return str(fault)
    # Its model takes the real-valued parameters themselves.
    family = library.model.QuantizedGaussian(-LIMIT, LIMIT)

    def encode(load: Workload) -> np.ndarray:
        coder = library.stack.AnsCoder()
        coder.encode_reverse(load.values.astype(np.int32), family, load.means, load.scales)
        return np.asarray(coder.get_compressed())

    def decode(load: Workload, words: np.ndarray) -> np.ndarray:
        values = library.stack.AnsCoder(words).decode(family, load.means, load.scales)
        return np.asarray(values) - (load.values - load.residuals)

    return encode, decode, lambda words: int(words.nbytes)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=1_000_000, help="symbols to code (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, best one counts (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{'coder':40} {'encode':>14} {'decode':>14} {'bytes':>10} {'over ideal':>10}   hemgs is faster by")
    for row in measure(arguments.symbols, arguments.rounds):
        if row["status"] != "ok":
            print(f"{row['coder']:40} {row['status']}")
            continue
        print(
            f"{row['coder']:40} {row['encode_msym_s']:7.1f} Msym/s {row['decode_msym_s']:7.1f} Msym/s "
            f"{row['bytes']:10d} {100 * row['over_ideal']:9.3f} %   "
            f"{row['encode_ratio']:.1f} x encoding, {row['decode_ratio']:.1f} x decoding"
        )


if __name__ == "__main__":
    main()
