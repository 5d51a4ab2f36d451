"""3DGS as a method: settings, training, rendering and export."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.gs3d.method import Gs3d
from baselines.gs3d.params import Gs3dParams
from hemgs.core.errors import ConfigError
from hemgs.core.types import Camera, Scene
from hemgs.protocol import Method, Model
from hemgs.render import render_view
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.ply import read_ply, write_ply
from hemgs.splats.rendering import RenderableSplats
from hemgs.splats.training import SplatTrainee
from hemgs.training.interrupt import TrainingInterrupted
from hemgs.training.losses import reconstruction_loss
from tests.sameness import same
from tests.unit.baselines.toy_gs3d import cloud_of, train, trainee_of
from tests.unit.training.toy import toy_scene

BLACK = (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def painted() -> Scene:
    """Four 24 x 20 views of thirty coloured Gaussians, with their centres as grey initial points."""
    generator = torch.Generator().manual_seed(5)
    num = 30
    means = torch.rand(num, 3, generator=generator) - 0.5
    target = GaussianCloud(
        means,
        torch.full((num, 3), -2.0),
        torch.tensor([1.0, 0, 0, 0]).repeat(num, 1),
        torch.full((num,), 3.0),
        2.0 * torch.rand(num, 1, 3, generator=generator) - 1.0,
    )
    scene = toy_scene(4)
    views, images = [], {}
    for view in scene.views:
        camera = dataclasses.replace(view.camera, width=24, height=20, fx=30.0, fy=30.0, cx=12.0, cy=10.0)
        views.append(dataclasses.replace(view, camera=camera))
        image = RenderableSplats(target).render(camera, BLACK)
        images[camera.name] = (np.rint(image.numpy() * 255) / 255).astype(np.float32)
    return dataclasses.replace(
        scene,
        views=tuple(views),
        points=means.numpy(),
        point_colors=np.full((num, 3), 128, np.uint8),
        read_image=lambda view: images[view.name],
    )


def psnr_of(model: Model, scene: Scene) -> float:
    errors = [
        float(
            (RenderableSplats.from_bundle(model).render(view.camera, BLACK) - torch.from_numpy(scene.read_image(view)))
            .square()
            .mean()
        )
        for view in scene.split("test")
    ]
    return float(-10 * np.log10(np.mean(errors)))


def test_is_a_method() -> None:
    method = Gs3d()
    assert isinstance(method, Method)
    assert (method.spec.id, method.spec.kind) == ("gs3d", "single")
    assert dataclasses.is_dataclass(method.Params)


def test_defaults_are_those_of_3dgs() -> None:
    params = Gs3dParams()
    assert (params.iterations, params.sh_degree, params.sh_every) == (30_000, 3, 1_000)
    assert (params.densify_from, params.densify_until, params.densify_interval) == (500, 15_000, 100)
    assert (params.opacity_reset_every, params.gradient_threshold, params.dense_fraction) == (3_000, 2e-4, 0.01)
    assert (params.min_opacity, params.large_fraction, params.ssim_weight) == (0.005, 0.1, 0.2)
    assert (params.lr_means, params.lr_means_end, params.lr_sh, params.lr_sh_rest) == (1.6e-4, 1.6e-6, 2.5e-3, 1.25e-4)
    assert (params.lr_opacities, params.lr_scalings, params.lr_rotations) == (0.05, 5e-3, 1e-3)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"iteration": 5}, "unknown setting 'iteration'"),
        ({"iterations": 0}, "'iterations' cannot be 0 — "),
        ({"lr_sh": -1.0}, "'lr_sh' cannot be -1.0 — "),
        ({"min_opacity": float("nan")}, "'min_opacity' cannot be NaN — "),
        ({"sh_degree": 4}, "'sh_degree' cannot be 4 — "),
        ({"ssim_weight": 1.5}, "'ssim_weight' cannot be 1.5 — "),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(toy_scene(), tmp_path, **values)


@pytest.mark.slow
def test_training_learns_the_scene(painted: Scene, tmp_path: Path) -> None:
    untrained = trainee_of(painted, Gs3dParams()).bundle()
    model = train(painted, tmp_path, iterations=150, densify_interval=100, gradient_threshold=2e-4)
    assert psnr_of(model, painted) > psnr_of(untrained, painted) + 5.0
    assert psnr_of(model, painted) > 22.0


def test_gaussians_grow_up_to_the_limit_and_progress_reports_them(trained_splats: Model, tmp_path: Path) -> None:
    assert 20 < trained_splats.tensors["means"].shape[0] <= 60
    assert all(torch.isfinite(tensor).all() for tensor in trained_splats.tensors.values())
    train(toy_scene(), tmp_path)
    text = (tmp_path / "events.jsonl").read_text()
    assert '"num_gaussians"' in text and '"size_mib"' in text


def test_higher_bands_are_trained_in_their_turn(tmp_path: Path) -> None:
    # 60 iterations: one degree more every 2 of them; with sh_every beyond the end only the constant is trained.
    every = train(toy_scene(), tmp_path / "a")
    never = train(toy_scene(), tmp_path / "b", sh_every=60_000)
    assert every.tensors["sh"][:, 1:].abs().amax(dim=(0, 2)).min() > 0
    assert not never.tensors["sh"][:, 1:].any()


def test_positions_slow_down_with_the_scene_as_their_unit() -> None:
    scene = toy_scene()
    view = scene.views[0]
    image = torch.from_numpy(scene.read_image(view))
    trainee = trainee_of(scene, Gs3dParams(iterations=100, densify_interval=1000))
    before = cloud_of(trainee).means.clone()
    trainee.step(1, view.camera, image, torch.zeros(3))
    # Adam's first step has the length of the learning rate along every axis.
    moved = float((cloud_of(trainee).means - before).abs().max())
    assert moved == pytest.approx(1.6e-4 * 0.01**0.01 * scene.extent, rel=0.01)
    trainee.step(100, view.camera, image, torch.zeros(3))
    assert trainee.rows.lr("means") == pytest.approx(1.6e-6 * scene.extent)
    assert trainee.rows.lr("sh") == 2.5e-3


def test_growth_is_decided_by_gradients_in_device_coordinates_of_what_was_seen() -> None:
    scene = toy_scene()
    camera = dataclasses.replace(scene.views[0].camera, width=24, height=10, cx=12.0, cy=5.0)
    points = scene.points.copy()
    points[3] = (0.0, 0.0, -9.0)  # behind the camera
    scene = dataclasses.replace(scene, points=points)
    image = torch.rand(10, 24, 3, generator=torch.Generator().manual_seed(0))
    trainee = trainee_of(scene, Gs3dParams())
    cloud = cloud_of(trainee)
    arguments = (cloud.quats, cloud.log_scales.exp(), cloud.opacity_logits.sigmoid(), cloud.sh, camera, BLACK)
    view = render_view(cloud.means.clone().requires_grad_(True), *arguments, sh_degree=0)
    reconstruction_loss(view.image, image, 0.2).backward()
    assert view.means2d.grad is not None
    norms = torch.hypot(12.0 * view.means2d.grad[:, 0], 5.0 * view.means2d.grad[:, 1])

    trainee.step(1, camera, image, torch.zeros(3))
    state = trainee.state().tensors
    assert state["rows/buffer/visits"].tolist() == [0.0 if index == 3 else 1.0 for index in range(20)]
    torch.testing.assert_close(state["rows/buffer/gradients"], norms, rtol=1e-5, atol=1e-12)
    assert float(norms.max()) > 1e-5


def test_large_gaussians_go_only_after_the_first_reset() -> None:
    scene = toy_scene()
    view = scene.views[0]
    image = torch.from_numpy(scene.read_image(view))
    params = Gs3dParams(3_000, densify_interval=10, gradient_threshold=1.0, min_opacity=0.0)
    trainee = trainee_of(scene, params)
    with torch.no_grad():
        trainee.rows["log_scales"].fill_(np.log(0.05 * scene.extent))
        trainee.rows["log_scales"][:5, 1] = np.log(0.15 * scene.extent)
    counts = []
    for iteration in (290, 300, 310):
        trainee.step(iteration, view.camera, image, torch.zeros(3))
        counts.append(trainee.rows.num_rows)
    assert counts == [20, 20, 15]


def test_opacities_are_reset_on_schedule() -> None:
    scene = toy_scene()
    view = scene.views[0]
    image = torch.from_numpy(scene.read_image(view))
    trainee = trainee_of(scene, Gs3dParams(iterations=3_000, densify_interval=10_000))
    largest = []
    for iteration in (299, 300, 301):
        trainee.step(iteration, view.camera, image, torch.zeros(3))
        largest.append(float(cloud_of(trainee).opacity_logits.sigmoid().max()))
    assert largest[0] > 0.09 and largest[1] == pytest.approx(0.01) and largest[2] < 0.012


@pytest.mark.parametrize("background, resets", [((1.0, 1.0, 1.0), True), (BLACK, False)])
def test_on_white_opacities_are_reset_again(background: tuple[float, float, float], resets: bool) -> None:
    scene = dataclasses.replace(toy_scene(), background=background)
    view = scene.views[0]
    trainee = trainee_of(scene, Gs3dParams(iterations=3_000))
    trainee.step(50, view.camera, torch.from_numpy(scene.read_image(view)), torch.tensor(background))
    assert (float(cloud_of(trainee).opacity_logits.sigmoid().max()) <= 0.0101) is resets


def test_growth_stops_half_way() -> None:
    scene = toy_scene()
    view = scene.views[0]
    image = torch.from_numpy(scene.read_image(view))
    params = Gs3dParams(3_000, densify_interval=10, gradient_threshold=0.0, min_opacity=0.0, large_fraction=100.0)
    trainee = trainee_of(scene, params)
    counts = {}
    for iteration in (50, 60, 1490, 1500, 1510):
        trainee.step(iteration, view.camera, image, torch.zeros(3))
        counts[iteration] = trainee.rows.num_rows
    assert counts[50] == 20 < counts[60] < counts[1490] == counts[1500] == counts[1510]


def test_equal_seeds_give_equal_models(trained_splats: Model, tmp_path: Path) -> None:
    assert same(train(toy_scene(), tmp_path / "a"), trained_splats)
    other = train(toy_scene(), tmp_path / "b", seed=1)
    assert not torch.equal(other.tensors["means"][:20], trained_splats.tensors["means"][:20])


@pytest.mark.parametrize("when", [8, 14, 45])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(
    trained_splats: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    step = SplatTrainee.step

    def stop(self: SplatTrainee, iteration: int, *rest: Any) -> dict[str, float]:
        if iteration == when:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, iteration, *rest)

    monkeypatch.setattr(SplatTrainee, "step", stop)
    with pytest.raises(TrainingInterrupted):
        train(toy_scene(), tmp_path)
    monkeypatch.setattr(SplatTrainee, "step", step)
    assert same(train(toy_scene(), tmp_path), trained_splats)


def test_a_checkpoint_of_other_settings_is_not_continued(trained_splats: Model, tmp_path: Path) -> None:
    train(toy_scene(), tmp_path, lr_sh=0.1)
    assert same(train(toy_scene(), tmp_path, log_every=3), trained_splats)


@pytest.mark.parametrize("degree, num_bytes", [(0, 56), (3, 236)])
def test_the_estimated_size_is_that_of_the_raw_values(degree: int, num_bytes: int) -> None:
    assert trainee_of(toy_scene(), Gs3dParams(sh_degree=degree)).estimated_bytes() == 20 * num_bytes


def test_rendering_is_that_of_the_shared_renderer_over_the_background(trained_splats: Model) -> None:
    camera = toy_scene().views[1].camera
    cloud = RenderableSplats.from_bundle(trained_splats).to_splats()
    arguments = (cloud.means, cloud.quats, cloud.log_scales.exp(), cloud.opacity_logits.sigmoid(), cloud.sh)
    view = render_view(*arguments, camera, (0.9, 0.1, 0.3), sh_degree=3)
    torch.testing.assert_close(
        RenderableSplats.from_bundle(trained_splats).render(camera, (0.9, 0.1, 0.3)), view.image.clamp(0, 1)
    )
    behind = far_away(camera)
    assert torch.equal(
        RenderableSplats.from_bundle(trained_splats).render(behind, (0.9, 0.1, 0.3))[0, 0],
        torch.tensor([0.9, 0.1, 0.3]),
    )


def test_colours_beyond_white_are_white(trained_splats: Model) -> None:
    bright = Model(
        {**trained_splats.tensors, "sh": torch.full_like(trained_splats.tensors["sh"], 9.0)}, trained_splats.meta
    )
    image = RenderableSplats.from_bundle(bright).render(toy_scene().views[1].camera, (1.0, 1.0, 1.0))
    assert float(image.max()) == 1.0


def far_away(camera: Camera) -> Camera:
    pose = np.eye(4)
    pose[2, 3] = -100.0
    return dataclasses.replace(camera, world_to_camera=pose)


def test_export_round_trips_through_ply(trained_splats: Model, tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", RenderableSplats.from_bundle(trained_splats).to_splats())
    assert same(read_ply(tmp_path / "a.ply").to_bundle(), trained_splats)
