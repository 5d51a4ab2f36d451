"""Measuring bitstreams, with a toy whose pictures are known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from hemgs.bench import evaluation
from hemgs.bench.encoding import run_encode
from hemgs.bench.evaluation import (
    EvaluateRequest,
    check_bitstream,
    context_figures,
    estimated_columns,
    median_seconds,
    run_evaluate,
    section_bytes,
    showcase_rates,
    showcase_views,
)
from hemgs.bench.rates import rate_of
from hemgs.bench.runs import EncodedRate, bitstream_path, read_encode_record
from hemgs.bench.training import TrainRequest, run_train
from hemgs.core.errors import BitstreamError, DeviceError, SceneError
from hemgs.core.records import read_points, read_views
from hemgs.data.loader import load_scene
from tests.unit.bench.conftest import CPU, TOY


@pytest.mark.usefixtures("in_process")
def test_each_rate_has_a_row_of_its_own_file(toy_points: Path, scene_dir: Path, tmp_path: Path) -> None:
    """``test_point_row`` checks the columns of a row."""
    out = tmp_path / "out"
    result = run_evaluate(EvaluateRequest(toy_points, scene_dir, out, num_showcase=1), CPU)
    rows = read_points(out / "points.csv")
    assert rows == result.points
    assert [row["rate"] for row in rows] == ["lmbda_0.0010", "lmbda_0.0020", "lmbda_0.0040"]
    record = read_encode_record(toy_points)
    for row in rows:
        path = bitstream_path(toy_points, str(row["rate"]))
        assert (
            row["bytes_total"]
            == path.stat().st_size
            == sum(int(size or 0) for name, size in row.items() if name.startswith("bytes_") and name != "bytes_total")
        )
        assert row["bytes_extra_part"] == record.rates[str(row["rate"])].sections["extra_part"] > 0
        assert row["bitstream_sha256"] == record.rates[str(row["rate"])].sha256
        assert " — " not in str(row["reason"])
    assert len(read_views(out / "views.csv")) == 6


@pytest.mark.usefixtures("in_process")
def test_quality_is_measured_on_eight_bit_views_of_the_decoded_scene(
    toy_points: Path, scene_dir: Path, tmp_path: Path
) -> None:
    run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path, num_showcase=2), CPU)
    scene = load_scene(scene_dir)
    row = read_views(tmp_path / "views.csv")[0]
    view = next(view for view in scene.views if view.name == row["view"])
    shown = np.asarray(Image.open(tmp_path / "showcase" / "lmbda_0.0010" / f"{view.name}.png"))
    target = np.asarray(Image.open(tmp_path / "showcase" / "target" / f"{view.name}.png"))
    assert np.array_equal(target, np.rint(scene.read_image(view) * 255).astype(np.uint8))
    error = np.mean((shown / 255.0 - target / 255.0) ** 2)
    assert row["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-4)
    points = read_points(tmp_path / "points.csv")
    views = [float(v["psnr"] or 0) for v in read_views(tmp_path / "views.csv") if v["rate"] == "lmbda_0.0010"]
    assert points[0]["psnr"] == pytest.approx(np.mean(views))


@pytest.mark.usefixtures("in_process")
def test_showcase_has_the_views_and_rates_asked_for(toy_points: Path, scene_dir: Path, tmp_path: Path) -> None:
    run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path / "one", num_showcase=1), CPU)
    folders = {path.name: len(list(path.iterdir())) for path in (tmp_path / "one" / "showcase").iterdir()}
    assert folders == {"target": 1, "lmbda_0.0010": 1, "lmbda_0.0020": 1, "lmbda_0.0040": 1}
    run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path / "one", num_showcase=0), CPU)
    assert not list((tmp_path / "one" / "showcase").rglob("*.png"))


def test_choice_of_rates_and_views() -> None:
    assert showcase_rates(["a"]) == {"a"}
    assert showcase_rates(["a", "b"]) == {"a", "b"}
    assert showcase_rates(list("abcdefg")) == {"a", "d", "g"}
    assert showcase_views(list(range(10)), 1) == (5,)  # type: ignore[arg-type]
    assert showcase_views(list(range(10)), 2) == (2, 7)  # type: ignore[arg-type]
    assert showcase_views(list(range(3)), 9) == (0, 1, 2)  # type: ignore[arg-type]


def test_other_scene_than_the_trained_one(toy_points: Path, scene_dir: Path, tmp_path: Path) -> None:
    data = json.loads((toy_points / "encode.json").read_text())
    data["train"]["scene_hash"] = "0" * 64
    (toy_points / "encode.json").write_text(json.dumps(data))
    with pytest.raises(SceneError, match="is not the scene"):
        run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path / "out"), CPU)
    assert not (tmp_path / "out").exists()


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(("how", "message"), [("missing", "missing"), ("cut", "damaged"), ("flipped", "damaged")])
@pytest.mark.usefixtures("in_process")
def test_damaged_bitstream_is_an_error_or_a_row(
    toy_points: Path, scene_dir: Path, tmp_path: Path, how: str, message: str
) -> None:
    spoil(bitstream_path(toy_points, "lmbda_0.0020"), how)
    with pytest.raises(BitstreamError, match=message):
        run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path), CPU)
    assert not (tmp_path / "points.csv").exists()
    run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path, keep_going=True), CPU)
    rows = {row["rate"]: row for row in read_points(tmp_path / "points.csv")}
    assert rows["lmbda_0.0020"]["status"] == "failed"
    assert message in str(rows["lmbda_0.0020"]["reason"])
    assert rows["lmbda_0.0020"]["psnr"] is None
    assert rows["lmbda_0.0010"]["status"] == rows["lmbda_0.0040"]["status"] == "ok"


@pytest.mark.slow
def test_decoder_that_fails_in_its_process_fails_its_row_only(scene_dir: Path, tmp_path: Path) -> None:
    run_train(TrainRequest(scene_dir, f"{TOY}Crashing", tmp_path / "model"), CPU)
    run_encode(tmp_path / "model", tmp_path / "points", [rate_of(0.001), rate_of(0.002)], CPU)
    request = EvaluateRequest(tmp_path / "points", scene_dir, tmp_path / "points", keep_going=True)
    rows = run_evaluate(request, CPU).points
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert "not today" in str(rows[1]["reason"])


@pytest.mark.usefixtures("in_process")
def test_nothing_measured_is_an_error_even_when_going_on(toy_points: Path, scene_dir: Path, tmp_path: Path) -> None:
    for path in (toy_points / "bitstreams").iterdir():
        spoil(path, "missing")
    with pytest.raises(BitstreamError, match="none of 3 bitstreams can be measured: .*missing"):
        run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path, keep_going=True), CPU)
    assert not (tmp_path / "points.csv").exists()


def test_what_the_machine_lacks_is_no_row(
    toy_points: Path, scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, *_: object) -> NoReturn:
        raise DeviceError(f"{path}: the decoder was killed by signal 9", "check the memory that is free")

    monkeypatch.setattr(evaluation, "decode_alone", killed)
    with pytest.raises(DeviceError, match="signal 9"):
        run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path, keep_going=True), CPU)
    assert not (tmp_path / "points.csv").exists()


@pytest.mark.usefixtures("in_process")
def test_recorded_reasons_name_no_folder_of_this_machine(
    toy_points: Path, scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy_points)
    monkeypatch.setenv("HEMGS_ASSETS", str(tmp_path / "nowhere"))
    spoil(bitstream_path(toy_points, "lmbda_0.0020"), "cut")
    run_evaluate(EvaluateRequest(toy_points, scene_dir, tmp_path, keep_going=True), CPU)
    text = (tmp_path / "points.csv").read_text()
    assert "bitstreams/lmbda_0.0020.gsc: " in text
    assert "'lpips_squeeze_backbone'" in text
    assert "…/nowhere, results/data/assets" in text
    assert not re.search(r"""[\s,:'"=(]/\w""", text), text


def test_file_swapped_for_another_intact_one(toy_points: Path) -> None:
    record = read_encode_record(toy_points)
    path, other = (bitstream_path(toy_points, rate_id) for rate_id in ("lmbda_0.0010", "lmbda_0.0020"))
    check_bitstream(path, record.rates["lmbda_0.0010"])
    path.write_bytes(other.read_bytes())
    with pytest.raises(BitstreamError, match=r"not the file that encode\.json describes"):
        check_bitstream(path, record.rates["lmbda_0.0010"])


def test_every_section_has_a_column_whoever_knows_it() -> None:
    columns = section_bytes({"container": 7, "features": 5, "one": 2})
    assert columns == {"bytes_container": 7, "bytes_features": 5, "bytes_one": 2, "bytes_total": 14}


def _encoded(sections: dict[str, int], estimated: dict[str, float]) -> EncodedRate:
    return EncodedRate(
        lmbda=0.001, sections=sections, estimated_bits=estimated, encode_s=1.0, encode_peak_mib=1.0, sha256="0" * 64
    )


def test_ideal_bits_accompany_each_coded_section_and_nothing_else() -> None:
    columns = estimated_columns(
        _encoded({"container": 7, "features": 5, "masks": 2}, {"features": 39.5, "masks": 15.0})
    )
    given = {name: value for name, value in columns.items() if value is not None}
    expected = {"estimated_bits_features": 39.5, "estimated_bits_masks": 15.0}
    assert given == expected | {"estimated_bits": 54.5, "coded_bits": 56}
    assert set(estimated_columns(_encoded({"container": 7}, {})).values()) == {None}


def test_figures_of_the_context_have_columns_and_others_do_not() -> None:
    counted = {"context_mean": 5.76, "context_max": 20.0, "num_wavefronts": 431.0, "num_anchors": 9.0}
    columns = context_figures(counted)
    assert columns == {
        "context_mean": 5.76,
        "context_max": 20,
        "context_mean_in_window": None,
        "context_max_in_window": None,
        "num_wavefronts": 431,
    }
    assert isinstance(columns["context_max"], int)
    assert set(context_figures({}).values()) == {None}


def test_clock_warms_up_and_takes_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    ticks = iter(float(second) for second in (0, 9, 10, 11, 20, 22))

    class Clock:
        seconds = 0.0

        def __init__(self, synchronize: object) -> None:
            self.seconds = 0.0

        def __enter__(self) -> Clock:
            self.seconds = -next(ticks)
            return self

        def __exit__(self, *_: object) -> None:
            self.seconds += next(ticks)

    monkeypatch.setattr(evaluation, "Stopwatch", Clock)
    monkeypatch.setattr(evaluation, "MIN_TIMED_RENDERS", 3)
    monkeypatch.setattr(evaluation, "MAX_TIMING_S", 100.0)
    assert median_seconds(calls.append, lambda: None) == 2.0
    assert calls == [0, 0, 1, 2], "one call before the clock starts"
