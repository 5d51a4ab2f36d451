"""Benchmarks from files: defaults, overrides, variants, selection, and errors."""

from __future__ import annotations

from typing import Any

import pytest

from hemgs.config.benchmark import base_fit, fits, load_benchmark
from hemgs.core.catalogue import TABLES
from hemgs.core.errors import ConfigError
from tests.unit.config.config_folder import SETTINGS, Folder


def test_fits_go_by_method_data_set_scene_and_seed(folder: Folder) -> None:
    plans = fits(folder.load(run={"seeds": [0, 3]}))
    assert [plan.path for plan in plans[:4]] == [
        "sweep/house/kitchen/all/s0",
        "sweep/house/kitchen/all/s3",
        "sweep/house/attic/all/s0",
        "sweep/house/attic/all/s3",
    ]
    assert len(plans) == 2 * 3 * 2
    assert [rate.id for rate in plans[0].rates] == ["lmbda_0.0010", "lmbda_0.0020"]
    assert plans[-1].path == "plain/park/pond/single/s3"
    assert [rate.id for rate in plans[-1].rates] == ["single"]


def test_a_post_method_starts_from_the_benchmarks_own_fit_of_its_base(folder: Folder) -> None:
    folder.method("after", {"entry": "a.b:F", "kind": "post", "base": "plain", "params": {"codes": 8}})
    folder.method("after_flat", {"extends": "after", "params": {"codes": 4}})
    folder.method("plain_long", {"extends": "plain", "params": {"width": 9}})
    folder.method("after_long", {"extends": "after", "base": "plain_long"})
    layers = {"plain": {"depth": 5}, "after": {"codes": 16}, "all_methods": {"iterations": 7}}
    for methods in (["plain", "after", "after_flat", "after_long"], ["after", "after_flat", "after_long"]):
        benchmark = folder.load(run={"methods": methods, "datasets": ["park"], "seeds": [3]}, method_params=layers)
        plans = {plan.method: plan for plan in fits(benchmark)}
        assert list(plans) == methods
        bases = {name: base for name, plan in plans.items() if (base := base_fit(benchmark, plan))}
        assert {name: base.path for name, base in bases.items()} == {
            "after": "plain/park/pond/single/s3",
            "after_flat": "plain/park/pond/single/s3",
            "after_long": "plain_long/park/pond/single/s3",
        }
        assert bases["after"] == bases["after_flat"]
        assert bases["after"].params == {"depth": 5, "iterations": 7}
        assert bases["after_long"].params == {"depth": 5, "iterations": 7, "width": 9}
        assert (plans["after"].fit, [rate.id for rate in plans["after"].rates]) == ("single", ["single"])
        assert plans["after_flat"].params == {"codes": 4, "iterations": 7}
        assert set(benchmark.bases) == {"plain", "plain_long"} - set(methods)


def test_a_method_trained_per_rate_has_a_fit_per_rate(folder: Folder) -> None:
    plans = fits(folder.load(run={"methods": "per_lmbda", "scenes": "pond"}))
    assert [(plan.fit, [rate.lmbda for rate in plan.rates]) for plan in plans] == [
        ("lmbda_0.0010", [0.001]),
        ("lmbda_0.0020", [0.002]),
        ("lmbda_0.0030", [0.003]),
    ]


def test_settings_are_merged_in_the_stated_order(folder: Folder) -> None:
    folder.dataset("park", {"pond": {}}, method_params={"all_methods": {"width": 2, "tint": 2}, "sweep": {"tint": 3}})
    params = {"all_methods": {"speed": 4}, "sweep": {"speed": 5, "depth": 5}}
    by_path = {plan.path: plan.params for plan in fits(folder.load(method_params=params))}
    assert by_path["sweep/park/pond/all/s0"] == {"depth": 5, "speed": 5, "tint": 3, "width": 2}
    assert by_path["sweep/house/attic/all/s0"] == {"depth": 5, "speed": 5, "width": 1}
    assert by_path["plain/park/pond/single/s0"] == {"speed": 4, "tint": 2, "width": 2}
    assert list(by_path["sweep/park/pond/all/s0"]) == ["depth", "speed", "tint", "width"]


def test_a_variant_starts_from_its_base_and_keeps_what_makes_it_one(folder: Folder) -> None:
    folder.dataset("park", {"pond": {}}, method_params={"sweep": {"depth": 7, "width": 7}, "sweep_flat": {"tint": 7}})
    benchmark = folder.load(
        run={"methods": ["sweep", "sweep_flat"], "scenes": ["pond"]}, method_params={"sweep": {"depth": 9}}
    )
    base, variant = fits(benchmark)
    assert base.params == {"depth": 9, "width": 7}
    assert variant.params == {"depth": 0, "tint": 7, "width": 7}
    assert variant.rates == base.rates
    method = benchmark.methods["sweep_flat"]
    assert (method.base, method.variant, method.entry) == ("sweep", "sweep_flat", "a.b:C")
    assert benchmark.methods["sweep"].variant == ""


def test_a_variant_of_a_variant_adds_to_it(folder: Folder) -> None:
    folder.method("sweep_thin", {"extends": "sweep_flat", "params": {"width": 0}})
    folder.dataset("park", {"pond": {}}, method_params={"sweep": {"tint": 1}, "sweep_flat": {"tint": 2}})
    (plan,) = fits(
        folder.load(run={"methods": ["sweep_thin"], "scenes": ["pond"]}, method_params={"sweep": {"depth": 9}})
    )
    assert plan.params == {"depth": 0, "tint": 2, "width": 0}


def test_a_variant_may_be_trained_in_another_way(folder: Folder) -> None:
    """The variant names its own class, and takes the settings that datasets and benchmarks give its base."""
    own = {"extends": "sweep", "entry": "a.b:Each", "kind": "per_rate", "rates": [0.003, 0.001]}
    folder.method("sweep_each", own)
    folder.method("sweep_once", {"extends": "sweep", "entry": "a.b:Once", "kind": "single"})
    benchmark = folder.load(
        run={"methods": ["sweep", "sweep_each", "sweep_once"], "scenes": ["pond"]},
        method_params={"sweep": {"tint": 3}},
        rates={"sweep": [0.004]},
    )
    plans = fits(benchmark)
    assert [plan.path for plan in plans] == [
        "sweep/park/pond/all/s0",
        "sweep_each/park/pond/lmbda_0.0010/s0",
        "sweep_each/park/pond/lmbda_0.0030/s0",
        "sweep_once/park/pond/single/s0",
    ]
    assert all(plan.params == {"depth": 1, "tint": 3, "width": 1} for plan in plans)
    assert [(m.base, m.entry) for m in benchmark.methods.values()] == [
        ("sweep", "a.b:C"),
        ("sweep", "a.b:Each"),
        ("sweep", "a.b:Once"),
    ]


def test_rates_of_a_benchmark_hold_for_variants_that_name_none(folder: Folder) -> None:
    folder.method("sweep_own", {"extends": "sweep", "rates": [0.5]})
    folder.method("sweep_heir", {"extends": "sweep_own"})
    methods = ["sweep", "sweep_flat", "sweep_own", "sweep_heir"]

    def rates(**given: list[float]) -> list[list[float | None]]:
        benchmark = folder.load(run={"methods": methods}, rates=given)
        return [[rate.lmbda for rate in method.rates] for method in benchmark.methods.values()]

    assert rates(sweep=[0.003]) == [[0.003], [0.003], [0.5], [0.5]]
    assert rates(sweep=[0.003], sweep_flat=[0.004], sweep_own=[0.6]) == [[0.003], [0.004], [0.6], [0.6]]


def test_a_benchmark_may_set_rates(folder: Folder) -> None:
    benchmark = folder.load(rates={"sweep": {"start": 0.001, "stop": 0.004, "step": 0.0002}})
    ids = [rate.id for rate in benchmark.methods["sweep"].rates]
    assert len(ids) == 16
    assert ids[1] == "lmbda_0.0012"


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        (None, {"house": ["kitchen", "attic"], "park": ["pond"]}),
        (["attic", "pond"], {"house": ["attic"], "park": ["pond"]}),
        ("house/kitchen", {"house": ["kitchen"]}),
    ],
)
def test_selection_of_scenes(folder: Folder, wanted: Any, selected: dict[str, list[str]]) -> None:
    benchmark = folder.load(run={"scenes": wanted})
    assert {dataset: [scene.id for scene in scenes] for dataset, scenes in benchmark.scenes.items()} == selected
    assert list(benchmark.datasets) == list(selected)


def test_a_scene_of_the_same_name_elsewhere_is_another_one(folder: Folder) -> None:
    folder.dataset("park", {"kitchen": {}})
    benchmark = folder.load(run={"scenes": ["park/kitchen"]})
    assert list(benchmark.scenes) == ["park"]


def test_data_sets_that_share_an_archive_must_agree_on_it(folder: Folder) -> None:
    """One dataset's value also holds for another that leaves it open; a contradiction is an error."""

    def write(name: str, **entry: Any) -> None:
        archive = {"url": "https://a.org/both.zip", "size_bytes": None, **entry}
        folder.dataset(name, {"one": {}}, source={"kind": "colmap", "archives": [archive]})

    write("house")
    write("park", size_bytes=7, sha256="a" * 64, scenes=["one"])
    for dataset in folder.load().datasets.values():
        (entry,) = dataset.archives
        assert (entry.size_bytes, entry.sha256) == (7, "a" * 64)
    for values, said in ({"size_bytes": 8}, "size_bytes is 8 and 7"), ({"sha256": "b" * 64}, "sha256 is b+ and a+"):
        write("house", **values)
        with pytest.raises(ConfigError, match=rf"house\.yaml and .*park\.yaml declare both\.zip differently: {said}"):
            folder.load()
    folder.load(run={"datasets": ["house"]})


def test_tables_that_need_jobs_of_their_own_are_made_on_request_only(folder: Folder) -> None:
    assert folder.load().tables == TABLES
    assert "refit" not in TABLES
    folder.method("hemgs", {"entry": "a.b:H", "kind": "all_rates", "rates": [0.002]})
    asked = folder.load(run={"methods": ["hemgs"]}, publish={"tables": ["refit"]})
    assert asked.tables == ("refit",)


def test_visual_scenes_follow_the_selection(folder: Folder) -> None:
    publish = {"visual": ["house/attic", "park/pond"], "variable_rate": ["sweep", "sweep_flat"]}
    benchmark = folder.load(run={"scenes": ["attic"]}, publish=publish)
    assert benchmark.visual == (("house", "attic"),)
    assert benchmark.variable_rate == ("sweep",)
    assert folder.load().variable_rate == ("sweep",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"run": {"methods": ["swep"]}},
            "config.yaml: run.methods: 'swep' is not a known method — did you mean 'sweep'?",
        ),
        ({"run": {"datasets": ["hous"]}}, "run.datasets: 'hous' is not a known dataset — did you mean 'house'?"),
        ({"run": {"scenes": ["atic"]}}, "run.scenes: 'atic' is not a known scene of the selected datasets"),
        ({"run": {"scene": ["attic"]}}, "config.yaml: unknown key 'scene' in 'run' — did you mean 'scenes'?"),
        ({"run": {"seeds": [-1]}}, "'run.seeds[0]' cannot be -1 — it must be at least 0"),
        ({"run": {"seeds": [1, 1]}}, "'run.seeds' cannot be [1, 1] — give each entry once"),
        ({"rates": {"sweep": [0.001, -0.002]}}, "config.yaml: 'rates.sweep[1]' cannot be -0.002 — it must be above 0"),
        (
            {"rates": {"sweep": ["1e-3"]}},
            "this is text; write a number without quotes and, in YAML, with a decimal point, such as 1.0e-3",
        ),
        (
            {"rates": {"sweep": [0.001, 0.001]}},
            "config.yaml: 'rates.sweep' cannot be [0.001, 0.001] — give each entry once",
        ),
        ({"rates": {"plain": [0.001]}}, "'plain' is of kind single and has no rates"),
        ({"rates": {"swep": [0.001]}}, "rates: 'swep' is not a known method"),
        ({"method_params": {"all_method": {}}}, "'all_method' is not a known method — did you mean 'all_methods'?"),
        ({"publish": {"visual": ["house/atic"]}}, "publish.visual: 'house/atic' is not a known scene"),
        ({"publish": {"tables": ["refit"]}}, "publish.tables names refit, and run.methods has no hemgs"),
        ({"publish": {"tables": ["qualty"]}}, "'publish.tables[0]' cannot be \"qualty\" — allowed: quality"),
        ({"extra_config": ["/no/such/folder"]}, "/no/such/folder: no such folder"),
    ],
)
def test_what_a_benchmark_refuses(folder: Folder, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as fault:
        folder.load(**changes)
    assert message in str(fault.value)


def test_a_data_set_may_not_speak_of_unknown_methods(folder: Folder) -> None:
    path = folder.dataset("park", {"pond": {}}, method_params={"swep": {"depth": 1}})
    with pytest.raises(ConfigError) as fault:
        folder.load()
    assert f"{path}: method_params: 'swep' is not a known method" in str(fault.value)


def test_a_key_given_twice_in_the_file_is_refused_though_the_merged_settings_hide_it(folder: Folder) -> None:
    path = folder.root / "config.yaml"
    path.write_text("title: a\ntitle: b\n")
    with pytest.raises(ConfigError, match="'title' is given twice"):
        load_benchmark(SETTINGS, [path], folder.root)
