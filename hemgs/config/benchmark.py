"""Benchmarks: datasets, methods, rates, and the settings of each fit.

Owns ``config/*.yaml``: keys with their ranges, defaults, overrides, selection, and the checks between files. Its
functions convert files to frozen dataclasses, and import neither torch nor Snakemake. Does not own the meaning of a
dataset's or a method's file (``hemgs.config.dataset``, ``hemgs.config.method``), or the check that a method accepts its
settings (``hemgs.config.entries``).

Settings of a method come from its file, then the dataset's ``method_params``, then those of the benchmark. Of both
``method_params``, ``all_methods`` comes before the method's own. Later values replace earlier ones. A variant starts
from the result for the method that it extends. It then adds the settings that name the variant itself, in the same
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from hemgs.config.captures import agreed, expand_path
from hemgs.config.dataset import DatasetConfig, SceneConfig, load_datasets
from hemgs.config.fields import (
    ALL_METHODS,
    ID,
    LIST,
    ONCE,
    UNIQUE,
    Id,
    Lmbdas,
    MethodParams,
    Text,
    one_of,
    one_or_more,
)
from hemgs.config.method import MethodConfig, fit_rates, load_methods, with_benchmark_rates
from hemgs.core.catalogue import ON_REQUEST_TABLES, TABLES
from hemgs.core.errors import ConfigError
from hemgs.core.reading import Section, checked, closest
from hemgs.core.types import Rate
from hemgs.core.yaml_files import load_yaml

#: The method whose entropy models the table ``refit`` compares.
REFIT_METHOD = "hemgs"


TableId = Annotated[str, *one_of((*TABLES, *ON_REQUEST_TABLES))]
Ids = Annotated[list[Id], *one_or_more(Id)]
SceneName = Annotated[str, StringConstraints(pattern=f"^({ID}/)?{ID}$")]
FullSceneName = Annotated[str, StringConstraints(pattern=f"^{ID}/{ID}$")]


class RunKeys(Section):
    """The selection of methods, scenes and seeds."""

    methods: Ids
    """Method and variant ids, in the order of the tables."""
    datasets: Ids
    """Dataset ids, in the order of the tables."""
    scenes: Annotated[list[SceneName], *one_or_more(SceneName)] | None = None
    """Only these scenes, as `scene` or `dataset/scene`; every scene of the datasets when absent."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), ONCE, UNIQUE] = Field(
        default_factory=lambda: [0]
    )
    """Each fit is trained once per seed; [0] when absent."""


class PublishKeys(Section):
    """The published tables and figures."""

    tables: Annotated[list[TableId], ONCE, UNIQUE] = Field(default_factory=lambda: list(TABLES))
    """Tables to write, each as csv, md and tex; all of them but refit when absent. refit fits entropy models to
    the symbols of one trained model of hemgs per scene, which must be among the methods."""
    visual: Annotated[list[FullSceneName], ONCE, UNIQUE] = Field(default_factory=list)
    """Scenes, as dataset/scene, that get a visual comparison."""
    variable_rate: Annotated[list[Id], ONCE, UNIQUE] | None = None
    """Methods of kind all_rates drawn in the variable-rate figure, with their variants of kind per_rate; all selected
    ones when absent."""


class PartialKeys(Section):
    """Publication of the finished part of a failed run; the workflow sets this after a failure."""

    unfinished: Annotated[frozenset[str], LIST]
    """Files that the failed run should have made and did not make; older files in their place do not count."""
    failed: Annotated[frozenset[str], LIST]
    """Logs of the jobs that failed in that run."""


class BenchmarkFile(Section):
    """A benchmark: what it runs and publishes. Resources and executors belong to profiles."""

    title: Text
    """Heading of the page."""
    run: RunKeys
    rates: dict[Id, Lmbdas] = Field(default_factory=dict)
    """λ by method id, in place of those of the method's file. A variant without rates in its file takes those of the
    method that it extends."""
    method_params: MethodParams = Field(default_factory=dict)
    """Settings of methods for this benchmark, by method id, over those of the method's and the dataset's file. Variants
    take those of the method that they extend. `all_methods` is for settings that every method has, such as
    iterations."""
    publish: PublishKeys = PublishKeys()
    extra_config: Annotated[list[Text], ONCE, UNIQUE] = Field(default_factory=list)
    """Further folders with datasets/ and methods/ inside, for scenes and methods kept outside this repository.
    ${NAME} is an environment variable."""
    partial: PartialKeys | None = None
    """Publish the finished part of a failed run; the workflow adds this key itself after a failure."""


#: Settings of methods, by method id.
Layers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class FitPlan:
    """One training and the bitstreams of its model.

    Attributes:
        fit: ``all`` for one model at every rate, the rate's id for one model per rate, ``single`` without rates.
        params: settings that replace the method's defaults, sorted by name.
    """

    method: str
    dataset: str
    scene: str
    fit: str
    seed: int
    rates: tuple[Rate, ...]
    params: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Path of the fit below ``results/models`` and ``results/points``."""
        return f"{self.method}/{self.dataset}/{self.scene}/{self.fit}/s{self.seed}"


@dataclass(frozen=True)
class Benchmark:
    """Everything that a workflow must run and publish.

    Attributes:
        methods, datasets: the selected ones, in the order of the tables.
        bases: methods that are not selected, but are trained because selected methods start from their models.
        scenes: the selected ones, by dataset, in the order of their files.
        layers: ``method_params`` of the benchmark's own file.
        visual: scenes that get a visual comparison, as ``(dataset, scene)``.
        partial: the files that a failed run did not make, if the rest of it must be published.
    """

    title: str
    methods: Mapping[str, MethodConfig]
    datasets: Mapping[str, DatasetConfig]
    scenes: Mapping[str, tuple[SceneConfig, ...]]
    seeds: tuple[int, ...]
    layers: Layers
    tables: tuple[str, ...]
    visual: tuple[tuple[str, str], ...]
    variable_rate: tuple[str, ...]
    partial: PartialKeys | None = None
    bases: Mapping[str, MethodConfig] = field(default_factory=dict)


def load_benchmark(settings: Mapping[str, Any], origins: Sequence[Path], folder: Path) -> Benchmark:
    """Resolve a benchmark.

    Args:
        settings: the configuration, merged from ``origins`` and the command line.
        origins: files of ``settings``, for messages; later ones override earlier ones.
        folder: folder that contains ``datasets/`` and ``methods/``.

    Raises:
        ConfigError: a key, value or name cannot be used. The error names the file that contains it.
    """
    for origin in origins:
        load_yaml(origin)  # refuses keys given twice, which the merged settings no longer show
    source = " + ".join(map(str, origins)) or "the command line"
    own: BenchmarkFile = checked(BenchmarkFile, settings, source)
    folders = [folder, *(expand_path(extra, source) for extra in own.extra_config)]
    methods = load_methods(_yaml_files(folders, "methods"))
    datasets = load_datasets(_yaml_files(folders, "datasets"))
    run, publish = own.run, own.publish

    _check_names(own.method_params, {*methods, ALL_METHODS}, f"{source}: method_params", "method")
    for dataset in datasets.values():
        _check_names(dataset.method_params, {*methods, ALL_METHODS}, f"{dataset.file}: method_params", "method")
    _check_names(own.rates, methods, f"{source}: rates", "method")
    _check_names(run.methods, methods, f"{source}: run.methods", "method")
    _check_names(run.datasets, datasets, f"{source}: run.datasets", "dataset")
    selected = {name: with_benchmark_rates(methods[name], own.rates, f"{source}: rates") for name in run.methods}
    scenes = _select_scenes(run.scenes, [datasets[name] for name in run.datasets], source)
    if "refit" in publish.tables and REFIT_METHOD not in selected:
        raise ConfigError(
            f"{source}: publish.tables names refit, and run.methods has no {REFIT_METHOD}",
            f"add {REFIT_METHOD} to run.methods, or leave the table out",
        )
    return Benchmark(
        title=own.title,
        methods=selected,
        datasets={dataset.id: dataset for dataset in agreed(datasets[name] for name in run.datasets if name in scenes)},
        scenes=scenes,
        seeds=tuple(run.seeds),
        layers=own.method_params,
        tables=tuple(publish.tables),
        visual=_visual(publish.visual, scenes, datasets, source),
        variable_rate=_variable_rate(publish.variable_rate, selected, methods, source),
        partial=own.partial,
        bases={
            method.starts_from: methods[method.starts_from]
            for method in selected.values()
            if method.starts_from and method.starts_from not in selected
        },
    )


def fits(benchmark: Benchmark) -> tuple[FitPlan, ...]:
    """Return every training of the benchmark, by method, dataset, scene, fit and seed."""
    plans = []
    for method in benchmark.methods.values():
        for dataset, scenes in benchmark.scenes.items():
            params = resolve_params(method, benchmark.datasets[dataset].method_params, benchmark.layers)
            for scene in scenes:
                for fit, rates in fit_rates(method).items():
                    plans += [
                        FitPlan(method.id, dataset, scene.id, fit, seed, rates, params) for seed in benchmark.seeds
                    ]
    return tuple(plans)


def base_fit(benchmark: Benchmark, plan: FitPlan) -> FitPlan | None:
    """Return the training whose model another one starts from, without rates; ``None`` if it starts from nothing."""
    name = benchmark.methods[plan.method].starts_from
    if not name:
        return None
    method = {**benchmark.bases, **benchmark.methods}[name]
    params = resolve_params(method, benchmark.datasets[plan.dataset].method_params, benchmark.layers)
    return FitPlan(name, plan.dataset, plan.scene, next(iter(fit_rates(method))), plan.seed, (), params)


def resolve_params(method: MethodConfig, dataset_layers: Layers, benchmark_layers: Layers) -> dict[str, Any]:
    """Return a method's settings over the defaults of its code, sorted by name, merged in this module's order."""
    resolved: dict[str, Any] = {}
    for index, (name, params) in enumerate(method.layers):
        resolved |= params
        for layers in (dataset_layers, benchmark_layers):
            if index == 0:
                resolved |= layers.get(ALL_METHODS, {})
            resolved |= layers.get(name, {})
    return dict(sorted(resolved.items()))


def _yaml_files(folders: Sequence[Path], kind: str) -> list[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder", "check 'extra_config'")
    return [path for folder in folders for path in sorted((folder / kind).glob("*.yaml"))]


def _select_scenes(
    wanted: list[str] | None, datasets: Sequence[DatasetConfig], source: str
) -> dict[str, tuple[SceneConfig, ...]]:
    everything = {dataset.id: tuple(dataset.scenes.values()) for dataset in datasets}
    if wanted is None:
        return everything
    names = set(wanted)
    known = {name for dataset, scenes in everything.items() for s in scenes for name in (s.id, f"{dataset}/{s.id}")}
    _check_names(names, known, f"{source}: run.scenes", "scene of the selected datasets")
    chosen = {
        dataset: tuple(scene for scene in scenes if names & {scene.id, f"{dataset}/{scene.id}"})
        for dataset, scenes in everything.items()
    }
    return {dataset: scenes for dataset, scenes in chosen.items() if scenes}


def _visual(
    wanted: Sequence[str],
    scenes: Mapping[str, tuple[SceneConfig, ...]],
    datasets: Mapping[str, DatasetConfig],
    source: str,
) -> tuple[tuple[str, str], ...]:
    """Return the pairs to compare, without scenes that are not selected, so that a selection changes one key only."""
    known = {f"{dataset.id}/{scene}" for dataset in datasets.values() for scene in dataset.scenes}
    _check_names(wanted, known, f"{source}: publish.visual", "scene")
    selected = {(dataset, scene.id) for dataset, found in scenes.items() for scene in found}
    pairs = [(name.partition("/")[0], name.partition("/")[2]) for name in wanted]
    return tuple(pair for pair in pairs if pair in selected)


def _variable_rate(
    wanted: Sequence[str] | None,
    selected: Mapping[str, MethodConfig],
    known: Mapping[str, MethodConfig],
    source: str,
) -> tuple[str, ...]:
    if wanted is None:
        return tuple(name for name, method in selected.items() if method.kind == "all_rates")
    _check_names(wanted, known, f"{source}: publish.variable_rate", "method")
    return tuple(name for name in wanted if name in selected)


def _check_names(names: Iterable[str], known: Iterable[str], where: str, what: str) -> None:
    known = set(known)
    for name in sorted(names):
        if name not in known:
            raise ConfigError(f"{where}: '{name}' is not a known {what}", closest(name, known))
