"""Whole rows of ``points.csv`` and ``views.csv``: every column has its expected value, or follows its rule."""

from __future__ import annotations

import hashlib
import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from hemgs.bench.encoding import run_encode
from hemgs.bench.evaluation import EvaluateRequest, run_evaluate
from hemgs.bench.training import TrainRequest, run_train
from hemgs.core.provenance import code_fingerprint, code_version, hardware
from hemgs.core.records import POINT_COLUMNS, SCHEMA_VERSION, VIEW_COLUMNS, read_points, read_views
from hemgs.core.types import Rate
from hemgs.metrics.ssim import ssim
from tests.unit.bench.conftest import CPU, TOY

LMBDA = 0.0023
#: Every setting of the toy, as typed or as it is by default.
PARAMS = {"iterations": 21, "gain": 0.125, "shade": "none", "strict": True, "log_every": 5, "checkpoint_every": 6}


@dataclass(frozen=True)
class Rule:
    """A value that differs between runs, and the rule that it follows."""

    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Measured:
    """One trained, encoded and measured toy.

    Attributes:
        elapsed_s: time of all steps.
        peaks_mib: peak memory from the system after training and after encoding, and of processes started so far.
    """

    folder: Path
    scene: Path
    elapsed_s: float
    peaks_mib: dict[str, float]

    @property
    def file(self) -> Path:
        return self.folder / "bitstreams" / "lmbda_0.0023.gsc"

    @property
    def scene_record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.scene / "scene.json").read_text())
        return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, scene_dir: Path) -> Measured:
    folder, begun = tmp_path_factory.mktemp("measured"), time.monotonic()
    params = {"iterations": 21, "gain": 0.125}
    run_train(
        TrainRequest(scene_dir, f"{TOY}ToyAll", folder / "model", params=params, seed=7, variant="toy_bright"), CPU
    )
    peaks_mib = {"train": system_peak_mib(resource.RUSAGE_SELF)}
    run_encode(folder / "model", folder, [Rate.of(LMBDA)], CPU)
    peaks_mib["encode"] = system_peak_mib(resource.RUSAGE_SELF)
    run_evaluate(EvaluateRequest(folder, scene_dir, folder), CPU)
    peaks_mib["decode"] = system_peak_mib(resource.RUSAGE_CHILDREN)
    return Measured(folder, scene_dir, time.monotonic() - begun, peaks_mib)


def seconds(measured: Measured) -> Rule:
    """Wall time of a part, in seconds: more than a microsecond, less than the whole."""
    return Rule(lambda value: 1e-6 < value < measured.elapsed_s)


def system_peak_mib(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def mebibytes(largest: float) -> Rule:
    """Peak memory of a process with torch, in MiB: at most the largest peak that the system reports.

    The system counts pages of each thread by themselves and adds them up now and then, so two readings differ a little.
    """
    return Rule(lambda value: 100 < value <= 1.02 * largest)


def pictures(measured: Measured) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The decoded picture, which is one colour, and the photograph of each test view, by their definitions."""
    color = load_file(measured.folder / "model" / "model.safetensors")["color"].double().numpy()
    pixel = np.rint(np.rint(color * 4096) / 4096 * 255).astype(np.uint8)
    found = []
    for view in measured.scene_record["views"]:
        if view["split"] == "test":
            target = np.asarray(Image.open(measured.scene / view["file"]).convert("RGB"))
            found.append((np.broadcast_to(pixel, target.shape), target))
    return found


def quality(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> dict[str, Any]:
    """Mean PSNR by its definition, and mean SSIM; the toy has no other figure of quality that every machine has."""
    errors = [np.mean((image / 255.0 - target / 255.0) ** 2) for image, target in pairs]
    tensors = [[torch.tensor(np.array(part)) / 255 for part in pair] for pair in pairs]
    return {
        "psnr": pytest.approx(np.mean(-10 * np.log10(errors)), abs=1e-4),
        "ssim": pytest.approx(np.mean([float(ssim(image, target)) for image, target in tensors]), abs=1e-6),
    }


def identity(measured: Measured) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "method": "toy_all",
        "variant": "toy_bright",
        "dataset": measured.scene_record["dataset"],
        "scene": "court",
        "fit": "all",
        "seed": 7,
        "rate": "lmbda_0.0023",
    }


def without_lpips(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("lpips")}


def check(row: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Every column is there, is equal to what is expected, or follows its rule."""
    assert list(row) == list(expected)
    ruled = {name: rule for name, rule in expected.items() if isinstance(rule, Rule)}
    for name, rule in ruled.items():
        assert rule.holds(row[name]), (name, row[name])
    assert {name: row[name] for name in row if name not in ruled} == {
        name: value for name, value in expected.items() if name not in ruled
    }


def test_every_column_of_a_point(measured: Measured) -> None:
    (row,) = read_points(measured.folder / "points.csv")
    data, filling = measured.file.read_bytes(), int(2.0 / LMBDA)
    described = {"method": "toy_all", "params": PARAMS, "protocol": measured.scene_record["protocol"]}
    config = json.dumps(described, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sections = {"settings": 8, "colors": 12, "extra_part": filling}
    # A section of the method's own has a column of its own, after all others.
    names = [*(column.name for column in POINT_COLUMNS), "bytes_extra_part"]
    expected: dict[str, Any] = dict.fromkeys(names)
    expected |= {name: sections.get(name.removeprefix("bytes_"), 0) for name in names if name.startswith("bytes_")}
    expected |= identity(measured) | quality(pictures(measured))
    expected |= {
        "label": "Toy",
        "lmbda": LMBDA,
        "iterations": 21,
        "status": "ok",
        "bytes_total": len(data),
        "bytes_container": len(data) - sum(sections.values()),
        "estimated_bits": 96.0,
        "coded_bits": 96,
        "estimated_bits_colors": 96.0,
        "num_views": 2,
        "num_gaussians": 1,
        "context_mean": 1.5,
        "num_wavefronts": 3,
        "train_s": seconds(measured),
        "encode_s": seconds(measured),
        "decode_s": seconds(measured),
        "render_s": seconds(measured),
        "fps": pytest.approx(1 / float(str(row["render_s"]))),
        "train_peak_mib": mebibytes(measured.peaks_mib["train"]),
        "encode_peak_mib": mebibytes(measured.peaks_mib["encode"]),
        "decode_peak_mib": mebibytes(measured.peaks_mib["decode"]),
        "code_version": code_version(),
        "code_fingerprint": code_fingerprint("tests.unit.bench"),
        "config_hash": hashlib.sha256(config.encode()).hexdigest(),
        "scene_hash": measured.scene_record["hash"],
        "bitstream_sha256": hashlib.sha256(data).hexdigest(),
        "hardware": hardware(),
        "device": "cpu",
        "torch_version": str(torch.__version__),
        # LPIPS needs weights that a machine may lack: the reason names exactly the empty columns.
        "reason": Rule(lambda reason: all((name in reason) == (row[name] is None) for name in row if "lpips" in name)),
    }
    check(without_lpips(row), without_lpips(expected))


def test_every_column_of_a_view(measured: Measured) -> None:
    rows = read_views(measured.folder / "views.csv")
    views = [view for view in measured.scene_record["views"] if view["split"] == "test"]
    for row, view, pair in zip(rows, views, pictures(measured), strict=True):
        expected: dict[str, Any] = dict.fromkeys(column.name for column in VIEW_COLUMNS)
        expected |= identity(measured) | quality([pair])
        expected |= {"view": view["name"], "width": 48, "height": 36, "render_s": seconds(measured)}
        check(without_lpips(row), without_lpips(expected))
