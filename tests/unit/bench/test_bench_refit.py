"""The verb ``refit``: the same symbols for every variant, and a table that adds up."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.bench.refit import run_refit
from hemgs.bench.runs import MODEL_FILE, TRAIN_FILE, TrainRecord, write_record
from hemgs.cli import main
from hemgs.codec.params import HemgsParams
from hemgs.codec.refit import SECTIONS
from hemgs.codec.refit_training import TRAINED
from hemgs.core.bundle import save_bundle
from hemgs.core.errors import ConfigError
from hemgs.core.files import sha256_of
from hemgs.core.records import Value
from hemgs.protocol import RefitTask
from tests.unit.codec.toy_anchors import FEATURES, OFFSETS, SETTINGS, toy_anchors, toy_entropy

CPU = torch.device("cpu")
#: The settings of the toy model, and the additional ones of its variants.
PARAMS: dict[str, Any] = {
    "feature_dim": FEATURES,
    "num_offsets": OFFSETS,
    "grid_resolutions_3d": "6 12 25",
    "grid_resolutions_2d": "20 40",
    "grid_log2_entries_3d": 8,
    "grid_log2_entries_2d": 8,
    "grid_features": 2,
    "feature_prior": 16,
    "geometry_prior": 12,
    "feature_hidden": 16,
    "geometry_hidden": 12,
    "feature_step_hidden": 8,
    "geometry_step_hidden": 8,
    "feature_context": 12,
    "geometry_context": 10,
    "context_neighbours": 6,
    "context_multiplier": 4,
}


@pytest.fixture(scope="module")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of an earlier version, without both networks and without their settings."""
    folder = tmp_path_factory.mktemp("model")
    anchors = toy_anchors()
    bundle = anchors.to_bundle()
    bundle.tensors |= {
        f"entropy.{name}": value for name, value in toy_entropy(anchors, settings=SETTINGS).state_dict().items()
    }
    params = {name: value for name, value in PARAMS.items() if "context" not in name}
    assert HemgsParams(**PARAMS, scene_agnostic="").entropy.grid == SETTINGS.grid
    bundle.meta["params"] = params
    save_bundle(folder / MODEL_FILE, bundle)
    record = TrainRecord(
        method="hemgs",
        entry="hemgs.codec.method:Hemgs",
        variant="",
        label="HEMGS",
        dataset="toy",
        scene="toy",
        scene_hash="",
        fit="all",
        rate="single",
        seed=0,
        params=params,
        iterations=10,
        train_s=1.5,
        train_peak_mib=100.0,
        counts={},
        model_sha256=sha256_of(folder / MODEL_FILE),
        device="cpu",
        config_hash="",
        origin={},
    )
    write_record(folder / TRAIN_FILE, record)
    return folder


def refit(
    model: Path, out: Path, texts: Mapping[str, str] | None = None, iterations: int = 40, **changes: Any
) -> list[dict[str, Value]]:
    texts = texts or {name: str(value) for name, value in PARAMS.items() if "context" in name}
    asked = {"variants": (), "lmbda": 0.002, "iterations": iterations, "seed": 0, **changes}
    return run_refit(model, out, RefitTask(**asked), texts, CPU)


def size(row: Mapping[str, Value], column: str) -> int:
    value = row[column]
    assert isinstance(value, int)
    return value


def test_each_variant_is_a_row_that_adds_up(toy_model: Path, tmp_path: Path) -> None:
    rows = refit(toy_model, tmp_path / "t" / "table.csv")
    assert [row["variant"] for row in rows] == [TRAINED, "base", "sa", "ar", "both"]
    for row in rows:
        assert row["bytes_total"] == sum(size(row, f"bytes_{name}") for name in SECTIONS)
        assert row["bits_per_anchor"] == pytest.approx(
            8 * size(row, "bytes_total") / size(row, "num_anchors"), abs=1e-3
        )
        coded = sum(size(row, f"bytes_{name}") for name in ("features", "scalings", "offsets"))
        assert coded == pytest.approx(size(row, "bytes_float"), rel=0.02)
    assert len({row["num_anchors"] for row in rows}) == 1
    networks = [size(row, "bytes_networks") for row in rows[1:]]
    assert networks[0] < networks[1] < networks[3] and networks[0] < networks[2] < networks[3]
    with (tmp_path / "t" / "table.csv").open(encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [{name: str(value) for name, value in row.items()} for row in rows]


@pytest.mark.slow
def test_fitting_saves_bytes_and_is_deterministic(toy_model: Path, tmp_path: Path) -> None:
    def sizes(iterations: int) -> list[int]:
        rows = refit(toy_model, tmp_path / "table.csv", variants=("base", "ar"), iterations=iterations)[1:]
        return [size(row, f"bytes_{name}") for row in rows for name in SECTIONS]

    short, long = sizes(2), sizes(80)
    assert long == sizes(80)
    coded = slice(2, 5)
    assert sum(long[coded]) < sum(short[coded])


def test_mistakes_are_named_before_any_work(toy_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"variants": ("base", "best")}, "'best' is not known"),
        ({"variants": ("base", "base")}, "named twice"),
        ({"iterations": 0}, "nothing would be fitted"),
        ({"lmbda": 0.5}, "interval"),
        ({"texts": {"no_such": "1"}}, "no_such"),
        ({"texts": {"scene_agnostic": ""}}, "frozen network"),
        ({"out": tmp_path}, "is a folder"),
        ({"model": tmp_path}, "no finished training"),
    ]
    for changes, message in cases:
        with pytest.raises(ConfigError, match=message):
            refit(**{"model": toy_model, "out": out, **changes})
        assert not out.exists()


def test_methods_without_an_entropy_model_are_refused(toy_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    for name in (MODEL_FILE, TRAIN_FILE):
        (folder / name).write_bytes((toy_model / name).read_bytes())
    text = (
        (folder / TRAIN_FILE).read_text().replace("hemgs.codec.method:Hemgs", "baselines.scaffold_gs.method:ScaffoldGs")
    )
    (folder / TRAIN_FILE).write_text(text)
    with pytest.raises(ConfigError, match="no entropy model that can be fitted again"):
        refit(folder, tmp_path / "table.csv")


def test_the_verb_prints_the_table(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.csv"
    options = ["--variants", "base", "--iterations", "2", "--out", str(out), "--device", "cpu"]
    assert main(["refit", str(toy_model), *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["variant", *SECTIONS, "total", "bits/anchor"]
    assert [line.split()[0] for line in printed[2:]] == [TRAINED, "base"]
    assert out.is_file()
    assert main(["refit", str(toy_model), *options[:-2], "--lmbda", "9", "--device", "cpu"]) == 2
    assert "interval" in capsys.readouterr().err
