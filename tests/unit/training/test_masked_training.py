"""Masks in training: from the file of a prepared scene to the gradient of every trainee."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchors.attribute_model import AttributeModel
from hemgs.anchors.params import AnchorParams
from hemgs.anchors.training import AnchorTrainee, initial_anchors
from hemgs.core.events import EventLog
from hemgs.core.types import Camera, MaskFile, Scene, View
from hemgs.data.loader import load_scene
from hemgs.metrics.ssim import ssim
from hemgs.splats.model import SplatModel, smaller_view
from hemgs.splats.params import SplatParams
from hemgs.splats.training import SplatTrainee
from hemgs.training.loop import ImageCache, LoopSettings, Trainee, fit, seed_everything
from hemgs.training.losses import reconstruction_loss
from tests.unit.anchors.ball_scene import HEIGHT, WIDTH, ball_scene
from tests.unit.data.test_masks import masked_colmap, run, some_mask
from tests.unit.training.toy import SIZE, ToyTrainee, toy_scene

CPU = torch.device("cpu")
#: The right half of the ball.
MASK = np.arange(WIDTH)[None, :].repeat(HEIGHT, axis=0) >= WIDTH // 2


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(9, 11, 3, generator=generator, requires_grad=True), torch.rand(9, 11, 3, generator=generator)


@pytest.fixture
def mask() -> Tensor:
    return torch.rand(9, 11, generator=torch.Generator().manual_seed(1)) > 0.4


def test_the_loss_is_of_visible_pixels(pair: tuple[Tensor, Tensor], mask: Tensor) -> None:
    image, target = pair
    absolute = (image - target)[mask].abs().mean()
    torch.testing.assert_close(reconstruction_loss(image, target, 0.0, mask), absolute)
    expected = 0.8 * absolute + 0.2 * (1 - ssim(image, target, mask))
    torch.testing.assert_close(reconstruction_loss(image, target, 0.2, mask), expected)


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_hidden_pixels_have_no_gradient(pair: tuple[Tensor, Tensor], mask: Tensor, weight: float) -> None:
    image, target = pair
    reconstruction_loss(image, target, weight, mask).backward()
    assert image.grad is not None
    assert not image.grad[~mask].any()
    assert image.grad[mask].all()


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_a_mask_that_hides_nothing_changes_nothing(pair: tuple[Tensor, Tensor], weight: float) -> None:
    gradients = []
    for mask in (None, torch.ones(9, 11, dtype=torch.bool)):
        image = pair[0].detach().requires_grad_()
        reconstruction_loss(image, pair[1], weight, mask).backward()
        gradients.append(image.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-9)


class Recording(ToyTrainee):
    """Notes the masks that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[str, NDArray[np.bool_] | None] = {}

    def step(
        self, iteration: int, camera: Camera, image: Tensor, background: Tensor, mask: Tensor | None = None
    ) -> dict[str, float]:
        self.masks[camera.name] = None if mask is None else mask.numpy().copy()
        return super().step(iteration, camera, image, background, mask)


def test_masks_reach_the_trainee_from_the_capture(tmp_path: Path) -> None:
    root = masked_colmap(tmp_path / "capture")
    (root / "masks/view_05.png.png").unlink()
    run(root, tmp_path / "scene")
    trainee = Recording()
    scene = load_scene(tmp_path / "scene")
    num_train = len(scene.split("train"))
    with EventLog(None) as events:
        fit(trainee, scene, LoopSettings(num_train), tmp_path / "work", events, CPU)
    assert len(trainee.masks) == num_train
    for name, mask in trainee.masks.items():
        if name == "view_05":
            assert mask is None
        else:
            np.testing.assert_array_equal(mask, some_mask(int(name[-2:])))


def with_masks(scene: Scene, mask: NDArray[np.bool_]) -> Scene:
    views = tuple(dataclasses.replace(view, mask=MaskFile("mask.png", "", "")) for view in scene.views)
    return dataclasses.replace(scene, views=views, read_mask=lambda view: mask)


@pytest.mark.parametrize(("limit_mib", "reads"), [(1, 1), (0, 2)])
def test_masks_are_cached_up_to_the_limit(limit_mib: int, reads: int) -> None:
    mask = np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 3 == 0
    count: list[str] = []

    def read(view: View) -> Any:
        count.append(view.name)
        return mask

    scene = dataclasses.replace(with_masks(toy_scene(), mask), read_mask=read)
    cache = ImageCache(scene, CPU, limit_mib)
    for _ in range(2):
        found = cache.mask(scene.views[0])
        assert found is not None
        assert found.dtype == torch.bool
        np.testing.assert_array_equal(found.numpy(), mask)
    assert len(count) == reads
    assert ImageCache(toy_scene(), CPU, limit_mib).mask(scene.views[0]) is None


def splat_trainee(scene: Scene) -> SplatTrainee:
    return SplatTrainee(scene, SplatModel(SplatParams(iterations=10, ssim_weight=0.0)), CPU)


def anchor_trainee(scene: Scene) -> AnchorTrainee:
    params = AnchorParams(iterations=10, voxel_size=0.1, feature_dim=8, num_offsets=3, ssim_weight=0.0)
    return AnchorTrainee(initial_anchors(scene, params, CPU), params, AttributeModel(), scene.extent)


def trained(build: Any, hidden_level: float, mask: NDArray[np.bool_] | None) -> dict[str, Tensor]:
    """Train ten steps on a ball whose left half has one colour; return the state."""
    scene = ball_scene()

    def read(view: View) -> NDArray[np.float32]:
        return np.where(MASK[..., None], scene.read_image(view), np.float32(hidden_level))

    seen = dataclasses.replace(scene, read_image=read)
    if mask is not None:
        seen = with_masks(seen, mask)
    seed_everything(0)
    trainee: Trainee = build(seen)
    cache = ImageCache(seen, CPU, 1)
    for iteration in range(1, 11):
        view = seen.split("train")[iteration % 4]
        trainee.step(iteration, view.camera, cache.get(view), torch.zeros(3), cache.mask(view))
    return dict(trainee.state().tensors)


@pytest.mark.parametrize("build", [splat_trainee, anchor_trainee])
def test_what_a_mask_hides_does_not_enter_a_training(build: Any) -> None:
    """Without SSIM, whose windows reach over the edge of a mask, models are equal to the bit."""

    def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
        return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

    first = trained(build, 0.0, MASK)
    assert same(first, trained(build, 1.0, MASK))
    assert not same(first, trained(build, 0.0, None))
    assert not same(trained(build, 0.0, None), trained(build, 1.0, None))


def test_a_smaller_view_hides_what_is_sampled_from_hidden_pixels() -> None:
    camera = dataclasses.replace(toy_scene().views[0].camera, width=16, height=12)
    mask = torch.rand(12, 16, generator=torch.Generator().manual_seed(0)) > 0.1
    images = [torch.where(mask[..., None], torch.full((12, 16, 3), 0.5), level) for level in (0.0, 1.0)]
    (_, first, visible), (_, second, _) = (smaller_view(camera, image, mask, 0.45) for image in images)
    assert visible is not None
    assert visible.any()
    assert torch.equal(visible, (first == second).all(dim=2))
