"""Size, time and memory of coding locations, on anchors like those of a trained scene.

Run as ``python -m tests.speed.locations``; ``--file`` takes anchors of one's own, a ``.npy`` of ``[N, 3]`` lattice
coordinates. Each size runs in a process of its own, which first loads compiled code. Times are wall-clock seconds of
the best round; extra memory is what the process's peak grew by. For comparison with the octree, the program prints the
entropy of its nodes' patterns level by level without any context. That ignores what a table of them would cost.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemgs.coding.locations import CODECS, decode_locations, encode_locations, raster_order
from hemgs.coding.morton import morton_keys
from hemgs.coding.octree import node_patterns
from hemgs.core.errors import HemgsError
from hemgs.core.timing import process_peak_mib
from tests.speed.neighbours import surface_anchors

SIZES = (100_000, 1_000_000)


def pattern_entropy_bits(coords: NDArray[np.int64]) -> float:
    """Bits of all nodes' patterns, each level with a distribution of its own."""
    total = 0.0
    span = int((coords.max(axis=0) - coords.min(axis=0)).max())
    for patterns in node_patterns(np.sort(morton_keys(coords)), span.bit_length()):
        counts = np.bincount(patterns)
        counts = counts[counts > 0]
        total -= float(np.sum(counts * np.log2(counts / len(patterns))))
    return total


def measure(coords: NDArray[np.int64], codec: str, rounds: int = 2) -> dict[str, float]:
    """Codes one set of anchors.

    Returns:
        ``anchors``, ``bits`` an anchor, ``encode_s``, ``decode_s``, ``peak_mib`` (extra, of encoding and decoding).
    """
    decode_locations(encode_locations(coords[:100], codec))
    before = process_peak_mib()
    encode_s = decode_s = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        data = encode_locations(coords, codec)
        encoded = time.perf_counter()
        decoded = decode_locations(data)
        encode_s, decode_s = min(encode_s, encoded - started), min(decode_s, time.perf_counter() - encoded)
        if not np.array_equal(decoded, coords):
            raise RuntimeError("a codec did not give its locations back")
    return {
        "anchors": len(coords),
        "bits": 8 * len(data) / len(coords),
        "encode_s": encode_s,
        "decode_s": decode_s,
        "peak_mib": process_peak_mib() - before,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anchors", type=int, nargs="+", default=SIZES, help="sizes (default: %(default)s)")
    parser.add_argument("--file", type=Path, help="anchors of one's own instead")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, best one counts (default: %(default)s)")
    parser.add_argument("--codec", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.codec:
        try:
            row = measure(np.load(arguments.file), arguments.codec, arguments.rounds)
        except HemgsError as fault:
            print(f"{'':9} {arguments.codec:>14} {fault.message}", flush=True)
            return
        print(
            f"{row['anchors']:9.0f} {arguments.codec:>14} {row['bits']:8.3f} {row['encode_s']:8.3f} s "
            f"{row['decode_s']:8.3f} s {row['peak_mib']:6.0f} MiB",
            flush=True,
        )
        return
    print(f"{'anchors':>9} {'codec':>14} {'bits':>8} {'encode':>10} {'decode':>10} {'extra':>10}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coords.npy"
        for size in arguments.anchors if arguments.file is None else (0,):
            coords = surface_anchors(size) if arguments.file is None else np.load(arguments.file)
            coords = coords[raster_order(coords)]
            np.save(file, coords)
            print(f"{len(coords):9} {'(no context)':>14} {pattern_entropy_bits(coords) / len(coords):8.3f}", flush=True)
            for codec in (candidate.name for candidate in CODECS.values()):
                command = [sys.executable, "-m", "tests.speed.locations", "--file", str(file), "--codec", codec]
                subprocess.run([*command, "--rounds", str(arguments.rounds)], check=True)


if __name__ == "__main__":
    main()
