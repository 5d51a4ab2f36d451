"""Rendering of decoded anchors: prefilter, masks, bundles, export to plain Gaussians."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.rendering import (
    FixedAnchors,
    anchors_to_cloud,
    camera_center,
    viewpoints,
    visible_anchors,
)
from hemgs.core.errors import HemgsError
from hemgs.render import render_view
from hemgs.splats.init import SH_C0
from tests.narrowing import linear
from tests.unit.anchors.ball_scene import ball_scene, ring_camera

NUM, DIM, OFFSETS = 30, 6, 3
GREY = (0.2, 0.3, 0.4)


@pytest.fixture
def anchors() -> FixedAnchors:
    torch.manual_seed(4)
    heads = AnchorHeads(DIM, OFFSETS)
    attributes = AnchorAttributes(torch.randn(NUM, DIM), 0.3 * torch.rand(NUM, 6) + 0.05, torch.randn(NUM, OFFSETS, 3))
    return FixedAnchors(0.5 * torch.randn(NUM, 3), attributes, heads, torch.randn(4, 3) + 5.0)


def test_anchors_out_of_sight_are_left_out_and_change_nothing(anchors: FixedAnchors) -> None:
    camera = ring_camera("front", 0.0)
    positions = anchors.positions.clone()
    positions[::2] += torch.tensor([0.0, 0.0, -30.0])  # behind the camera
    moved = replace(anchors, positions=positions)
    assert visible_anchors(positions, anchors.attributes.scalings, camera).tolist() == list(range(1, NUM, 2))
    index = torch.arange(1, NUM, 2)
    half = FixedAnchors(positions[index], anchors.attributes.select(index), anchors.heads, anchors.viewpoints)
    image = moved.render(camera, GREY)
    assert image.shape == (camera.height, camera.width, 3)
    torch.testing.assert_close(image, half.render(camera, GREY), rtol=0.0, atol=1e-5)
    assert not image.requires_grad


def test_the_prefilter_looks_at_the_scalings_of_offsets() -> None:
    camera = ring_camera("front", 0.0)
    positions = torch.tensor([[4.0, 0.0, 0.0], [4.0, 0.0, 0.0]])  # outside the image
    wide, narrow = torch.full((1, 3), 2.0), torch.full((1, 3), 0.01)
    scalings = torch.cat([torch.cat([wide, narrow], dim=1), torch.cat([narrow, wide], dim=1)])
    assert visible_anchors(positions, scalings, camera).tolist() == [0]


def test_an_anchor_with_all_masks_off_is_invisible(anchors: FixedAnchors) -> None:
    camera = ring_camera("front", 0.3)
    masks = torch.ones(NUM, OFFSETS)
    masks[1:] = 0.0
    masked = replace(anchors, attributes=replace(anchors.attributes, masks=masks))
    index = torch.tensor([0])
    alone = FixedAnchors(anchors.positions[:1], anchors.attributes.select(index), anchors.heads, anchors.viewpoints)
    image = masked.render(camera, GREY)
    torch.testing.assert_close(image, alone.render(camera, GREY), rtol=0.0, atol=1e-5)
    assert (image - anchors.render(camera, GREY)).abs().max() > 0.1
    nothing = replace(anchors, attributes=replace(anchors.attributes, masks=torch.zeros(NUM, OFFSETS)))
    assert torch.equal(nothing.render(camera, GREY), torch.tensor(GREY).expand_as(image))


def test_bundle_round_trip(anchors: FixedAnchors) -> None:
    masks = (torch.rand(NUM, OFFSETS) > 0.5).float()
    masked = replace(anchors, attributes=replace(anchors.attributes, masks=masks))
    camera = ring_camera("side", 1.0)
    for fixed in (anchors, masked):
        again = FixedAnchors.from_bundle(fixed.to_bundle())
        assert torch.equal(again.render(camera, GREY), fixed.render(camera, GREY))
        assert torch.equal(again.viewpoints, fixed.viewpoints)
    assert anchors.to_bundle().meta["num_gaussians"] == NUM * OFFSETS
    assert masked.to_bundle().meta["num_gaussians"] == int(masks.sum())
    assert masked.to_bundle().meta["num_anchors"] == NUM
    bundle = anchors.to_bundle()
    del bundle.tensors["offsets"]
    with pytest.raises(HemgsError, match="offsets"):
        FixedAnchors.from_bundle(bundle)


def test_export_for_one_camera_looks_the_same(anchors: FixedAnchors) -> None:
    camera = ring_camera("front", 0.5)
    cloud = anchors_to_cloud(anchors, camera_center(camera, torch.device("cpu"))[None])
    image = render_view(
        cloud.means,
        cloud.quats,
        cloud.log_scales.exp(),
        cloud.opacity_logits.sigmoid(),
        cloud.sh[:, 0] * SH_C0 + 0.5,
        camera,
        GREY,
    ).image
    # Gaussians below half a percent of opacity are left out.
    assert (image - anchors.render(camera, GREY)).abs().max() < 0.01


def test_export_for_several_cameras_averages(anchors: FixedAnchors) -> None:
    centers = torch.tensor([[0.0, 0.0, 4.0], [4.0, 0.0, 0.0]])
    both = anchors_to_cloud(anchors, centers)
    twice = anchors_to_cloud(anchors, centers[:1].repeat(3, 1))
    once = anchors_to_cloud(anchors, centers[:1])
    for name in ("means", "log_scales", "quats", "opacity_logits", "sh"):
        torch.testing.assert_close(getattr(twice, name), getattr(once, name), rtol=1e-4, atol=1e-5)
    other = anchors_to_cloud(anchors, centers[1:])
    opacities = {}
    for key, cloud in (("both", both), ("first", once), ("second", other)):
        opacities[key] = {tuple(m.tolist()): float(o) for m, o in zip(cloud.means, cloud.opacity_logits.sigmoid())}
    shared = [m for m in opacities["first"] if m in opacities["second"]]
    assert shared
    for mean in shared:
        expected = (opacities["first"][mean] + opacities["second"][mean]) / 2
        assert opacities["both"][mean] == pytest.approx(expected, rel=1e-4)
    assert set(opacities["both"]) <= set(opacities["first"]) | set(opacities["second"])
    torch.testing.assert_close(both.quats.norm(dim=1), torch.ones(both.num_gaussians))
    assert anchors_to_cloud(anchors).num_gaussians > 0


def test_export_takes_a_quaternion_and_its_negative_for_the_same_rotation() -> None:
    """The real part is the sign of the view's direction along x, seen here from both sides."""
    heads = AnchorHeads(DIM, 1, hidden_dim=2)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.zero_()
        linear(heads.opacity, 2).bias[:] = 1.0
        linear(heads.covariance, 0).weight[:, DIM] = torch.tensor([1.0, -1.0])
        linear(heads.covariance, 2).weight[3] = torch.tensor([1.0, -1.0])
    attributes = AnchorAttributes(torch.zeros(1, DIM), torch.ones(1, 6), torch.zeros(1, 1, 3))
    anchors = FixedAnchors(torch.zeros(1, 3), attributes, heads, torch.tensor([[5.0, 0.0, 0.0], [-5.0, 0.0, 0.0]]))
    assert anchors_to_cloud(anchors).quats.abs().tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_viewpoints_are_distinct_and_far_apart() -> None:
    scene = ball_scene(12)
    chosen = viewpoints(scene, 4)
    centers = np.stack([view.camera.center for view in scene.split("train")])
    assert chosen.shape == (4, 3)
    assert all(np.abs(centers - point.numpy()).sum(axis=1).min() < 1e-5 for point in chosen)
    distances = torch.cdist(chosen, chosen) + 99 * torch.eye(4)
    assert distances.min() > 3.0  # a ring of radius 4 has neighbours 2.1 apart
    assert viewpoints(scene, 100).shape == (8, 3)
