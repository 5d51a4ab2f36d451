"""Measurement of bitstreams: every value of ``points.csv`` and ``views.csv``.

Owns the measurements. Quality is measured on 8-bit views of the scene that a fresh process decoded from the file, size
on the file itself, and speed after a warm-up. Needs no model. Does not own metrics, columns, or tables.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from hemgs.bench.decoding import DecodeStats, file_sections
from hemgs.bench.isolation import DECODE_TIMEOUT_S, decode_alone
from hemgs.bench.registry import get_method
from hemgs.bench.runs import EncodedRate, EncodeRecord, TrainRecord, alone_in, bitstream_path, read_encode_record
from hemgs.bench.viewing import measured_part, picture_file, to_bytes, write_png
from hemgs.core.device import synchronize
from hemgs.core.errors import BitstreamError, DeviceError, HemgsError, SceneError
from hemgs.core.events import EventLog
from hemgs.core.files import sha256_of
from hemgs.core.provenance import hardware
from hemgs.core.records import (
    CONTEXT_COLUMNS,
    POINT_COLUMNS,
    VIEW_COLUMNS,
    Column,
    Value,
    blank_row,
    mean_quality,
    recorded_reason,
    write_points,
    write_views,
)
from hemgs.core.timing import Stopwatch
from hemgs.core.types import Scene, View
from hemgs.data.loader import load_scene
from hemgs.metrics.suite import MetricSuite
from hemgs.protocol import Method, Renderable

POINTS_FILE = "points.csv"
VIEWS_FILE = "views.csv"
SHOWCASE_FOLDER = "showcase"
#: Folder of the photographs in the showcase, next to one folder per rate.
TARGET_FOLDER = "target"
#: Rates that get a showcase: the first, the middle and the last one.
NUM_SHOWCASE_RATES = 3
#: Least number of renderings in one timing. Views are repeated until this number or the time limit is reached.
MIN_TIMED_RENDERS = 10
MAX_TIMING_S = 5.0
#: Separates the fault from its fix in the text of an error.
_BEFORE_FIX = " — "


@dataclass(frozen=True)
class EvaluateRequest:
    """A request to measure bitstreams.

    Attributes:
        points: folder with ``encode.json`` and ``bitstreams/``.
        scene: folder of the prepared scene.
        out: folder for the results; usually ``points`` itself.
        num_showcase: number of test views whose pictures are kept.
        keep_going: whether a bitstream that fails becomes a row with status ``failed`` instead of an error, as long as
            another one can be measured.
        timeout_s: time limit for decoding one bitstream.
    """

    points: Path
    scene: Path
    out: Path
    num_showcase: int = 2
    keep_going: bool = False
    timeout_s: float = DECODE_TIMEOUT_S


@dataclass(frozen=True)
class Evaluation:
    """The written rows: one per rate, and one per rate and view."""

    points: list[dict[str, Value]]
    views: list[dict[str, Value]]


def run_evaluate(request: EvaluateRequest, device: torch.device, stream: IO[str] | None = None) -> Evaluation:
    """Decode every bitstream in its own process, render the test views and measure.

    Writes ``showcase/``, ``views.csv`` and, last, ``points.csv``. Waits for another process that writes there.

    Raises:
        SceneError: the model was trained on another scene, or the scene has no test views.
        BitstreamError: a bitstream is damaged or is not the one that ``encode.json`` describes; with ``keep_going``,
            this is true of all bitstreams.
        DeviceError: the machine lacks memory or disk space, with or without ``keep_going``.
    """
    record = read_encode_record(request.points)
    scene = scene_to_measure(request.scene, record.train, request.points)
    with alone_in(request.out, stream):
        (request.out / POINTS_FILE).unlink(missing_ok=True)
        _clear_showcase(request.out / SHOWCASE_FOLDER)
        return _Bench(request, record, scene, device).run(stream)


def scene_to_measure(folder: Path, train: TrainRecord, made: Path) -> Scene:
    """Return the prepared scene in ``folder``, after checking that the results in the folder ``made`` belong to it.

    Raises:
        SceneError: it is not the scene of the training, or has no test views.
    """
    scene = load_scene(folder)
    if scene.hash != train.scene_hash:
        raise SceneError(
            f"{folder} is not the scene that {made} was made from (hash {scene.hash[:12]}, expected "
            f"{train.scene_hash[:12]})",
            "name the scene it was trained on, or train again",
        )
    if not scene.split("test"):
        raise SceneError(f"{folder}: there are no test views to measure", "prepare it with another split")
    return scene


def showcase_rates(rate_ids: Sequence[str]) -> set[str]:
    """Return the first, middle and last of the rates."""
    last = len(rate_ids) - 1
    return {rate_ids[round(last * part / (NUM_SHOWCASE_RATES - 1))] for part in range(NUM_SHOWCASE_RATES)}


def showcase_views(views: Sequence[View], number: int) -> tuple[View, ...]:
    """Return ``number`` views, spread evenly."""
    number = min(number, len(views))
    return tuple(views[(2 * index + 1) * len(views) // (2 * number)] for index in range(number))


class _Bench:
    """One scene and one set of bitstreams under measurement."""

    def __init__(self, request: EvaluateRequest, record: EncodeRecord, scene: Scene, device: torch.device) -> None:
        self._request, self._record, self._scene, self._device = request, record, scene, device
        self._method: Method = get_method(record.train.entry)
        self._views = scene.split("test")
        self._targets = [to_bytes(scene.read_image(view)) for view in self._views]
        self._masks = [scene.read_mask(view) for view in self._views]
        self._showcase = showcase_views(self._views, request.num_showcase) if request.num_showcase > 0 else ()
        self._suite = MetricSuite(device)

    def run(self, stream: IO[str] | None) -> Evaluation:
        """Measure every rate and write all results."""
        request, record, result = self._request, self._record, Evaluation([], [])
        rate_ids = list(record.rates)
        shown = showcase_rates(rate_ids)
        with EventLog(None, f"measuring {record.train.method} {self._scene.scene}", stream) as events:
            for number, rate_id in enumerate(rate_ids, start=1):
                point, views = self._measure(rate_id, showcase=rate_id in shown)
                result.points.append(point)
                result.views.extend(views)
                figures = {k: v for k in ("bytes_total", "psnr") if isinstance(v := point[k], int | float)}
                events.progress(number, len(rate_ids), **figures)
        if result.points and all(point["status"] == "failed" for point in result.points):
            reason = result.points[0]["reason"]
            raise BitstreamError(f"{request.points}: none of {len(rate_ids)} bitstreams can be measured: {reason}")
        self._write_targets()
        write_views(request.out / VIEWS_FILE, result.views)
        write_points(request.out / POINTS_FILE, result.points)
        return result

    def _measure(self, rate_id: str, showcase: bool) -> tuple[dict[str, Value], list[dict[str, Value]]]:
        """Return the rows of one rate."""
        encoded = self._record.rates[rate_id]
        point = self._identity(rate_id, POINT_COLUMNS) | self._of_training(rate_id) | _of_encoding(encoded)
        path = bitstream_path(self._request.points, rate_id)
        try:
            check_bitstream(path, encoded)
            with decode_alone(path, self._device, self._record.train.entry, self._request.timeout_s) as decoded:
                views = self._measure_views(rate_id, decoded.renderable, showcase)
                point |= _of_decoding(decoded.stats) | self._speed(decoded.renderable)
        except DeviceError:  # This is a fault of the machine: another attempt may succeed, with more memory.
            raise
        except HemgsError as fault:
            if not self._request.keep_going:
                raise
            return point | {"status": "failed", "reason": recorded_reason(str(fault))}, []
        point |= mean_quality(views) | {"num_views": len(views), "status": "ok", "reason": self._reasons()}
        return point, views

    def _write_targets(self) -> None:
        """Write the photographs of the showcase."""
        folder = self._request.out / SHOWCASE_FOLDER / TARGET_FOLDER
        for view, target in zip(self._views, self._targets, strict=True):
            if view in self._showcase:
                write_png(folder / picture_file(view.name), target)

    def _measure_views(self, rate_id: str, renderable: Renderable, showcase: bool) -> list[dict[str, Value]]:
        rows = []
        self._render(renderable, self._views[0])  # This compiles kernels and fills caches.
        for view, target, mask in zip(self._views, self._targets, self._masks, strict=True):
            with Stopwatch(lambda: synchronize(self._device)) as watch:
                image = self._render(renderable, view)
            pixels = to_bytes(image.cpu().numpy())
            row = self._identity(rate_id, VIEW_COLUMNS) | self._suite.measure(pixels, target, mask)
            row |= {"view": view.name, "width": view.camera.width, "height": view.camera.height}
            rows.append(row | {"render_s": watch.seconds})
            if showcase and view in self._showcase:
                write_png(
                    self._request.out / SHOWCASE_FOLDER / rate_id / picture_file(view.name),
                    measured_part(pixels, target, mask),
                )
        return rows

    def _render(self, renderable: Renderable, view: View) -> torch.Tensor:
        with torch.no_grad():
            image = renderable.render(view.camera, self._scene.background)
        size = (view.camera.height, view.camera.width, 3)
        if tuple(image.shape) != size or not bool(torch.isfinite(image).all()):
            raise BitstreamError(f"view {view.name!r} of the decoded scene is no finite picture of its camera's size")
        return image

    def _speed(self, renderable: Renderable) -> dict[str, Value]:
        def render(index: int) -> None:
            with torch.no_grad():
                camera = self._views[index % len(self._views)].camera
                renderable.render(camera, self._scene.background)

        render_s = median_seconds(render, lambda: synchronize(self._device))
        return {"render_s": render_s, "fps": 1.0 / render_s}

    def _identity(self, rate_id: str, columns: Sequence[Column]) -> dict[str, Value]:
        train = self._record.train
        row = blank_row(columns)
        names = ("method", "variant", "dataset", "scene", "fit", "seed")
        return row | {name: getattr(train, name) for name in names} | {"rate": rate_id}

    def _of_training(self, rate_id: str) -> dict[str, Value]:
        train = self._record.train
        trained_on, here = str(train.origin.get("hardware", "")), hardware()
        return {
            "label": train.label,
            "lmbda": self._record.rates[rate_id].lmbda,
            "iterations": train.iterations,
            "train_s": train.train_s,
            "train_peak_mib": train.train_peak_mib,
            "code_version": str(train.origin.get("code_version", "")),
            "code_fingerprint": str(train.origin.get("code_fingerprint", "")),
            "config_hash": train.config_hash,
            "scene_hash": train.scene_hash,
            "hardware": trained_on if trained_on == here else f"{trained_on}; measured on {here}",
            "device": train.device,
            "torch_version": str(train.origin.get("versions", {}).get("torch", "")),
        }

    def _reasons(self) -> str:
        """Return in brief why quality columns have no values, else an empty text; `hemgs doctor` names the fix."""
        why: dict[str, list[str]] = {}
        for column, reason in self._suite.unavailable.items():
            why.setdefault(recorded_reason(reason.partition(_BEFORE_FIX)[0]), []).append(column)
        return "; ".join(f"{', '.join(columns)}: {reason}" for reason, columns in why.items())


def _clear_showcase(folder: Path) -> None:
    """Make the folder, and remove pictures of an earlier measurement."""
    folder.mkdir(exist_ok=True)
    for picture in folder.glob("*/*.png"):
        picture.unlink()


def check_bitstream(path: Path, encoded: EncodedRate) -> None:
    """Raise BitstreamError unless the file is the one that was encoded and its parts add up to its length."""
    if not path.is_file():
        raise BitstreamError(f"{path}: the bitstream is missing", "run `hemgs encode` again")
    found = file_sections(path)
    length_bytes = path.stat().st_size
    if sum(found.values()) != length_bytes or found != dict(encoded.sections) or sha256_of(path) != encoded.sha256:
        raise BitstreamError(f"{path}: not the file that encode.json describes", "run `hemgs encode` again")


def median_seconds(call: Callable[[int], None], synchronize_device: Callable[[], None]) -> float:
    """Return the median wall time of ``call(index)``, one call made before the clock starts.

    Calls are repeated :data:`MIN_TIMED_RENDERS` times, fewer if that takes more than :data:`MAX_TIMING_S`.
    """
    call(0)
    seconds: list[float] = []
    while len(seconds) < MIN_TIMED_RENDERS and sum(seconds) < MAX_TIMING_S:
        with Stopwatch(synchronize_device) as watch:
            call(len(seconds))
        seconds.append(watch.seconds)
    return statistics.median(seconds)


def section_bytes(sections: Mapping[str, int]) -> dict[str, Value]:
    """Return columns ``bytes_*``, one for each section, also for sections that only the codec knows.

    >>> section_bytes({"container": 7, "codebook": 5})
    {'bytes_container': 7, 'bytes_codebook': 5, 'bytes_total': 12}
    """
    own: dict[str, Value] = {f"bytes_{name}": size for name, size in sections.items()}
    return own | {"bytes_total": sum(sections.values())}


def estimated_columns(encoded: EncodedRate) -> dict[str, Value]:
    """Return columns ``estimated_bits*``, ``coded_bits``: ideal and actual bits of the entropy-coded sections."""
    estimated = encoded.estimated_bits
    columns: dict[str, Value] = {f"estimated_bits_{name}": bits for name, bits in estimated.items()}
    columns["estimated_bits"] = float(sum(estimated.values())) if estimated else None
    columns["coded_bits"] = 8 * sum(encoded.sections[name] for name in estimated) if estimated else None
    return columns


def context_figures(figures: Mapping[str, float]) -> dict[str, Value]:
    """Return columns of :data:`CONTEXT_COLUMNS`; ``None`` where a method does not count something."""
    return {
        column.name: None
        if column.name not in figures
        else int(figures[column.name])
        if column.dtype == "int"
        else float(figures[column.name])
        for column in CONTEXT_COLUMNS
    }


def _of_encoding(encoded: EncodedRate) -> dict[str, Value]:
    return (
        section_bytes(encoded.sections)
        | estimated_columns(encoded)
        | context_figures(encoded.figures)
        | {
            "encode_s": encoded.encode_s,
            "encode_peak_mib": encoded.encode_peak_mib,
            "bitstream_sha256": encoded.sha256,
        }
    )


def _of_decoding(stats: DecodeStats) -> dict[str, Value]:
    return {
        "num_anchors": stats.num_anchors,
        "num_gaussians": stats.num_gaussians,
        "decode_s": stats.decode_s,
        "decode_peak_mib": stats.decode_peak_mib,
    }
