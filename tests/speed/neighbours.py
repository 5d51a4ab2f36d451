"""Time and memory of the search for context neighbours, on anchors like those of a trained scene.

Run as ``python -m tests.speed.neighbours``. Each size runs in a process of its own, which first loads compiled code;
wall-clock seconds, best round. Peak extra memory is what the process's peak grew by, results included.
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

from hemgs.codec.neighbours import find_neighbours, wavefronts
from hemgs.codec.settings import ContextWindow
from hemgs.coding.locations import raster_order
from hemgs.core.timing import process_peak_mib

SIZES = (20_000, 100_000, 500_000)
#: Growing puts anchors on lattices of these many voxels, coarse ones first (Scaffold-GS, arXiv 2312.00109).
LEVELS = (16, 4, 1)
SHARES = (0.45, 0.4, 0.15)
#: Voxels that surfaces extend over, per square root of an anchor; gives about 6 earlier anchors in a window.
VOXELS_PER_ROOT = 7.2
NUM_SURFACES = 24


def surface_anchors(num: int, seed: int = 0) -> NDArray[np.int64]:
    """About ``num`` distinct lattice coordinates on wavy patches, in raster order, ``[N, 3] int64``.

    Finer levels lie on fewer patches, as detail does in a scene.
    """
    rng = np.random.default_rng(seed)
    side = VOXELS_PER_ROOT * num**0.5
    centers = rng.uniform(-side / 2, side / 2, (NUM_SURFACES, 3))
    widths = rng.uniform(0.2, 1.2, NUM_SURFACES)
    axes = np.linalg.qr(rng.normal(size=(NUM_SURFACES, 3, 3)))[0]
    parts = []
    for number, (level, share) in enumerate(zip(LEVELS, SHARES, strict=True)):
        count = int(num * share)
        patch = rng.integers(0, NUM_SURFACES >> 2 * number, count)
        u, v = rng.normal(0, side / 8, (2, count)) * widths[patch]
        height = side / 40 * np.sin(u * 20 / side + patch) * np.cos(v * 16 / side) + rng.normal(0, 1, count)
        points = centers[patch] + np.einsum("ni,nij->nj", np.stack((u, v, height), axis=1), axes[patch])
        parts.append(np.round(points / level).astype(np.int64) * level)
    coords = np.unique(np.concatenate(parts), axis=0)
    return coords[raster_order(coords)]


def measure(coords: NDArray[np.int64], rounds: int = 3) -> dict[str, float]:
    """Finds neighbours and waves of a set of anchors.

    Returns:
        ``anchors``, ``search_s``, ``peak_mib`` (extra), ``in_window`` and ``kept`` (means), ``most`` (in a window),
        ``waves``, ``waves_s``.
    """
    window = ContextWindow()
    wavefronts(find_neighbours(coords[:100], window))
    before = process_peak_mib()
    search_s = waves_s = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        neighbours = find_neighbours(coords, window)
        found = time.perf_counter()
        waves = wavefronts(neighbours)
        search_s, waves_s = min(search_s, found - started), min(waves_s, time.perf_counter() - found)
    return {
        "anchors": neighbours.num_anchors,
        "search_s": search_s,
        "peak_mib": process_peak_mib() - before,
        "in_window": float(neighbours.num_in_window.mean()),
        "kept": neighbours.mean_count,
        "most": int(neighbours.num_in_window.max()),
        "waves": len(waves.starts) - 1,
        "waves_s": waves_s,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anchors", type=int, nargs="+", default=SIZES, help="sizes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, best one counts (default: %(default)s)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        row = measure(np.load(arguments.measure), arguments.rounds)
        print(
            f"{row['anchors']:9.0f} {row['search_s']:8.3f} s {row['peak_mib']:6.0f} MiB {row['in_window']:10.2f} "
            f"{row['kept']:6.2f} {row['most']:5.0f} {row['waves']:6.0f} {row['waves_s']:8.3f} s"
        )
        return
    titles = f"{'anchors':>9} {'search':>10} {'extra':>10} {'in window':>10} {'kept':>6} {'most':>5}"
    print(f"{titles} {'waves':>6} {'for them':>10}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coords.npy"
        for size in arguments.anchors:
            np.save(file, surface_anchors(size))
            options = ["--rounds", str(arguments.rounds), "--measure", str(file)]
            subprocess.run([sys.executable, "-m", "tests.speed.neighbours", *options], check=True)


if __name__ == "__main__":
    main()
