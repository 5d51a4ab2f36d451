"""Training of anchor models: learning, growth, resumption bit for bit, and the calls of the attribute model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hemgs.anchors.attribute_model import AttributeModel, LatentRows
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.growing import NewAnchors, grow
from hemgs.anchors.heads import spawn_gaussians
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.params import AnchorParams
from hemgs.anchors.rendering import FixedAnchors, viewpoints
from hemgs.anchors.training import AnchorTrainee, initial_anchors, train_anchors
from hemgs.core.bundle import Bundle
from hemgs.core.errors import TrainingError
from hemgs.metrics.psnr import psnr
from hemgs.metrics.ssim import ssim
from hemgs.training.loop import seed_everything
from hemgs.training.networks import ParameterGroup
from tests.narrowing import linear
from tests.tasks import task_on
from tests.unit.anchors.ball_scene import ball_scene

CPU = torch.device("cpu")
#: Grows early and often, so that a few dozen steps pass through everything.
PARAMS = AnchorParams(
    iterations=60,
    voxel_size=0.05,
    feature_dim=8,
    num_offsets=3,
    grow_factor=4,
    grow_interval=10,
    grow_threshold=1e-5,
    statistics_from=500,
    grow_from=2_000,
    grow_until=25_000,
    grow_success=0.4,
)


class NoisyModel(AttributeModel):
    """Noise on the features, a network of its own, masks, a tensor of state, and a record of all calls."""

    def __init__(self, grows: bool = True) -> None:
        self.network = torch.nn.Linear(1, 1)
        self.count = torch.zeros(())
        self.grows = grows
        self.calls: list[str] = []
        self.extent = 0.0
        self.num_seen: list[int] = []

    def start(self, anchors: AnchorModel, extent: float) -> None:
        self.calls.append("start")
        self.extent = extent

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("own", list(self.network.parameters()), 1e-3, 1e-3)]

    def sample(
        self, iteration: int, anchors: AnchorModel, visible: Tensor
    ) -> tuple[AnchorAttributes, Tensor, dict[str, float]]:
        self.calls.append("sample")
        self.num_seen.append(anchors.num_anchors)
        assert bool((visible[1:] > visible[:-1]).all())
        self.count += 1
        plain = anchors.attributes(visible)
        soft = torch.sigmoid(anchors.mask_logits[visible])
        masks = (soft > 0.01).float() + soft - soft.detach()
        features = plain.features + 0.01 * torch.randn_like(plain.features)
        attributes = AnchorAttributes(features, plain.scalings, plain.offsets, masks)
        loss = self.network(features.square().mean()[None]).square().sum() + 1e-3 * soft.mean()
        return attributes, loss, {"own": 1.0}

    def anchors_changed(self, anchors: AnchorModel) -> None:
        self.calls.append("changed")

    def allows_growth(self, iteration: int) -> bool:
        return self.grows

    def state(self) -> dict[str, Tensor]:
        return {"count": self.count.clone()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.calls.append("restore")
        self.count = tensors["count"].clone()


def trainee(model: AttributeModel, params: AnchorParams = PARAMS) -> AnchorTrainee:
    seed_everything(0)
    scene = ball_scene()
    latent_dim = model.latents.dim if model.latents else 0
    return AnchorTrainee(initial_anchors(scene, params, CPU, latent_dim), params, model, scene.extent, seed=0)


def run(trained: AnchorTrainee, first: int, last: int) -> list[dict[str, float]]:
    scene = ball_scene()
    views = scene.split("train")
    figures = []
    for iteration in range(first, last + 1):
        view = views[iteration % len(views)]
        image = torch.from_numpy(scene.read_image(view))
        figures.append(trained.step(iteration, view.camera, image, torch.zeros(3)))
    return figures


@pytest.mark.slow
def test_it_learns_the_scene(tmp_path: Path) -> None:
    scene = ball_scene(num_views=12)
    params = AnchorParams(iterations=200, voxel_size=0.05, feature_dim=16, num_offsets=4)

    def quality(anchors: AnchorModel) -> float:
        fixed = FixedAnchors(anchors.positions, anchors.attributes(), anchors.heads, viewpoints(scene))
        views = scene.split("test")
        images = [fixed.render(view.camera, scene.background) for view in views]
        return sum(
            float(psnr(image.clamp(0, 1), torch.from_numpy(scene.read_image(view))))
            for image, view in zip(images, views, strict=True)
        ) / len(views)

    seed_everything(0)
    before = quality(initial_anchors(scene, params, CPU))
    after = quality(train_anchors(task_on(scene, tmp_path), params, AttributeModel(), {}))
    assert after > max(20.0, before + 5.0)


@pytest.mark.parametrize("min_opacity", [0.005, 0.1])
def test_rows_statistics_and_lattice_stay_in_step(min_opacity: float) -> None:
    """With the published threshold anchors are only added, with the high one many are pruned."""
    model = NoisyModel()
    trained = trainee(model, replace(PARAMS, min_opacity=min_opacity))
    initial = {tuple(coords) for coords in trained.anchors.coords.tolist()}
    run(trained, 1, 60)
    anchors = trained.anchors
    final = {tuple(coords) for coords in anchors.coords.tolist()}
    assert final - initial
    assert bool(initial - final) == (min_opacity == 0.1)
    assert len(torch.unique(anchors.coords, dim=0)) == anchors.num_anchors
    tensors = trained.state().tensors
    for name in ("features", "log_scalings", "offsets", "mask_logits"):
        assert len(tensors[f"rows/{name}"]) == len(tensors[f"rows/{name}.exp_avg"]) == anchors.num_anchors
        assert getattr(anchors, name).data_ptr() == tensors[f"rows/{name}"].data_ptr()
    assert len(tensors["statistics/visits"]) == anchors.num_anchors
    assert model.calls.count("changed") == model.calls[1:].count("changed") == 4  # after 10, 20, 30 and 40


class LatentModel(AttributeModel):
    """Latents that are pulled towards one."""

    latents = LatentRows(3, 0.01, 0.001)

    def sample(
        self, iteration: int, anchors: AnchorModel, visible: Tensor
    ) -> tuple[AnchorAttributes, Tensor, dict[str, float]]:
        return anchors.attributes(visible), (anchors.latents - 1).square().sum(), {}


def test_latents_grow_and_are_pruned_with_their_anchors_and_have_a_learning_rate() -> None:
    trained = trainee(LatentModel(), replace(PARAMS, min_opacity=0.06))
    initial = {tuple(coords) for coords in trained.anchors.coords.tolist()}
    run(trained, 1, 60)
    anchors, tensors = trained.anchors, trained.state().tensors
    final = [tuple(coords) for coords in anchors.coords.tolist()]
    assert set(final) - initial and initial - set(final)
    assert len(tensors["rows/latents.exp_avg"]) == len(anchors.latents) == anchors.num_anchors
    assert anchors.latents.data_ptr() == tensors["rows/latents"].data_ptr()
    assert tensors["rows/latents.lr"].item() == pytest.approx(0.001)
    old = torch.tensor([coords in initial for coords in final])
    # Those that came later have moved less far from zero.
    assert 0 < anchors.latents[~old].max() < anchors.latents[old].min()


def test_latents_are_resumed() -> None:
    whole, halves = trainee(LatentModel()), trainee(LatentModel())
    run(whole, 1, 30)
    run(halves, 1, 15)
    resumed = trainee(LatentModel())
    resumed.restore(halves.state())
    run(resumed, 16, 30)
    assert torch.equal(resumed.anchors.latents, whole.anchors.latents)


def test_growth_only_where_the_attribute_model_and_the_schedule_allow_it() -> None:
    paused = NoisyModel(grows=False)
    run(trainee(paused), 1, 20)
    assert "changed" not in paused.calls
    assert len(set(paused.num_seen)) == 1
    growing = NoisyModel()
    trained = trainee(growing)
    run(trained, 1, 9)
    assert "changed" not in growing.calls
    run(trained, 51, 60)  # after the published 25,000 of 30,000
    assert "changed" not in growing.calls


def test_a_resumed_training_is_bit_identical() -> None:
    whole = trainee(NoisyModel())
    run(whole, 1, 24)
    checkpoint = {name: tensor.clone() for name, tensor in whole.state().tensors.items()}
    random_state = torch.get_rng_state()
    run(whole, 25, 60)

    resumed = trainee(NoisyModel())
    resumed.restore(Bundle(checkpoint))
    torch.set_rng_state(random_state)
    run(resumed, 25, 60)
    first, second = whole.state().tensors, resumed.state().tensors
    assert first.keys() == second.keys()
    assert whole.anchors.num_anchors != len(checkpoint["coords"]), "nothing grew after the checkpoint"
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_calls_of_the_attribute_model() -> None:
    model = NoisyModel()
    trained = trainee(model)
    assert model.calls == ["start"]
    assert model.extent == ball_scene().extent
    figures = run(trained, 1, 2)
    assert model.calls == ["start", "sample", "sample"]
    assert figures[0]["own"] == 1.0
    assert figures[0]["num_anchors"] == trained.anchors.num_anchors
    trained.restore(Bundle({name: tensor.clone() for name, tensor in trained.state().tensors.items()}))
    assert model.calls[-2:] == ["changed", "restore"]
    assert float(model.count) == 2.0


def test_learning_rates() -> None:
    """Adam's first step moves a value by its learning rate: 0.01 times the extent for offsets, and so on."""
    trained = trainee(NoisyModel())
    anchors, scene = trained.anchors, ball_scene()
    before = {name: getattr(anchors, name).detach().clone() for name in ("features", "offsets", "mask_logits")}
    run(trained, 1, 1)
    decay = 10 ** (-2.0 / PARAMS.iterations)
    wanted = {"features": 0.0075, "offsets": 0.01 * decay * scene.extent, "mask_logits": 0.01 * decay * scene.extent}
    for name, rate in wanted.items():
        moved = (getattr(anchors, name).detach() - before[name]).abs()
        assert float(moved.max()) == pytest.approx(rate, rel=1e-3), name


class ConstantPrice(AttributeModel):
    """Adds 3 to the loss."""

    def sample(
        self, iteration: int, anchors: AnchorModel, visible: Tensor
    ) -> tuple[AnchorAttributes, Tensor, dict[str, float]]:
        return anchors.attributes(visible), torch.tensor(3.0), {}


def test_parts_of_the_loss() -> None:
    """L1, 1 - SSIM and the mean volume with the published weights, and the addend of the attribute model."""
    trained = trainee(ConstantPrice(), replace(PARAMS, volume_weight=0.5))
    anchors, view = trained.anchors, ball_scene().split("train")[0]
    target = torch.from_numpy(ball_scene().read_image(view))
    with torch.no_grad():
        center = torch.from_numpy(view.camera.center).float()
        spawned = spawn_gaussians(anchors.heads, anchors.positions, anchors.attributes(), center)
        fixed = FixedAnchors(anchors.positions, anchors.attributes(), anchors.heads, center[None])
        image = fixed.render(view.camera, (0.0, 0.0, 0.0))
        volume = spawned.scales.prod(dim=1).mean()
        wanted = 0.8 * (image - target).abs().mean() + 0.2 * (1 - ssim(image, target)) + 0.5 * volume + 3.0
    assert float(0.5 * volume) > 1e-4
    figures = trained.step(1, view.camera, target, torch.zeros(3))
    assert figures["loss"] == pytest.approx(float(wanted), abs=1e-5)


def test_networks_follow_their_schedule() -> None:
    model = NoisyModel()
    trained = trainee(model)
    before = [p.detach().clone() for p in (model.network.bias, linear(trained.anchors.heads.opacity, 2).bias)]
    run(trained, 60, 60)
    after = [p.detach() for p in (model.network.bias, linear(trained.anchors.heads.opacity, 2).bias)]
    moved = [float((b - a).abs().max()) for a, b in zip(before, after, strict=True)]
    assert moved == pytest.approx([1e-3, 2e-5], rel=1e-2)


def test_statistics_are_gathered_within_their_window_only() -> None:
    for iteration, gathered in ((1, False), (2, True), (49, True), (50, False)):
        trained = trainee(AttributeModel())
        run(trained, iteration, iteration)
        assert bool(trained.state().tensors["statistics/visits"].any()) == gathered, iteration


def test_growing_draws_other_numbers_each_time_and_for_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def spy(*arguments: Any) -> NewAnchors:
        seeds.append(arguments[-1].initial_seed())
        return grow(*arguments)

    monkeypatch.setattr("hemgs.anchors.training.grow", spy)
    for seed in (0, 1):
        scene = ball_scene()
        start = initial_anchors(scene, PARAMS, CPU)
        run(AnchorTrainee(start, PARAMS, AttributeModel(), scene.extent, seed), 9, 20)
    assert len(seeds) == len(set(seeds)) == 4


def test_gaussian_scalings_are_cut_where_pruning_runs() -> None:
    trained = trainee(AttributeModel())
    with torch.no_grad():
        trained.anchors.log_scalings[:] = 0.2
    run(trained, 1, 10)
    largest = trained.anchors.log_scalings.detach().amax(dim=0).tolist()
    assert max(largest[3:]) == pytest.approx(0.05)
    assert min(largest[:3]) > 0.1


def test_a_camera_that_sees_nothing_changes_nothing() -> None:
    trained = trainee(AttributeModel())
    view = ball_scene().views[0]
    away = view.camera.world_to_camera.copy()
    away[2, 3] = -50.0
    camera = replace(view.camera, world_to_camera=away)
    before = trained.anchors.features.detach().clone()
    figures = trained.step(1, camera, torch.zeros(view.camera.height, view.camera.width, 3), torch.zeros(3))
    assert figures["num_gaussians"] == 0
    assert figures["loss"] == pytest.approx(0.0, abs=1e-6)
    assert torch.equal(trained.anchors.features, before)


def test_a_foreign_checkpoint_is_an_error() -> None:
    trained = trainee(AttributeModel())
    tensors: dict[str, Any] = dict(trained.state().tensors)
    del tensors["statistics/visits"]
    with pytest.raises(TrainingError, match="visits"):
        trained.restore(Bundle(tensors))
