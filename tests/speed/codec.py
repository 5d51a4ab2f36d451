"""Time and memory of encoding and decoding whole HEMGS files, split by stage, on anchors like those of a trained scene.

Run as ``python -m tests.speed.codec``. Settings are HEMGS's defaults; networks are untrained but calibrated, so that
symbols cost about what they cost in a file. Encoding and decoding run in a process each, after a small file that loads
compiled code. Times are wall-clock seconds of the best round. What a stage calls is not part of its time. Peak memory
is that of the process, libraries and the anchors to encode included. With ``--device cuda`` it is what torch had
allocated on the GPU. A stage that starts work there without waiting for it leaves the time to the stage that waits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hemgs.anchor_codec import codec as anchor_codec
from hemgs.anchor_codec import file as anchor_file
from hemgs.anchor_codec import grid_codec, streams
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.model import AnchorModel
from hemgs.codec import anchor_set, integer_model, traversal
from hemgs.codec.bitstream import CODEC
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import LMBDA_INTERVAL, HemgsParams
from hemgs.config.params import params_of
from hemgs.core.assets import find_asset
from hemgs.core.device import choose_device, device_label, peak_memory_mib, reset_peak_memory
from hemgs.core.errors import AssetError
from hemgs.core.types import TradeOff
from tests.speed.neighbours import surface_anchors
from tests.speed.stages import timed_calls

SIZES = (20_000, 100_000)
TRADE_OFF = TradeOff(0.002, LMBDA_INTERVAL)
TRADE_OFF = TradeOff(0.002, LMBDA_INTERVAL)
#: Variant → id of the frozen network.
VARIANTS = {"without frozen network": "", "with frozen network": "pointnet2_bundled"}
#: Share of offsets without a Gaussian.
MASKED = 0.3
#: Stage → its functions, by owner.
STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "locations, masks, weights": tuple(
        (owner, f"{direction}_{part}")
        for direction in ("encode", "decode")
        for owner, parts in (
            (anchor_file, ("locations", "masks")),
            (anchor_codec, ("networks",)),
            (grid_codec, ("grid",)),
        )
        for part in parts
    ),
    "frozen network": ((anchor_set, "scene_agnostic_features"),),
    "neighbours, waves": ((anchor_set, "find_neighbours"), (anchor_set, "wavefronts")),
    "hash grid": ((traversal, "exact_lookup"),),
    "priors, steps": ((integer_model.FixedGroup, "prior"), (integer_model.FixedGroup, "step_index")),
    "pairs": ((anchor_set.ContextTable, "pairs"),),
    "context": (
        (traversal.FixedGroup, "scaled"),
        (integer_model.FixedContext, "remember"),
        (integer_model.FixedContext, "context"),
    ),
    "distribution": ((integer_model.FixedGroup, "prior_sums"), (integer_model.FixedGroup, "predict")),
    "table rows": ((integer_model.FixedPrediction, "table_rows"),),
    "rANS": (
        (streams.GaussianEncoder, "push"),
        (streams.GaussianEncoder, "finish"),
        (streams.GaussianDecoder, "pull"),
    ),
    "(de)quantise": ((streams, "quantize"), (streams, "dequantize")),
    "estimate of bits": ((integer_model.FixedPrediction, "bits"),),
    "digest": ((anchor_codec, "symbol_digest"),),
}
WHOLE = "all"


class ExclusiveTimer:
    """Time by stage, each without the stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._settle()
        self._stack.append(name)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] = self.seconds.get(self._stack[-1], 0.0) + now - self._since
        self._since = now


def made_anchors(num: int, params: HemgsParams, seed: int = 0) -> AnchorModel:
    """About ``num`` anchors on surfaces, with attributes that vary smoothly and by chance."""
    coords = torch.from_numpy(surface_anchors(num, seed))
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    smooth = torch.sin(coords.double() / 60).float()
    rows = {
        "features": 3 * smooth @ noise(3, params.feature_dim) + 0.7 * noise(len(coords), params.feature_dim),
        "log_scalings": 0.5 * noise(len(coords), 6) - 4,
        "offsets": noise(len(coords), params.num_offsets, 3),
        "mask_logits": torch.where(
            torch.rand(len(coords), params.num_offsets, generator=generator) < MASKED, -9.0, 1.0
        ),
    }
    return AnchorModel(coords, 0.01, AnchorHeads(params.feature_dim, params.num_offsets), rows)


def made_entropy(anchors: AnchorModel, params: HemgsParams, seed: int = 0) -> EntropyModel:
    """An entropy model that starts from the anchors' statistics."""
    torch.manual_seed(seed)
    entropy = EntropyModel(params.entropy)
    torch.nn.init.uniform_(entropy.grid.table, -1, 1)
    with torch.no_grad():
        entropy.set_bounds(anchors.coords)
        entropy.features.calibrate(anchors.features / BaseSteps.of(params).features)
        geometry = torch.cat([anchors.log_scalings.exp(), anchors.offsets.flatten(1)], dim=1)
        entropy.geometry.calibrate(geometry / BaseSteps.of(params).geometry(params.num_offsets, geometry.device))
        for network in entropy.networks():
            torch.nn.init.normal_(network.second.weight, std=0.1)
    return entropy


def measure(num: int, asset: str, file: Path, rounds: int, device: torch.device, *, decode: bool) -> dict[str, Any]:
    """Encodes anchors into ``file``, or decodes it, on ``device``.

    Returns:
        ``seconds`` by stage and ``all`` of the best round, ``processor_s`` of it, ``peak_mib``, and when encoding
        ``figures`` of the file.
    """
    params = params_of(HemgsParams, {"scene_agnostic": asset})
    result: dict[str, Any] = {}
    if not decode:
        anchors = made_anchors(num, params)
        entropy = made_entropy(anchors, params).to(device)
        anchors = anchors.to(device)
    reset_peak_memory(device)
    for number in range(rounds):
        anchor_set._anchor_set.cache_clear()
        timer, started = ExclusiveTimer(), time.process_time()
        with timed_calls(STAGES, timer), timer.stage("other"):
            if decode:
                CODEC.decode(file, device)
            else:
                table = CODEC.encode(file, anchors, entropy, BaseSteps.of(params), TRADE_OFF, torch.zeros(1, 3))
                result["figures"] = {**table.figures, "size_mib": table.total_bytes / 2**20}
        if not number:
            result["peak_mib"] = peak_memory_mib(device)
        whole = sum(timer.seconds.values())
        if not number or whole < result["seconds"][WHOLE]:
            result["seconds"] = timer.seconds | {WHOLE: whole}
            result["processor_s"] = time.process_time() - started
    return result


def _child(size: int, asset: str, file: Path, rounds: int, device: torch.device, *, decode: bool) -> dict[str, Any]:
    """:func:`measure` in a process of its own."""
    command = [sys.executable, "-m", "tests.speed.codec", f"--anchors={size}", f"--rounds={rounds}", f"--asset={asset}"]
    command += ["--device", str(device), "--measure", str(file), *(["--decode"] if decode else [])]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def _available(asset: str) -> bool:
    try:
        return not asset or bool(find_asset(asset))
    except AssetError:
        return False


def _print_variant(asset: str, sizes: list[int], rounds: int, device: torch.device, folder: Path) -> None:
    columns: list[dict[str, Any]] = []
    for size in sizes:
        file = folder / f"{size}.gsc"
        encoded = _child(size, asset, file, rounds, device, decode=False)
        columns += [encoded, _child(size, asset, file, rounds, device, decode=True) | {"figures": encoded["figures"]}]
        figures = encoded["figures"]
        print(
            f"{figures['num_anchors']:.0f} anchors: {figures['num_wavefronts']:.0f} waves, "
            f"{figures['context_mean']:.2f} neighbours on average, {figures['size_mib']:.2f} MiB",
            flush=True,
        )
    print(f"{'':26}" + "".join(f"{way:>8} {size:>11,d}" for size in sizes for way in ("encode", "decode")))
    for stage in (*STAGES, "other", WHOLE):
        cells = ""
        for column in columns:
            seconds = column["seconds"].get(stage, 0.0)
            cells += f"{seconds:12.2f} s {seconds / column['seconds'][WHOLE]:5.0%}"
        print(f"{stage:26}{cells}")
    print(f"{'processor time':26}" + "".join(f"{column['processor_s']:12.2f} s      " for column in columns))
    print(f"{'peak memory':26}" + "".join(f"{column['peak_mib']:14.0f} MiB  " for column in columns))
    cells = "".join(f"{'':20}" for _ in range(2))
    for column, before in zip(columns[2:], columns, strict=False):
        power = np.log(column["seconds"][WHOLE] / before["seconds"][WHOLE]) / np.log(
            column["figures"]["num_anchors"] / before["figures"]["num_anchors"]
        )
        cells += f"{f'anchors^{power:.2f}':>18}  "
    print(f"{'growth':26}{cells}", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--anchors", type=int, nargs="+", default=SIZES, help="sizes, such as 500000 (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="rounds, best one counts (default: %(default)s)")
    parser.add_argument("--asset", help="one frozen network instead of none and the bundled one; empty for none")
    parser.add_argument("--device", type=choose_device, default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--decode", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        small = arguments.measure.with_suffix(".small")
        asset, device = arguments.asset, arguments.device
        measure(500, asset, small, 1, device, decode=False)
        measure(500, asset, small, 1, device, decode=True)
        file, rounds = arguments.measure, arguments.rounds
        print(json.dumps(measure(arguments.anchors[0], asset, file, rounds, device, decode=arguments.decode)))
        return
    variants = VARIANTS if arguments.asset is None else {arguments.asset or "without frozen network": arguments.asset}
    where = device_label(arguments.device)
    print(f"{where}, {os.cpu_count()} processors, {torch.get_num_threads()} threads of torch", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for title, asset in variants.items():
            print(f"-- {title}", flush=True)
            if _available(asset):
                _print_variant(asset, list(arguments.anchors), arguments.rounds, arguments.device, Path(folder))
            else:
                print(f"{asset} is not installed")


if __name__ == "__main__":
    main()
