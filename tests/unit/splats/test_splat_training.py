from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.protocol import Model
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.init import cloud_from_points
from hemgs.splats.model import SplatModel, smaller_view
from hemgs.splats.params import SplatParams
from hemgs.splats.training import SplatTrainee, train_splats
from hemgs.training.interrupt import TrainingInterrupted
from hemgs.training.rows import RowParameters
from tests.sameness import same
from tests.tasks import task_on
from tests.unit.splats.toy_splats import ToyModel, ToyParams, ToySplats
from tests.unit.training.toy import toy_scene

CPU = torch.device("cpu")
SHORT: dict[str, Any] = {
    "iterations": 60,
    "densify_interval": 7,
    "gradient_threshold": 1e-6,
    "large_fraction": 100.0,
    "max_gaussians": 60,
    "checkpoint_every": 10,
    "sh_every": 2_000,
    "opacity_reset_every": 90,
}
HOOKS = {name for name in vars(ToyModel) if not name.startswith("_")}


def train(workdir: Path, **params: Any) -> Model:
    with EventLog(workdir / "events.jsonl") as events:
        return ToySplats().train(task_on(toy_scene(), workdir, {**SHORT, **params}, events=events))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return train(tmp_path_factory.mktemp("trained"))


def test_the_toy_overrides_every_hook_and_a_training_calls_each(tmp_path: Path) -> None:
    hooks = {name for name, value in vars(SplatModel).items() if callable(value) and not name.startswith("_")}
    assert hooks - HOOKS == {"bundle"}
    model = ToyModel(ToyParams(**SHORT))
    train_splats(task_on(toy_scene(), tmp_path), model, {})
    assert set(model.calls) == hooks - {"bundle", "restore"}
    assert model.calls["after_step"] == model.calls["gaussians"] == model.calls["extra_loss"] == 60
    assert model.quantising


def test_what_is_rendered_is_what_remains(trained: Model) -> None:
    log_scales = trained.tensors["log_scales"]
    assert 1 < len(torch.unique(log_scales, dim=0)) <= ToyParams().num_codes
    assert trained.tensors["sh"][:, 1:].abs().max() > 0


@pytest.mark.parametrize("when", [8, 14, 24, 45])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(
    trained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    step = SplatTrainee.step

    def stop(self: SplatTrainee, iteration: int, *rest: Any) -> dict[str, float]:
        if iteration == when:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, iteration, *rest)

    monkeypatch.setattr(SplatTrainee, "step", stop)
    with pytest.raises(TrainingInterrupted):
        train(tmp_path)
    monkeypatch.setattr(SplatTrainee, "step", step)
    assert same(train(tmp_path), trained)


@pytest.mark.parametrize(
    "change",
    [
        {"mask_weight": 0.1},
        {"min_mask": 0.6},
        {"fine_from": 1},
        {"codes_from": 30_000},
        {"sort_every": 30_000},
        {"num_codes": 2},
    ],
)
def test_every_part_of_the_toy_has_an_effect(trained: Model, tmp_path: Path, change: dict[str, Any]) -> None:
    other = train(tmp_path, **change)
    shapes = [model.tensors["means"].shape for model in (other, trained)]
    assert shapes[0] != shapes[1] or not same(other, trained)


def test_growth_can_be_off_and_training_start_from_gaussians(tmp_path: Path) -> None:
    scene = toy_scene()
    start = cloud_from_points(scene.points, scene.point_colors, 1)
    start = dataclasses.replace(start, sh=start.sh + 0.01)
    trainee = SplatTrainee(scene, SplatModel(SplatParams(sh_degree=2, densify_until=0)), CPU, start)
    first = GaussianCloud.from_bundle(trainee.bundle())
    assert torch.equal(first.sh[:, :4], start.sh) and not first.sh[:, 4:].any()
    view = scene.views[0]
    image = torch.from_numpy(scene.read_image(view))
    trainee.step(1, view.camera, image, torch.zeros(3))
    moved = GaussianCloud.from_bundle(trainee.bundle())
    # All bands that the start has are trained at once, and those above follow in their turn.
    assert (moved.sh[:, 1:4] != first.sh[:, 1:4]).any() and not moved.sh[:, 4:].any()
    for iteration in range(500, 1500, 100):
        trainee.step(iteration, view.camera, image, torch.zeros(3))
    assert trainee.rows.num_rows == start.num_gaussians


def test_a_finished_stage_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage() -> Model:
        torch.manual_seed(0)
        return train_splats(task_on(toy_scene(), tmp_path / "stage"), ToyModel(ToyParams(**SHORT)), {})

    first = stage()
    monkeypatch.setattr(SplatTrainee, "step", None)
    assert same(stage(), first)


class Tenfold(SplatModel):
    """Positions are stored ten times as large."""

    def start(self, *arguments: Any) -> dict[str, torch.Tensor]:
        rows = super().start(*arguments)
        return {**rows, "means": self.stored_means(rows["means"])}

    def learning_rates(self, iteration: int) -> dict[str, float]:
        rates = super().learning_rates(iteration)
        return {**rates, "means": 10.0 * rates["means"]}

    def cloud(self, rows: RowParameters) -> GaussianCloud:
        return dataclasses.replace(super().cloud(rows), means=rows["means"] / 10.0)

    def stored_means(self, means: torch.Tensor) -> torch.Tensor:
        return 10.0 * means


def test_how_positions_are_stored_decides_nothing() -> None:
    scene, clouds = toy_scene(), []
    for kind in (SplatModel, Tenfold):
        torch.manual_seed(0)
        trainee = SplatTrainee(scene, kind(SplatParams(**SHORT)), CPU)
        for iteration in range(1, 16):
            view = scene.views[iteration % 5]
            trainee.step(iteration, view.camera, torch.from_numpy(scene.read_image(view)), torch.zeros(3))
        clouds.append(GaussianCloud.from_bundle(trainee.bundle()))
    assert clouds[0].num_gaussians == clouds[1].num_gaussians > 20
    torch.testing.assert_close(clouds[0].means, clouds[1].means, rtol=0, atol=1e-3)


def test_a_row_without_a_learning_rate_is_refused() -> None:
    class Forgetful(SplatModel):
        def start(self, *arguments: Any) -> dict[str, torch.Tensor]:
            return {**super().start(*arguments), "forgotten": torch.zeros(20)}

    with pytest.raises(ValueError, match="forgotten"):
        SplatTrainee(toy_scene(), Forgetful(SplatParams()), CPU)


def test_a_smaller_view_sees_the_same_field() -> None:
    view = toy_scene().views[0]
    camera = dataclasses.replace(view.camera, width=11, height=7)
    image = torch.linspace(0, 1, 11)[None, :, None].expand(7, 11, 3)
    small, pixels, _ = smaller_view(camera, image, None, 0.5)
    assert (small.width, small.height, tuple(pixels.shape)) == (5, 3, (3, 5, 3))
    assert small.fx / small.width == pytest.approx(camera.fx / camera.width)
    assert small.cy / small.height == pytest.approx(camera.cy / camera.height)
    # Pixel centres: those of the small picture lie at (i + 0.5) * 11 / 5 - 0.5 of the large one.
    expected = ((torch.arange(5) + 0.5) * 11 / 5 - 0.5) / 10
    torch.testing.assert_close(pixels[1, :, 0], expected)
    assert smaller_view(camera, image, None, 1.0) == (camera, image, None)


def test_a_model_without_plain_gaussians_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="no plain Gaussians: means, log_scales, quats, opacity_logits, sh"):
        GaussianCloud.from_bundle(Model({"offsets": torch.zeros(1)}, {}))
