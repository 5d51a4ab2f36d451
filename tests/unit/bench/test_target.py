"""The search for a file of a requested size or quality."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.bench import target
from hemgs.bench.encoding import encode_one, run_encode, run_encode_file
from hemgs.bench.evaluation import EvaluateRequest, run_evaluate
from hemgs.bench.isolation import Decoded
from hemgs.bench.registry import get_method
from hemgs.bench.runs import read_train_record
from hemgs.bench.target import run_encode_to_psnr, run_encode_to_size
from hemgs.bench.training import TrainRequest, run_train
from hemgs.cli.models import psnr_lines, size_lines
from hemgs.codec.method import Hemgs
from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError, SceneError
from hemgs.core.files import sha256_of
from hemgs.core.types import Rate, SectionTable
from hemgs.data.loader import load_scene
from tests.unit.bench.conftest import CPU, TOY
from tests.unit.bench.toy_methods import INTERVAL
from tests.unit.codec.toy_anchors import encode_toy


def trained(folder: Path, scene_dir: Path, kind: str, **named: Any) -> Path:
    run_train(TrainRequest(scene_dir, f"{TOY}{kind}", folder / "model", **named), CPU)
    return folder / "model"


@pytest.fixture(scope="module")
def fading(tmp_path_factory: pytest.TempPathFactory, scene_dir: Path) -> Path:
    return trained(tmp_path_factory.mktemp("fading"), scene_dir, "Fading")


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process, to save the seconds of another one."""

    @contextlib.contextmanager
    def decode_here(path: Path, device: torch.device, entry: str) -> Iterator[Decoded]:
        yield Decoded(get_method(entry).decode(path, device=device), None)  # type: ignore[arg-type]

    monkeypatch.setattr(target, "decode_alone", decode_here)


def size_at(model: Path, lmbda: float, folder: Path) -> int:
    return run_encode_file(model, folder / "other.gsc", Rate.of(lmbda), CPU).total_bytes


def measured(model: Path, folder: Path, scene_dir: Path, *lmbdas: float) -> list[float]:
    """The quality at some λ, as `hemgs evaluate` measures it."""
    run_encode(model, folder / "points", [Rate.of(lmbda) for lmbda in lmbdas], CPU)
    return [
        float(str(row["psnr"]))
        for row in run_evaluate(EvaluateRequest(folder / "points", scene_dir, folder), CPU).points
    ]


def test_a_size_gets_the_smallest_lambda_that_fits(toy_model: Path, tmp_path: Path) -> None:
    wanted = (size_at(toy_model, 0.001, tmp_path) + size_at(toy_model, 0.004, tmp_path)) // 2
    out = tmp_path / "fit.gsc"
    found = run_encode_to_size(toy_model, out, wanted, CPU)
    assert 0.99 * wanted < found.chosen.total_bytes == out.stat().st_size <= wanted
    assert sha256_of(out) == found.chosen.encoded.sha256
    assert size_at(toy_model, found.chosen.lmbda * 0.99, tmp_path) > found.chosen.total_bytes
    # The number that is printed is the λ of the file.
    run_encode_file(toy_model, tmp_path / "other.gsc", Rate.of(float(str(found.chosen.lmbda))), CPU)
    assert (tmp_path / "other.gsc").read_bytes() == out.read_bytes()
    (line,) = size_lines(found, wanted)
    assert f"% below the {wanted} bytes" in line


def test_a_size_above_the_largest_gets_the_largest_and_a_word(toy_model: Path, tmp_path: Path) -> None:
    largest = size_at(toy_model, 0.001, tmp_path)
    exact = run_encode_to_size(toy_model, tmp_path / "fit.gsc", largest, CPU)
    assert exact.chosen.total_bytes == largest
    assert len(size_lines(exact, largest)) == 1
    found = run_encode_to_size(toy_model, tmp_path / "fit.gsc", 2 * largest, CPU)
    assert (found.chosen.total_bytes, found.chosen.lmbda) == (largest, 0.001)
    assert len(found.trials) == 2
    assert "50.00 % below" in size_lines(found, 2 * largest)[0]
    assert "cannot be reached: this is the largest file" in size_lines(found, 2 * largest)[1]


def test_a_size_below_the_smallest_is_refused(toy_model: Path, tmp_path: Path) -> None:
    smallest = size_at(toy_model, 0.004, tmp_path)
    with pytest.raises(ConfigError, match=f"smallest file of this model has {smallest} bytes"):
        run_encode_to_size(toy_model, tmp_path / "none.gsc", smallest - 1, CPU)
    assert not (tmp_path / "none.gsc").exists()


def test_sizes_that_jump_are_explained(toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stepped(method, model, rate, path, device):  # type: ignore[no-untyped-def]
        return encode_one(method, model, Rate.of(0.001 if (rate.lmbda or 0) < 0.002 else 0.004), path, device)

    monkeypatch.setattr(target, "encode_one", stepped)
    large, small = (size_at(toy_model, lmbda, tmp_path) for lmbda in (0.001, 0.004))
    found = run_encode_to_size(toy_model, tmp_path / "fit.gsc", large - 1, CPU)
    assert found.chosen.total_bytes == small
    assert f"has {large} bytes" in size_lines(found, large - 1)[1]


@pytest.mark.slow
def test_a_size_of_the_codec_itself(toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEMGS's sizes change smoothly, so the search finds any size between its ends within one per cent."""

    class Untrained(Hemgs):
        def encode(self, model: Bundle, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
            assert rate.lmbda is not None
            return encode_toy(path, rate.lmbda)

    monkeypatch.setattr(target, "load_model", lambda *_: (read_train_record(toy_model), Untrained(), Bundle()))
    large, small = (encode_toy(tmp_path / "x.gsc", lmbda).total_bytes for lmbda in (0.001, 0.004))
    assert large > 1.03 * small
    for part in (0.1, 0.7):
        wanted = round(small + part * (large - small))
        found = run_encode_to_size(tmp_path, tmp_path / "fit.gsc", wanted, CPU)
        assert 0.99 * wanted <= found.chosen.total_bytes <= wanted
        assert len(size_lines(found, wanted)) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("_in_this_process")
def test_a_quality_gets_the_smallest_file_that_reaches_it(fading: Path, scene_dir: Path, tmp_path: Path) -> None:
    low, high = measured(fading, tmp_path, scene_dir, 0.004, 0.001)
    wanted, out = low + 0.4 * (high - low), tmp_path / "fit.gsc"
    found = run_encode_to_psnr(fading, out, wanted, scene_dir, CPU)
    assert found.chosen.psnr is not None
    assert sha256_of(out) == found.chosen.encoded.sha256
    above = found.chosen.psnr - wanted
    assert above >= 0
    # The search is as precise as documented: 0.01 dB, or half a per cent of λ, where quality is too low.
    (beyond,) = measured(fading, tmp_path, scene_dir, found.chosen.lmbda * (1 + target.LMBDA_TOLERANCE_OF_PSNR))
    assert above <= target.PSNR_TOLERANCE_DB or beyond < wanted
    # The figure is that of `hemgs evaluate` for the same λ.
    (again,) = measured(fading, tmp_path, scene_dir, found.chosen.lmbda)
    assert found.chosen.psnr == pytest.approx(again, abs=1e-9)
    assert found.num_views == found.num_test_views == len(load_scene(scene_dir).split("test"))
    assert found.falls_with_lmbda
    line = psnr_lines(found, wanted)[0]
    assert f"PSNR {found.chosen.psnr:.3f} dB" in line and "2 of 2 test views" in line


@pytest.mark.slow
def test_a_quality_is_measured_in_a_process_of_its_own(fading: Path, scene_dir: Path, tmp_path: Path) -> None:
    (psnr,) = measured(fading, tmp_path, scene_dir, 0.004)
    found = run_encode_to_psnr(fading, tmp_path / "fit.gsc", psnr - 1, scene_dir, CPU)
    assert (found.chosen.psnr, found.chosen.lmbda, len(found.trials)) == (pytest.approx(psnr, abs=1e-9), 0.004, 1)
    assert "smallest file of the model" in psnr_lines(found, psnr - 1)[1]


@pytest.mark.usefixtures("_in_this_process")
def test_some_views_only(fading: Path, scene_dir: Path, tmp_path: Path) -> None:
    whole, one = (run_encode_to_psnr(fading, tmp_path / "fit.gsc", 1.0, scene_dir, CPU, number) for number in (None, 1))
    assert (one.num_views, one.num_test_views, whole.num_views) == (1, 2, 2)
    assert one.chosen.psnr != whole.chosen.psnr
    assert "1 of 2 test views" in psnr_lines(one, 1.0)[0]


@pytest.mark.usefixtures("_in_this_process")
def test_a_quality_that_is_not_reached_names_the_best(fading: Path, scene_dir: Path, tmp_path: Path) -> None:
    (best,) = measured(fading, tmp_path, scene_dir, 0.001)
    with pytest.raises(ConfigError, match=rf"the best that this model reaches is {best:.3f} dB \(λ 0\.001"):
        run_encode_to_psnr(fading, tmp_path / "none.gsc", best + 0.01, scene_dir, CPU)
    assert not (tmp_path / "none.gsc").exists()


@pytest.mark.usefixtures("_in_this_process")
def test_quality_that_does_not_fall_steadily_is_said_so(scene_dir: Path, tmp_path: Path) -> None:
    model = trained(tmp_path, scene_dir, "Wavering")
    (wanted,) = measured(model, tmp_path, scene_dir, 0.0015)
    found = run_encode_to_psnr(model, tmp_path / "fit.gsc", wanted, scene_dir, CPU)
    # The first bisection step, λ = 0.002, lies in the band of good quality: the search goes up, and ends at its border.
    assert found.chosen.lmbda == pytest.approx(0.0021, rel=0.01)
    assert found.chosen.psnr is not None and found.chosen.psnr > wanted
    assert "all smaller files that were tried fall short" in psnr_lines(found, wanted)[1]
    assert found.falls_with_lmbda or "may have been missed" in psnr_lines(found, wanted)[-1]


def test_words_for_quality_that_rises_with_lambda(fading: Path, scene_dir: Path, tmp_path: Path) -> None:
    encoded = run_encode_file(fading, tmp_path / "x.gsc", Rate.of(0.002), CPU)
    trials = tuple(target.Trial(Rate.of(lmbda), encoded, psnr) for lmbda, psnr in ((0.001, 20.0), (0.002, 21.0)))
    found = target.Found(INTERVAL, trials[1], trials, 2, 2)
    assert not found.falls_with_lmbda
    assert "does not fall steadily" in psnr_lines(found, 20.99)[-1]


def test_other_scenes_and_methods_are_refused(fading: Path, scene_dir: Path, tmp_path: Path) -> None:
    single = trained(tmp_path, scene_dir, "ToySingle")
    for option, call in (
        ("--target-bytes", lambda: run_encode_to_size(single, tmp_path / "x.gsc", 1000, CPU)),
        ("--target-psnr", lambda: run_encode_to_psnr(single, tmp_path / "x.gsc", 20.0, scene_dir, CPU)),
    ):
        with pytest.raises(ConfigError, match=f"no λ to search.*{option}"):
            call()
    (tmp_path / "other").mkdir()
    with pytest.raises(SceneError):
        run_encode_to_psnr(fading, tmp_path / "x.gsc", 20.0, tmp_path / "other", CPU)
    assert not (tmp_path / "x.gsc").exists()
