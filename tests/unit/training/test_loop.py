from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hemgs.core.bundle import Bundle
from hemgs.core.errors import SceneError, TrainingError
from hemgs.core.events import EventLog
from hemgs.core.types import Scene, View
from hemgs.training.checkpoint import identity_of, latest_checkpoint, save_checkpoint
from hemgs.training.interrupt import TrainingInterrupted
from hemgs.training.loop import ImageCache, LoopSettings, ViewStack, fit, seed_everything
from hemgs.training.params import TrainingParams
from tests.sameness import same
from tests.unit.training.toy import SIZE, ToyTrainee, toy_scene

CPU = torch.device("cpu")
SETTINGS = LoopSettings(iterations=23, seed=3, checkpoint_every=4, log_every=5)


def train(
    workdir: Path,
    before_step: Any = lambda iteration: None,
    settings: LoopSettings = SETTINGS,
    scene: Scene | None = None,
) -> tuple[ToyTrainee, dict[str, Any]]:
    """Train; return the trainee and the event at the end."""
    seed_everything(settings.seed)
    trainee = ToyTrainee(before_step)
    with EventLog(workdir / "events.jsonl") as events:
        fit(trainee, scene or toy_scene(), settings, workdir / "work", events, CPU)
    return trainee, events_of(workdir, "trained")[-1]


def events_of(workdir: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (workdir / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def stop_at(when: int, number: int = signal.SIGTERM) -> Any:
    def before_step(iteration: int) -> None:
        if iteration == when:
            os.kill(os.getpid(), number)

    return before_step


def test_every_view_comes_once_per_round_and_only_training_views(tmp_path: Path) -> None:
    trainee, _ = train(tmp_path)
    assert [iteration for iteration, _ in trainee.seen] == list(range(1, 24))
    names = [name for _, name in trainee.seen]
    rounds = [names[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(names) == [f"view_{index}" for index in range(5)] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1


def test_order_of_views_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def noisy(iteration: int) -> None:
        torch.rand(iteration)

    first, _ = train(tmp_path / "a")
    second, _ = train(tmp_path / "b", noisy)
    other, _ = train(tmp_path / "c", settings=dataclasses.replace(SETTINGS, seed=4))
    assert first.seen == second.seen != other.seen


@pytest.mark.parametrize("when", [1, 7, 8, 22])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, when: int, number: int) -> None:
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(TrainingInterrupted) as stopped:
        train(tmp_path / "parts", stop_at(when, number))
    assert stopped.value.exit_code == 128 + number
    assert isinstance(stopped.value, KeyboardInterrupt)
    rest, report = train(tmp_path / "parts")
    assert report["resumed_from"] == when
    assert same(whole.state(), rest.state())
    assert whole.seen[when:] == rest.seen


def test_killed_without_warning_resumes_from_the_last_checkpoint(tmp_path: Path) -> None:
    def die(iteration: int) -> None:
        if iteration == 11:
            raise RuntimeError("power cut")

    whole, _ = train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path / "parts", die)
    rest, report = train(tmp_path / "parts")
    assert report["resumed_from"] == 8
    assert same(whole.state(), rest.state())


def test_a_damaged_newest_checkpoint_costs_one_interval_not_the_result(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "parts", stop_at(10))
    newest = max((tmp_path / "parts" / "work").glob("checkpoint_*"))
    newest.write_bytes(newest.read_bytes()[:100])
    rest, report = train(tmp_path / "parts")
    assert report["resumed_from"] == 8
    assert same(whole.state(), rest.state())
    assert len(events_of(tmp_path / "parts", "checkpoint_discarded")) == 1


@pytest.mark.parametrize(
    "change", [{"identity": {"lr": 2}}, {"seed": 4}, {"iterations": 24}], ids=["parameters", "seed", "length"]
)
def test_a_checkpoint_of_other_settings_is_discarded(tmp_path: Path, change: dict[str, Any]) -> None:
    settings = dataclasses.replace(SETTINGS, **change)
    whole, _ = train(tmp_path / "whole", settings=settings)
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "parts", stop_at(10))
    other, report = train(tmp_path / "parts", settings=settings)
    assert report["resumed_from"] == 0
    assert same(whole.state(), other.state())
    assert events_of(tmp_path / "parts", "checkpoint_discarded")


def test_a_checkpoint_of_another_scene_is_discarded(tmp_path: Path) -> None:
    train(tmp_path)
    _, report = train(tmp_path, scene=dataclasses.replace(toy_scene(), hash="other"))
    assert report["resumed_from"] == 0


def test_how_often_is_saved_or_logged_does_not_matter_to_resuming(tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        train(tmp_path, stop_at(10))
    _, report = train(tmp_path, settings=dataclasses.replace(SETTINGS, checkpoint_every=100, log_every=1))
    assert report["resumed_from"] == 10


def test_settings_of_a_method_are_its_identity_but_for_those_of_reports() -> None:
    params = TrainingParams(iterations=23, log_every=5, checkpoint_every=4)
    settings = LoopSettings.of(params, 3, {"method": "toy"})
    assert dataclasses.replace(settings, identity={}) == SETTINGS
    assert settings.identity["method"] == "toy"
    other = LoopSettings.of(dataclasses.replace(params, log_every=7, checkpoint_every=9), 3, {"method": "toy"})
    assert other.identity == settings.identity
    assert LoopSettings.of(dataclasses.replace(params, ssim_weight=0.3), 3, {"method": "toy"}) != settings


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first, _ = train(tmp_path)
    second, report = train(tmp_path)
    assert report["resumed_from"] == 23 and second.seen == []
    assert same(first.state(), second.state())


def test_a_signal_during_the_last_step_still_stops_the_program(tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        train(tmp_path, stop_at(23))
    _, report = train(tmp_path)
    assert report["resumed_from"] == 23


def test_a_second_signal_stops_at_once_and_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def twice(iteration: int) -> None:
        if iteration == 6:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path, twice)
    assert not isinstance(stopped.value, TrainingInterrupted)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert max((tmp_path / "work").glob("checkpoint_*")).name == "checkpoint_00000004.safetensors"


def test_works_outside_the_main_thread(tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: reports.append(train(tmp_path)[1]))
    thread.start()
    thread.join()
    assert reports[0]["resumed_from"] == 0


def test_seconds_add_up_over_interruptions(tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        train(tmp_path, stop_at(10))
    identity = identity_of({"scene": "toy", "seed": 3, "iterations": 23, "settings": {}})
    found = latest_checkpoint(tmp_path / "work", identity)
    assert found is not None
    found.bundle.meta["train_s"] = 1000.0
    save_checkpoint(tmp_path / "work", 10, found.bundle, identity)
    _, report = train(tmp_path)
    assert 1000.0 < report["train_s"] < 1010.0


def test_a_loss_that_is_not_finite_names_iteration_and_view(tmp_path: Path) -> None:
    class Broken(ToyTrainee):
        def step(self, iteration: int, *arguments: Any) -> dict[str, float]:
            figures = super().step(iteration, *arguments)
            return {**figures, "loss": float("nan")} if iteration == 6 else figures

    trainee = Broken()
    with EventLog(None) as events, pytest.raises(TrainingError, match=r"iteration 6, view 'view_\d': the loss is nan"):
        fit(trainee, toy_scene(), SETTINGS, tmp_path, events, CPU)
    assert not list(tmp_path.glob("checkpoint_00000006*"))


def test_a_model_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    class Poisoned(ToyTrainee):
        def state(self) -> Bundle:
            state = super().state()
            state.tensors["color"][0, 0] = torch.inf
            return state

    with EventLog(None) as events, pytest.raises(TrainingError, match=r"iteration 4, .*color"):
        fit(Poisoned(), toy_scene(), SETTINGS, tmp_path, events, CPU)
    assert not list(tmp_path.glob("checkpoint_*"))


def test_no_training_views_is_a_scene_error(tmp_path: Path) -> None:
    with EventLog(None) as events, pytest.raises(SceneError, match="no training views"):
        fit(ToyTrainee(), toy_scene(num_views=0), SETTINGS, tmp_path, events, CPU)


def test_progress_has_loss_figures_and_size(tmp_path: Path) -> None:
    trainee, _ = train(tmp_path)
    lines = events_of(tmp_path, "progress")
    assert [line["done"] for line in lines] == [5, 10, 15, 20, 23]
    assert all(line["total"] == 23 and line["loss"] > 0 and line["rate_per_s"] > 0 for line in lines)
    assert lines[-1]["num_rows"] == trainee.rows.num_rows
    assert lines[-1]["size_mib"] == pytest.approx(16 * trainee.rows.num_rows / 2**20)


def test_progress_gives_the_mean_loss_since_the_last_report(tmp_path: Path) -> None:
    losses: list[float] = []

    class Recorder(ToyTrainee):
        def step(self, *arguments: Any) -> dict[str, float]:
            figures = super().step(*arguments)
            losses.append(figures["loss"])
            return figures

    with EventLog(tmp_path / "events.jsonl") as events:
        fit(Recorder(), toy_scene(), SETTINGS, tmp_path, events, CPU)
    assert events_of(tmp_path, "progress")[1]["loss"] == pytest.approx(np.mean(losses[5:10]))


def test_stack_restores_in_the_middle_of_a_round() -> None:
    stack, other = ViewStack(7, 1), ViewStack(7, 99)
    for _ in range(10):
        stack.draw()
    other.restore(stack.state())
    assert [stack.draw() for _ in range(20)] == [other.draw() for _ in range(20)]


def test_what_was_drawn_before_training_does_not_matter(tmp_path: Path) -> None:
    seed_everything(3)
    trainee = ToyTrainee()
    torch.rand(5)
    with EventLog(None) as events:
        fit(trainee, toy_scene(), SETTINGS, tmp_path / "other", events, CPU)
    assert same(trainee.state(), train(tmp_path)[0].state())


def test_cached_images_together_keep_to_the_limit() -> None:
    scene = toy_scene()
    count: list[str] = []

    def read(view: View) -> Any:
        count.append(view.name)
        return np.full((500, 500, 3), 0.2, dtype=np.float32)  # 0.72 MiB as 8-bit: one fits, two do not

    cache = ImageCache(dataclasses.replace(scene, read_image=read), CPU, 1)
    for view in (*scene.views[:2], *scene.views[:2]):
        cache.get(view)
    assert count == ["view_0", "view_1", "view_1"]


def cached_picture(pixels: NDArray[np.float32]) -> torch.Tensor:
    scene = dataclasses.replace(toy_scene(), read_image=lambda _: pixels)
    return ImageCache(scene, CPU, 1).get(scene.views[0])


def test_all_8_bit_values_survive_the_cache() -> None:
    values = (np.arange(256, dtype=np.float64) / 255.0).astype(np.float32).reshape(16, 16, 1)
    for image in (values, np.nextafter(values, np.float32(0)), values * np.float32(255.0) * np.float32(1 / 255.0)):
        cached = cached_picture(np.repeat(image, 3, axis=2))
        assert torch.equal(cached[..., 0].flatten(), torch.arange(256.0) / 255.0)


@pytest.mark.parametrize("limit_mib, reads", [(1, 1), (0, 2)])
def test_images_are_exact_and_cached_up_to_the_limit(limit_mib: int, reads: int) -> None:
    scene = toy_scene()
    count: list[str] = []

    def read(view: View) -> Any:
        count.append(view.name)
        return scene.read_image(view)

    cache = ImageCache(dataclasses.replace(scene, read_image=read), CPU, limit_mib)
    view = scene.views[0]
    first, second = cache.get(view), cache.get(view)
    assert len(count) == reads
    assert torch.equal(first, second) and first.data_ptr() != second.data_ptr()
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == torch.float32
    np.testing.assert_allclose(first.numpy(), scene.read_image(view), rtol=0, atol=1e-7)
