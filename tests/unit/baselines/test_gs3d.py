from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.gs3d.codec import decode_cloud, encode_cloud
from baselines.gs3d.method import Gs3d
from baselines.gs3d.params import Gs3dParams
from hemgs.coding.container import read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.events import EventLog
from hemgs.core.types import SINGLE_RATE, Camera, Scene
from hemgs.protocol import Method, Model
from hemgs.render import render_view
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.model import SplatModel
from hemgs.splats.ply import read_ply, write_ply
from hemgs.splats.rendering import RenderableSplats
from hemgs.splats.training import SplatTrainee
from hemgs.training.interrupt import TrainingInterrupted
from hemgs.training.losses import reconstruction_loss
from tests.unit.training.toy import toy_scene

CPU = torch.device("cpu")
BLACK = (0.0, 0.0, 0.0)
#: Short enough for a test, and passing through growth, pruning, opacity resets and all degrees.
#: The toy's Gaussians are large compared with the path of its cameras.
SHORT = {
    "iterations": 60,
    "densify_interval": 7,
    "gradient_threshold": 1e-6,
    "large_fraction": 100.0,
    "max_gaussians": 60,
    "checkpoint_every": 10,
}


def train(scene: Scene, workdir: Path, seed: int = 0, **params: Any) -> Model:
    with EventLog(workdir / "events.jsonl") as events:
        return Gs3d().train(scene, {**SHORT, **params}, workdir, events, rate=SINGLE_RATE, seed=seed, device=CPU)


def same(a: Model, b: Model) -> bool:
    return set(a.tensors) == set(b.tensors) and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return train(toy_scene(), tmp_path_factory.mktemp("trained"))


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
        image = RenderableSplats.from_bundle(as_model(target)).render(camera, BLACK)
        images[camera.name] = (np.rint(image.numpy() * 255) / 255).astype(np.float32)
    return dataclasses.replace(
        scene,
        views=tuple(views),
        points=means.numpy(),
        point_colors=np.full((num, 3), 128, np.uint8),
        read_image=lambda view: images[view.name],
    )


def as_model(cloud: GaussianCloud) -> Model:
    return cloud.to_bundle()


def trainee_of(scene: Scene, params: Gs3dParams) -> SplatTrainee:
    return SplatTrainee(scene, SplatModel(params), CPU)


def cloud_of(trainee: SplatTrainee) -> GaussianCloud:
    return GaussianCloud.from_bundle(trainee.bundle())


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


def test_gaussians_grow_up_to_the_limit_and_progress_reports_them(trained: Model, tmp_path: Path) -> None:
    assert 20 < trained.tensors["means"].shape[0] <= 60
    assert all(torch.isfinite(tensor).all() for tensor in trained.tensors.values())
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
    reconstruction_loss(view.image, image).backward()
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
def test_on_white_opacities_are_reset_once_more(background: tuple[float, float, float], resets: bool) -> None:
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


def test_equal_seeds_give_equal_models(trained: Model, tmp_path: Path) -> None:
    assert same(train(toy_scene(), tmp_path / "a"), trained)
    other = train(toy_scene(), tmp_path / "b", seed=1)
    assert not torch.equal(other.tensors["means"][:20], trained.tensors["means"][:20])


@pytest.mark.parametrize("when", [8, 14, 45])
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
        train(toy_scene(), tmp_path)
    monkeypatch.setattr(SplatTrainee, "step", step)
    assert same(train(toy_scene(), tmp_path), trained)


def test_a_checkpoint_of_other_settings_is_not_continued(trained: Model, tmp_path: Path) -> None:
    train(toy_scene(), tmp_path, lr_sh=0.1)
    assert same(train(toy_scene(), tmp_path, log_every=3), trained)


def test_the_file_is_what_the_table_says_and_the_same_each_time(trained: Model, tmp_path: Path) -> None:
    table = Gs3d().encode(trained, SINGLE_RATE, tmp_path / "a.gsc", device=CPU)
    Gs3d().encode(trained, SINGLE_RATE, tmp_path / "b.gsc", device=CPU)
    assert (tmp_path / "a.gsc").read_bytes() == (tmp_path / "b.gsc").read_bytes()
    num = trained.tensors["means"].shape[0]
    assert table.total_bytes == (tmp_path / "a.gsc").stat().st_size
    assert {name: size for name, size in table.sections.items() if name != "container"} == {
        "settings": 5,
        "locations": 12 * num,
        "colors": 192 * num,
        "opacities": 4 * num,
        "scalings": 12 * num,
        "rotations": 16 * num,
    }


@pytest.mark.parametrize("degree, num_bytes", [(0, 56), (3, 236)])
def test_the_estimated_size_is_that_of_the_raw_values(degree: int, num_bytes: int) -> None:
    assert trainee_of(toy_scene(), Gs3dParams(sh_degree=degree)).estimated_bytes() == 20 * num_bytes


def test_decoding_is_exact_and_renders_as_the_model(trained: Model, tmp_path: Path) -> None:
    Gs3d().encode(trained, SINGLE_RATE, tmp_path / "a.gsc", device=CPU)
    decoded = Gs3d().decode(tmp_path / "a.gsc", device=CPU)
    assert same(decoded.to_bundle(), trained)
    camera = toy_scene().views[0].camera
    image = decoded.render(camera, (0.2, 0.4, 0.6))
    assert torch.equal(image, RenderableSplats.from_bundle(trained).render(camera, (0.2, 0.4, 0.6)))
    assert image.shape == (8, 8, 3) and float(image.min()) >= 0.0 and float(image.max()) <= 1.0


def test_rendering_is_that_of_the_shared_renderer_over_the_background(trained: Model) -> None:
    camera = toy_scene().views[1].camera
    cloud = RenderableSplats.from_bundle(trained).to_splats()
    arguments = (cloud.means, cloud.quats, cloud.log_scales.exp(), cloud.opacity_logits.sigmoid(), cloud.sh)
    view = render_view(*arguments, camera, (0.9, 0.1, 0.3), sh_degree=3)
    torch.testing.assert_close(
        RenderableSplats.from_bundle(trained).render(camera, (0.9, 0.1, 0.3)), view.image.clamp(0, 1)
    )
    behind = far_away(camera)
    assert torch.equal(
        RenderableSplats.from_bundle(trained).render(behind, (0.9, 0.1, 0.3))[0, 0], torch.tensor([0.9, 0.1, 0.3])
    )


def test_colours_beyond_white_are_white(trained: Model) -> None:
    bright = Model({**trained.tensors, "sh": torch.full_like(trained.tensors["sh"], 9.0)}, trained.meta)
    image = RenderableSplats.from_bundle(bright).render(toy_scene().views[1].camera, (1.0, 1.0, 1.0))
    assert float(image.max()) == 1.0


def far_away(camera: Camera) -> Camera:
    pose = np.eye(4)
    pose[2, 3] = -100.0
    return dataclasses.replace(camera, world_to_camera=pose)


def test_export_round_trips_through_ply(trained: Model, tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", RenderableSplats.from_bundle(trained).to_splats())
    assert same(as_model(read_ply(tmp_path / "a.ply")), trained)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_all_degrees_can_be_coded(tmp_path: Path, degree: int) -> None:
    cloud = cloud_of(trainee_of(toy_scene(), Gs3dParams(sh_degree=degree)))
    encode_cloud(cloud, tmp_path / "a.gsc")
    assert torch.equal(decode_cloud(tmp_path / "a.gsc").sh, cloud.sh)


def reseal(path: Path, method: str = "gs3d", **sections: bytes | None) -> None:
    """Rewrites a bitstream with other sections and right checksums, as a hostile writer would."""
    container = read_container(path)
    changed = {**container.sections, **sections}
    kept = {name: payload for name, payload in changed.items() if payload is not None}
    write_container(path, method, kept, container.symbols_digest)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": "other"}, "written by the method 'other'"),
        ({"settings": b""}, "section settings has 0 bytes"),
        ({"settings": None}, "section settings has 0 bytes"),
        ({"settings": b"\0\0\0\0\3"}, "0 Gaussians"),
        ({"settings": b"\xff\xff\xff\xff\3"}, "section locations has .* bytes, 51539607540 are needed"),
        ({"settings": b"\x14\0\0\0\xff"}, "degree 255"),
        ({"rotations": None}, "sections are"),
        ({"other": b"x"}, "sections are"),
        ({"opacities": b"\0" * 4}, "section opacities has 4 bytes"),
        ({"opacities": b"\0\0\x80\x3f" * 20}, "digest"),
        ({"opacities": b"\0\0\xc0\x7f" * 20}, "section opacities holds values that are not finite"),
    ],
)
def test_hostile_files_give_one_clear_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.gsc"
    encode_cloud(cloud_of(trainee_of(toy_scene(), Gs3dParams())), path)
    reseal(path, **change)
    with pytest.raises(BitstreamError, match=message) as fault:
        Gs3d().decode(path, device=CPU)
    assert str(path) in str(fault.value)


def test_the_digest_covers_every_value(tmp_path: Path) -> None:
    path = tmp_path / "a.gsc"
    encode_cloud(cloud_of(trainee_of(toy_scene(), Gs3dParams(sh_degree=0))), path)
    sections = read_container(path).sections
    for name in ("locations", "colors", "opacities", "scalings", "rotations"):
        payload = bytearray(sections[name])
        payload[-4] ^= 1
        changed: dict[str, Any] = {**sections, name: bytes(payload)}
        reseal(path, **changed)
        with pytest.raises(BitstreamError, match="digest"):
            decode_cloud(path)
    digest = SymbolDigest()
    assert read_container(path).symbols_digest != digest.digest()
