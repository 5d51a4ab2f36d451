"""Files that are made again after a change: jobs counted by rule."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.workflow.workflow_project import Project

#: Points were measured again: all files that depend on them are made again.
SUMMARY = {"summarise_points": 1, "make_tables": 1, "make_figures": 1, "make_page": 1}
#: There are other points than before.
PLAN = {"write_plan": 1, **SUMMARY}
#: Names, colours, order, or the folders of pictures to show have changed.
STYLE = {"write_style": 1, "make_tables": 1, "make_figures": 1, "make_page": 1}


def test_first_run_makes_everything(project: Project) -> None:
    assert project.planned() == {
        "prepare_scene": 2,
        "train_model": 8,  # two scenes x (one for all rates + two rates + one without rates)
        "encode_points": 8,
        "evaluate_points": 8,
        **PLAN,
        **STYLE,
    }


def test_second_run_does_nothing(finished: Project) -> None:
    assert finished.planned() == {}


def test_new_scene_runs_that_scene_only(finished: Project) -> None:
    finished.edit("datasets/toy.yaml", lambda data: data["scenes"].update(three={}))
    expected = {"prepare_scene": 1, "train_model": 4, "encode_points": 4, "evaluate_points": 4}
    assert finished.planned() == expected | PLAN | STYLE


@pytest.mark.slow
def test_new_rate_of_all_rates_method_trains_nothing(finished: Project) -> None:
    # Between the old ones: ids of rates contain the value, so the others keep theirs.
    finished.edit("methods/all_rates_stub.yaml", lambda data: data.update(rates=[0.001, 0.0015, 0.002]))
    assert finished.planned() == {"encode_points": 2, "evaluate_points": 2, **PLAN}
    finished.snakemake()
    encodes = [call for call in finished.calls() if call[0] == "encode"]
    assert {call[call.index("--rates") + 1] for call in encodes} == {"lmbda_0.0010,lmbda_0.0015,lmbda_0.0020"}


def test_reordered_rates_change_nothing(finished: Project) -> None:
    rates = {"start": 0.001, "stop": 0.002, "step": 0.001}
    finished.edit("methods/all_rates_stub.yaml", lambda data: data.update(rates=rates))
    finished.edit("methods/per_rate_stub.yaml", lambda data: data.update(rates=[0.003, 0.004]))
    assert finished.planned() == {}


def test_new_rate_of_per_rate_method_trains_that_rate_only(finished: Project) -> None:
    finished.edit("methods/per_rate_stub.yaml", lambda data: data.update(rates=[0.0035, 0.003, 0.004]))
    expected = {"train_model": 2, "encode_points": 2, "evaluate_points": 2}
    assert finished.planned() == expected | PLAN | STYLE


def test_new_seed_keeps_the_old_one(finished: Project) -> None:
    finished.edit("config.yaml", lambda data: data["run"].update(seeds=[0, 1]))
    expected = {"train_model": 8, "encode_points": 8, "evaluate_points": 8}
    assert finished.planned() == expected | PLAN | STYLE


def test_changed_setting_trains_that_method_again(finished: Project) -> None:
    finished.edit("methods/all_rates_stub.yaml", lambda data: data.update(params={"iterations": 20}))
    assert finished.planned() == {"train_model": 2, "encode_points": 2, "evaluate_points": 2, **SUMMARY}


def test_changed_setting_of_a_data_set_does_not_prepare_scenes(finished: Project) -> None:
    finished.edit("datasets/toy.yaml", lambda data: data.update(method_params={"single_stub": {"iterations": 5}}))
    assert finished.planned() == {"train_model": 2, "encode_points": 2, "evaluate_points": 2, **SUMMARY}


def test_changed_protocol_of_one_scene_starts_there(finished: Project) -> None:
    finished.edit("datasets/toy.yaml", lambda data: data["scenes"].update(two={"protocol": {"scale": 0.5}}))
    expected = {"prepare_scene": 1, "train_model": 4, "encode_points": 4, "evaluate_points": 4}
    assert finished.planned() == expected | SUMMARY


def test_changed_colour_publishes_only(finished: Project) -> None:
    finished.edit("methods/all_rates_stub.yaml", lambda data: data.update(color="#445566"))
    assert finished.planned() == STYLE


def test_changed_citation_of_data_does_nothing(finished: Project) -> None:
    finished.edit("datasets/toy.yaml", lambda data: data.update(citation="someone, 2026", licence="none"))
    assert finished.planned() == {}


def test_changed_caption_makes_nothing_again(finished: Project) -> None:
    # Captions are read when the report is made.
    caption = finished.root / "workflow/report/table_quality.rst"
    caption.write_text("Another caption.\n")
    assert finished.planned() == {}


def test_changed_published_values_summarise_only(finished: Project) -> None:
    values = finished.root / "workflow/published/values.csv"
    values.write_text(values.read_text().replace("HEMGS", "HEMGS "))
    assert finished.planned() == SUMMARY


def test_touched_module_and_rule_file_make_nothing_again(finished: Project) -> None:
    later = time.time() + 10
    os.utime(finished.root / "stub_methods/method.py", (later, later))
    rules = finished.root / "workflow/rules/fit.smk"
    rules.write_text(rules.read_text().replace("HEMGS} train", "HEMGS}  train"))
    assert finished.planned() == {}


def test_deleted_models_are_not_missed(finished: Project) -> None:
    for model in finished.root.glob("results/models/**/model.safetensors"):
        model.unlink()
    assert finished.planned() == {}


def test_points_are_measured_again_from_bitstreams_alone(finished: Project) -> None:
    for model in finished.root.glob("results/models/**/model.safetensors"):
        model.unlink()
    points = "results/points/single_stub/toy/one/single/s0/points.csv"
    (finished.root / points).unlink()
    assert finished.planned() == {}  # its results still exist
    finished.snakemake(points)
    assert [call[0] for call in finished.calls()] == ["evaluate"]


def test_another_list_of_columns_measures_again_and_trains_nothing(finished: Project) -> None:
    """Points of an older version cannot be read. They are made again without a forced rule."""
    path = finished.root / "workflow/rules/points.smk"
    path.write_text(path.read_text().replace("columns=POINTS_FORMAT", "columns=[*POINTS_FORMAT, 'one_more']"))
    assert finished.planned() == {"evaluate_points": 8, **SUMMARY}


def test_evaluation_is_not_given_the_model(finished_template: Path) -> None:
    calls = Project(finished_template, {"STUB_CALLS": str(finished_template / "calls.jsonl")})
    lines = Path(calls.environment["STUB_CALLS"]).read_text().splitlines()
    evaluations = [line for line in lines if line.startswith('["evaluate"')]
    assert len(evaluations) == 8
    assert not [line for line in evaluations if "results/models" in line]


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        ("run={methods: [single_stub]}", 2),
        ("run={methods: per_rate_stub, scenes: [two]}", 2),
        ("run={scenes: toy/one}", 4),
    ],
)
def test_selection_on_the_command_line(project: Project, selection: str, fits: int) -> None:
    assert project.planned("--config", selection)["train_model"] == fits


def test_numbers_on_the_command_line_are_numbers(project: Project) -> None:
    run, params = "run={methods: single_stub, scenes: one, seeds: [3]}", "method_params={single_stub: {iterations: 7}}"
    output = project.snakemake("-n", "--printshellcmds", "--config", run, params).stdout
    assert """--rate single --seed 3 --overwrite --params-json '{"iterations": 7}'""" in output
