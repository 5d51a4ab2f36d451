"""Spawning of Gaussians against a plain loop over anchors and offsets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads, spawn_gaussians
from hemgs.anchors.model import AnchorModel
from hemgs.core.errors import TrainingError

NUM, DIM, OFFSETS = 7, 5, 3
CENTER = torch.tensor([0.3, -2.0, 0.5])


def attributes(masks: torch.Tensor | None = None) -> AnchorAttributes:
    generator = torch.Generator().manual_seed(1)
    return AnchorAttributes(
        torch.randn(NUM, DIM, generator=generator),
        torch.rand(NUM, 6, generator=generator) + 0.1,
        torch.randn(NUM, OFFSETS, 3, generator=generator),
        masks,
    )


@pytest.fixture
def heads() -> AnchorHeads:
    torch.manual_seed(0)
    return AnchorHeads(DIM, OFFSETS, hidden_dim=8)


@pytest.fixture
def positions() -> torch.Tensor:
    return torch.randn(NUM, 3, generator=torch.Generator().manual_seed(2))


def test_published_size_of_the_networks() -> None:
    """3,260 + 6,320 + 4,280 parameters at D = 50, K = 10, as in HAC (arXiv 2403.14530)."""
    sizes = [sum(p.numel() for p in net.parameters()) for net in AnchorHeads(50, 10).children()]
    assert sizes == [3260, 6320, 4280]


def test_spawned_gaussians_follow_the_definition(heads: AnchorHeads, positions: torch.Tensor) -> None:
    values = attributes()
    spawned = spawn_gaussians(heads, positions, values, CENTER)
    found = {(int(p), int(s)): g for g, (p, s) in enumerate(zip(spawned.parent, spawned.slot, strict=True))}
    num_on = 0
    for anchor in range(NUM):
        ray = positions[anchor] - CENTER
        inputs = torch.cat([values.features[anchor], ray / ray.norm(), ray.norm()[None]])[None]
        opacity = torch.tanh(heads.opacity(inputs))[0]
        shape = heads.covariance(inputs)[0].view(OFFSETS, 7)
        color = torch.sigmoid(heads.color(inputs))[0].view(OFFSETS, 3)
        for slot in range(OFFSETS):
            assert ((anchor, slot) in found) == bool(opacity[slot] > 0)
            if opacity[slot] <= 0:
                continue
            num_on += 1
            g = found[anchor, slot]
            scaling = values.scalings[anchor]
            torch.testing.assert_close(spawned.means[g], positions[anchor] + values.offsets[anchor, slot] * scaling[:3])
            torch.testing.assert_close(spawned.scales[g], scaling[3:] * torch.sigmoid(shape[slot, :3]))
            torch.testing.assert_close(spawned.quats[g], shape[slot, 3:] / shape[slot, 3:].norm())
            torch.testing.assert_close(spawned.opacities[g], opacity[slot])
            torch.testing.assert_close(spawned.colors[g], color[slot])
    assert 0 < num_on < NUM * OFFSETS
    assert spawned.num_gaussians == num_on


def test_masked_slots_spawn_nothing_and_masks_get_gradients(heads: AnchorHeads, positions: torch.Tensor) -> None:
    masks = torch.ones(NUM, OFFSETS)
    masks[2] = 0.0
    masks.requires_grad_(True)
    spawned = spawn_gaussians(heads, positions, attributes(masks), CENTER)
    plain = spawn_gaussians(heads, positions, attributes(), CENTER)
    assert 2 not in spawned.parent
    assert 2 in plain.parent
    assert torch.equal(spawned.opacity_all[2], torch.zeros(OFFSETS))
    spawned.opacities.sum().backward()
    assert masks.grad is not None
    expected = torch.where(spawned.opacity_all > 0, plain.opacity_all, 0.0)
    torch.testing.assert_close(masks.grad, expected.detach())


def test_masks_that_scale_leave_gaussians_with_nothing_to_show(heads: AnchorHeads, positions: torch.Tensor) -> None:
    """Masked Gaussians are still spawned, without opacity and extent; all others do not change."""
    masks = torch.ones(NUM, OFFSETS)
    masks[2], masks[4, 1] = 0.0, 0.0
    masks.requires_grad_(True)
    scaled = spawn_gaussians(heads, positions, replace(attributes(masks), masks_scale=True), CENTER)
    plain = spawn_gaussians(heads, positions, attributes(), CENTER)
    assert torch.equal(scaled.parent, plain.parent) and torch.equal(scaled.slot, plain.slot)
    kept = masks.detach()[plain.parent, plain.slot]
    assert 0 < (kept == 0).sum() < len(kept)
    assert torch.equal(scaled.opacities, plain.opacities * kept)
    assert torch.equal(scaled.scales, plain.scales * kept[:, None])
    scaled.scales.sum().backward()
    assert masks.grad is not None
    torch.testing.assert_close(masks.grad[plain.parent, plain.slot], plain.scales.sum(dim=1).detach())


def test_selections_and_copies_keep_how_masks_act() -> None:
    scaled = replace(attributes(torch.ones(NUM, OFFSETS)), masks_scale=True)
    assert scaled.select(torch.tensor([1, 3])).masks_scale and scaled.to("cpu").masks_scale


def test_an_anchor_at_the_camera_is_finite(heads: AnchorHeads) -> None:
    spawned = spawn_gaussians(heads, CENTER.repeat(NUM, 1), attributes(), CENTER)
    assert torch.isfinite(spawned.opacity_all).all()


def test_model_survives_its_bundle_and_new_rows_are_shared() -> None:
    model = AnchorModel.initial(torch.arange(6).view(2, 3), 0.25, torch.tensor([-1.0, -2.0]), AnchorHeads(4, 2, 6))
    assert model.log_scalings[1].tolist() == [-2.0] * 6
    assert model.positions[1].tolist() == [0.75, 1.0, 1.25]
    again = AnchorModel.from_bundle(model.to_bundle())
    assert again.voxel_size == 0.25
    assert again.heads.hidden_dim == 6
    for name, tensor in model.to_bundle().tensors.items():
        assert torch.equal(again.to_bundle().tensors[name], tensor)
    rows = {name: getattr(model, name).detach().clone().requires_grad_(True) for name in ("features", "offsets")}
    rows |= {"log_scalings": model.log_scalings.detach(), "mask_logits": model.mask_logits}
    model.set_rows(model.coords, rows)
    assert model.features is rows["features"]
    assert model.log_scalings.requires_grad
    torch.testing.assert_close(model.attributes(torch.tensor([1])).scalings, torch.full((1, 6), -2.0).exp())


def test_latents_are_rows_where_there_are_any() -> None:
    coords, scales = torch.arange(6).view(2, 3), torch.tensor([-1.0, -2.0])
    plain = AnchorModel.initial(coords, 0.25, scales, AnchorHeads(4, 2))
    assert plain.latents.shape == (2, 0)
    assert "latents" not in plain.to_bundle().tensors and "latents" not in plain.row_names
    model = AnchorModel.initial(coords, 0.25, scales, AnchorHeads(4, 2), latent_dim=3)
    assert torch.equal(model.latents.detach(), torch.zeros(2, 3)) and model.latents.requires_grad
    with torch.no_grad():
        model.latents += 1.5
    assert torch.equal(AnchorModel.from_bundle(model.to_bundle()).latents, model.latents)
    with pytest.raises(TrainingError, match="latents have shape"):
        model.set_rows(coords, {**model.to_bundle().tensors, "latents": torch.zeros(3, 3)})


def test_rows_of_the_wrong_shape_and_foreign_bundles_are_errors() -> None:
    model = AnchorModel.initial(torch.zeros(2, 3, dtype=torch.int64), 1.0, torch.zeros(2), AnchorHeads(4, 2))
    bundle = model.to_bundle()
    with pytest.raises(TrainingError, match="offsets have shape"):
        model.set_rows(model.coords, {**bundle.tensors, "offsets": torch.zeros(2, 3, 3)})
    del bundle.meta["voxel_size"]
    with pytest.raises(TrainingError, match="not an anchor model"):
        AnchorModel.from_bundle(bundle)
