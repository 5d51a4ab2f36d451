"""The estimated cost of a benchmark: jobs, GPU hours and disk.

Owns the arithmetic: jobs of the configuration times measured figures (``bench.costs``). Extrapolated sums are separate
and named. Does not own the figures, or the contents of a benchmark (``config.benchmark``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hemgs.bench.costs import Costs
from hemgs.config.benchmark import Benchmark, FitPlan, MethodConfig, base_fit, fits
from hemgs.data.fetch.archives import WantedArchive, wanted_archives
from hemgs.training.params import NUM_KEPT

_MS_PER_H = 3.6e6
_S_PER_H = 3600.0
#: Folder of archives below the results, which is the default of the command line.
_ARCHIVES = Path("data/archives")
#: Number of jobs after the last measurement: plan, style, summary, tables, figures, page.
NUM_PUBLISHING_JOBS = 6


@dataclass
class MethodEstimate:
    """The remaining work of one method.

    Attributes:
        steps: training steps of all fits.
        alone_h: GPU hours with one training at a time, at the speed measured.
        together_h: the same with many at once.
        scaled_h: ``together_h`` with every step in proportion to the pixels of its images: extrapolated.
        encode_h, decode_h: hours of encoding, and of decoding and rendering the test views.
        measured: whether the method, or the method that it extends, was measured.
    """

    method: str
    fits: int = 0
    rates: int = 0
    steps: int = 0
    alone_h: float = 0.0
    together_h: float = 0.0
    scaled_h: float = 0.0
    encode_h: float = 0.0
    decode_h: float = 0.0
    measured: bool = True


@dataclass(frozen=True)
class Estimate:
    """The estimate of a whole benchmark.

    Attributes:
        jobs: number of jobs by rule.
        done: number of fits whose points exist; they cost nothing.
        disk_bytes: bytes by kind of file.
        notes: assumptions and omissions, one sentence each.
    """

    jobs: Mapping[str, int]
    done: int
    methods: tuple[MethodEstimate, ...]
    disk_bytes: Mapping[str, int]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the estimate for programs, with the totals of jobs and bytes."""
        return asdict(self) | {"jobs_total": sum(self.jobs.values()), "disk_total_bytes": sum(self.disk_bytes.values())}


def estimate(
    benchmark: Benchmark, costs: Costs, default_iterations: Callable[[str], int], results: Path = Path("results")
) -> Estimate:
    """Estimate the remaining work.

    Args:
        default_iterations: training steps of a method's entry if no file states them.
        results: folder of finished points; a fit whose points exist costs nothing more.
    """
    plans = [plan for plan in fits(benchmark) if not (results / "points" / plan.path / "points.csv").is_file()]
    bases = _bases(benchmark, plans, results)
    known = {**benchmark.methods, **benchmark.bases}
    iterations = {
        name: default_iterations(method.entry)
        for name, method in known.items()
        if any(plan.method == name and "iterations" not in plan.params for plan in (*plans, *bases))
    }
    methods = {name: MethodEstimate(name) for name in (*benchmark.methods, *(plan.method for plan in bases))}
    for plan in (*plans, *bases):
        steps = int(plan.params.get("iterations", iterations.get(plan.method, 0)))
        _add(methods[plan.method], plan, known[plan.method], steps, costs)
    return Estimate(
        jobs=_jobs(benchmark, plans, bases, results),
        done=len(fits(benchmark)) - len(plans),
        methods=tuple(methods.values()),
        disk_bytes=_disk(benchmark, plans, bases, costs, results),
        notes=_notes(benchmark, costs, methods),
    )


def _bases(benchmark: Benchmark, plans: list[FitPlan], results: Path) -> list[FitPlan]:
    """Return the trainings of the models from which these fits start, if nothing else trains them."""
    own = {plan.path for plan in plans}
    untrained = _untrained(plans, results)
    bases = {base.path: base for plan in untrained if (base := base_fit(benchmark, plan)) and base.path not in own}
    return _untrained(list(bases.values()), results)


def _add(total: MethodEstimate, plan: FitPlan, config: MethodConfig, steps: int, costs: Costs) -> None:
    method, total.measured = costs.of_method(config)
    dataset, _ = costs.of_dataset(plan.dataset)
    together_h = steps * method.train * costs.training.together_ms / _MS_PER_H
    total.fits += 1
    total.rates += len(plan.rates)
    total.steps += steps
    total.alone_h += steps * method.train * costs.training.alone_ms / _MS_PER_H
    total.together_h += together_h
    total.scaled_h += together_h * max(1.0, dataset.pixels / costs.training.pixels)
    total.encode_h += len(plan.rates) * method.encode_s / _S_PER_H
    total.decode_h += len(plan.rates) * (method.decode_s + dataset.num_test_views * method.render_s) / _S_PER_H


def _scenes(plans: list[FitPlan]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((plan.dataset, plan.scene) for plan in plans))


def _unprepared(plans: list[FitPlan], results: Path) -> list[tuple[str, str]]:
    return [
        place for place in _scenes(plans) if not (results / "data/scenes" / "/".join(place) / "scene.json").is_file()
    ]


def _untrained(plans: list[FitPlan], results: Path) -> list[FitPlan]:
    return [plan for plan in plans if not (results / "models" / plan.path / "model.safetensors").is_file()]


def _archives(benchmark: Benchmark, scenes: list[tuple[str, str]], results: Path) -> dict[str, WantedArchive]:
    """Return the downloads of `hemgs fetch` for these scenes, by archive."""
    names = ["/".join(place) for place in scenes]
    # Without any name, all scenes would be selected.
    return wanted_archives(tuple(benchmark.datasets.values()), names, results / _ARCHIVES) if names else {}


def _jobs(benchmark: Benchmark, plans: list[FitPlan], bases: list[FitPlan], results: Path) -> dict[str, int]:
    unprepared = _unprepared(plans, results)
    jobs = {
        "fetch_archive": len(_archives(benchmark, unprepared, results)),
        "prepare_scene": len(unprepared),
        "train_model": len(_untrained(plans, results)) + len(bases),
        "encode_points": len(plans),
        "evaluate_points": len(plans),
    }
    if "refit" in benchmark.tables:
        tables = [
            results / "summary/refit" / dataset / f"{scene.id}.csv"
            for dataset, scenes in benchmark.scenes.items()
            for scene in scenes
        ]
        jobs["refit_model"] = sum(not table.is_file() for table in tables)
    return {**jobs, "publish": NUM_PUBLISHING_JOBS}


def _disk(
    benchmark: Benchmark, plans: list[FitPlan], bases: list[FitPlan], costs: Costs, results: Path
) -> dict[str, int]:
    unprepared = _unprepared(plans, results)
    sizes = {plan.path: _model_bytes(benchmark, plan, costs) for plan in (*plans, *bases)}
    prepared, bitstreams = 0.0, 0.0
    for dataset, _ in unprepared:
        found, _ = costs.of_dataset(dataset)
        prepared += found.num_views * found.pixels * costs.disk.png_bytes_per_pixel
    for plan in plans:
        uncompressed = benchmark.methods[plan.method].base in costs.disk.methods_uncompressed
        bitstreams += sizes[plan.path] * len(plan.rates) * (1.0 if uncompressed else costs.disk.bitstream)
    models = sorted(sizes[plan.path] for plan in (*_untrained(plans, results), *bases))
    at_once = sum(models[-costs.training.num_at_once :]) * (NUM_KEPT + 1)  # one more while it is written
    archives, unpacked = _archive_bytes(_archives(benchmark, unprepared, results), costs, results)
    return {
        "archives": int(archives),
        "unpacked scenes": int(unpacked),
        "prepared scenes": int(prepared),
        "models": int(sum(models)),
        "checkpoints while training": int(at_once * costs.disk.checkpoint),
        "bitstreams": int(bitstreams),
    }


def _model_bytes(benchmark: Benchmark, plan: FitPlan, costs: Costs) -> float:
    method = {**benchmark.methods, **benchmark.bases}[plan.method]
    splats = method.kind == "post" or method.base in costs.disk.methods_of_splats
    sizes = costs.disk.splats if splats else costs.disk.anchors
    return sizes.get(plan.dataset, sizes["other"])


def _archive_bytes(wanted: Mapping[str, WantedArchive], costs: Costs, results: Path) -> tuple[float, float]:
    """Return the archives to download and to unpack; scenes that are in place need neither."""
    fetched, unpacked = 0.0, 0.0
    for archive in wanted.values():
        if archive.missing:
            dataset = next(iter(archive.missing)).partition("/")[0]
            length = archive.entry.size_bytes or costs.of_dataset(dataset)[0].archive_bytes
            fetched += 0 if (results / _ARCHIVES / archive.name).is_file() else length
            unpacked += length * archive.missing_share * costs.disk.unpacked
    return fetched, unpacked


def _notes(benchmark: Benchmark, costs: Costs, methods: Mapping[str, MethodEstimate]) -> tuple[str, ...]:
    training = costs.training
    notes = [
        f"measured: {training.alone_ms:g} ms a step alone, {training.together_ms:g} ms of the GPU with "
        f"{training.num_at_once} trainings at once, in {training.iterations:,} iterations at "
        f"{training.pixels / 1e6:.2f} megapixels on {training.hardware}; from {training.origin}",
        f"published: {training.published}",
        "extrapolated: later steps of longer trainings, with more anchors, are assumed to cost no more",
        "extrapolated: `scaled` assumes cost in proportion to pixels; small steps that wait for the GPU cost more",
        "not included: downloading, preparing scenes, metrics (mainly LPIPS), refit_model, waiting, retries",
        f"checkpoints: those of the {training.num_at_once} largest trainings at once; each removes its own at its end",
        "extrapolated: the scenes of an archive are assumed to have equal sizes",
    ]
    unmeasured = [name for name, found in methods.items() if not found.measured]
    if unmeasured:
        notes.append(f"extrapolated: {', '.join(unmeasured)} was not measured and counts as `other` in {costs.file}")
    unknown = [name for name in benchmark.scenes if not costs.of_dataset(name)[1]]
    if unknown:
        notes.append(f"extrapolated: {', '.join(unknown)} has no sizes in {costs.file} and counts as `other`")
    return tuple(notes)
