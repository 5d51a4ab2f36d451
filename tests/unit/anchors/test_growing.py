"""Growing and pruning against plain loops over anchors, offsets and levels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hemgs.anchors.growing import GrowthStatistics, NewAnchors, grow, prune
from hemgs.anchors.heads import AnchorHeads, SpawnedGaussians
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.params import AnchorParams, GrowthSettings

SETTINGS = AnchorParams().growth
VOXEL, DIM, OFFSETS = 0.5, 4, 2


def model(num: int = 40, seed: int = 0) -> AnchorModel:
    generator = torch.Generator().manual_seed(seed)
    coords = torch.unique(torch.randint(-40, 40, (num, 3), generator=generator), dim=0)
    anchors = AnchorModel.initial(coords, VOXEL, torch.zeros(len(coords)), AnchorHeads(DIM, OFFSETS))
    with torch.no_grad():
        anchors.features.copy_(torch.randn(anchors.features.shape, generator=generator))
        anchors.offsets.copy_(2.0 * torch.randn(anchors.offsets.shape, generator=generator))
        anchors.log_scalings.copy_(torch.randn(anchors.log_scalings.shape, generator=generator))
    return anchors


def statistics(anchors: AnchorModel, mean: float = 6e-4, seen: float = 50.0) -> GrowthStatistics:
    stats = GrowthStatistics.zeros(anchors.num_anchors, OFFSETS, "cpu")
    generator = torch.Generator().manual_seed(5)
    stats.gradient_count += seen
    stats.gradient_sum += seen * 2 * mean * torch.rand(stats.gradient_sum.shape, generator=generator)
    return stats


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def expected(anchors: AnchorModel, stats: GrowthStatistics, settings: GrowthSettings) -> dict[tuple[int, ...], list]:
    """Cell coordinates to [level's cell size, features], by the definition."""
    draws, found = generator(), dict[tuple[int, ...], list]()
    for level, cell in enumerate((16, 4, 1) if settings.factor == 16 else (4, 1)):
        if level > 0 and not found:
            break
        draw = torch.rand(anchors.num_anchors * OFFSETS, generator=draws)
        taken = [tuple(c) for c in anchors.coords.tolist()] + list(found)
        taken_cells = {tuple(round(x / cell) for x in c) for c in taken}
        new: dict[tuple[int, ...], list] = {}
        for anchor in range(anchors.num_anchors):
            for slot in range(OFFSETS):
                count = float(stats.gradient_count[anchor, slot])
                if not count > settings.interval * settings.success * 0.5:
                    continue
                if float(stats.gradient_sum[anchor, slot] / count) < settings.threshold * 2**level:
                    continue
                if float(draw[anchor * OFFSETS + slot]) <= 0.5 ** (level + 1):
                    continue
                scaling = anchors.log_scalings[anchor, :3].exp()
                center = (anchors.positions[anchor] + anchors.offsets[anchor, slot] * scaling).tolist()
                where = tuple(round(x / (VOXEL * cell)) for x in center)
                if where in taken_cells:
                    continue
                key = tuple(w * cell for w in where)
                features = anchors.features[anchor].tolist()
                old = new.get(key, [cell, features])[1]
                new[key] = [cell, [max(a, b) for a, b in zip(old, features, strict=True)]]
        found |= new
    return found


@pytest.mark.parametrize("factor", [16, 4])
def test_new_anchors_follow_the_definition(factor: int) -> None:
    settings = replace(SETTINGS, factor=factor)
    anchors = model()
    stats = statistics(anchors)
    stats.gradient_count[::3] = 40.0  # at the limit: not eligible
    want = expected(anchors, stats, settings)
    new = grow(anchors, stats, settings, generator())
    got = {
        tuple(coords): [math.exp(scale) / VOXEL, features]
        for coords, scale, features in zip(
            new.coords.tolist(), new.rows["log_scalings"][:, 5].tolist(), new.rows["features"].tolist(), strict=True
        )
    }
    assert got.keys() == want.keys()
    assert {cell for cell, _ in want.values()} == ({16, 4, 1} if factor == 16 else {4, 1})
    for key, (cell, features) in want.items():
        assert got[key][0] == pytest.approx(cell)
        assert got[key][1] == pytest.approx(features)
    assert bool((new.rows["offsets"] == 0).all())
    assert bool((new.rows["mask_logits"] == 1).all())


def test_no_two_anchors_share_a_lattice_point() -> None:
    anchors = model(400)
    new = grow(anchors, statistics(anchors), SETTINGS, generator())
    together = torch.cat([anchors.coords, new.coords])
    assert new.num_anchors > 50
    assert len(torch.unique(together, dim=0)) == len(together)


def test_only_judged_offsets_start_again() -> None:
    anchors = model()
    stats = statistics(anchors)
    stats.gradient_count[0] = 40.0
    stats.gradient_count[1] = 40.5
    before = stats.gradient_sum[0].clone()
    grow(anchors, stats, SETTINGS, generator())
    assert torch.equal(stats.gradient_sum[0], before)
    assert stats.gradient_count[0].tolist() == [40.0] * OFFSETS
    assert not stats.gradient_sum[1:].any()
    assert not stats.gradient_count[1:].any()


def test_finer_levels_need_a_coarse_one() -> None:
    """One Gaussian inside its own anchor's coarse cell but outside its finest: nothing may grow."""
    anchors = AnchorModel.initial(torch.zeros(1, 3, dtype=torch.int64), VOXEL, torch.zeros(1), AnchorHeads(DIM, 1))
    with torch.no_grad():
        anchors.offsets[:] = 3.0 * VOXEL
    for draw in range(20):
        stats = GrowthStatistics.zeros(1, 1, "cpu")
        stats.gradient_count += 100.0
        stats.gradient_sum += 1.0
        assert grow(anchors, stats, SETTINGS, torch.Generator().manual_seed(draw)).num_anchors == 0


def test_the_cap_keeps_the_strongest() -> None:
    anchors = model(400)
    free = grow(anchors, statistics(anchors), SETTINGS, generator())
    coarse = int((free.rows["log_scalings"][:, 0].exp() > 15 * VOXEL).sum())
    capped_settings = replace(SETTINGS, max_anchors=anchors.num_anchors + 5)
    stats = statistics(anchors)
    means = (stats.gradient_sum / stats.gradient_count).flatten()
    capped = grow(anchors, stats, capped_settings, generator())
    assert capped.num_anchors == 5 < coarse

    def strength(new: NewAnchors) -> list[float]:
        """Greatest mean gradient among all offsets whose centre lies in the cell; an upper bound per cell."""
        scaling = anchors.log_scalings[:, None, :3].exp()
        cells = torch.round((anchors.positions[:, None] + anchors.offsets * scaling).view(-1, 3) / (16 * VOXEL)) * 16
        return [float(means[(cells == coords).all(dim=1)].max()) for coords in new.coords]

    everyone = sorted(strength(NewAnchors(free.coords[:coarse], {})))
    assert min(strength(capped)) >= everyone[-coarse // 2]
    full = replace(SETTINGS, max_anchors=anchors.num_anchors)
    assert grow(anchors, statistics(anchors), full, generator()).num_anchors == 0


def test_pruning_takes_the_often_seen_and_transparent() -> None:
    stats = GrowthStatistics.zeros(4, OFFSETS, "cpu")
    stats.visits[:] = torch.tensor([81.0, 80.0, 81.0, 200.0])
    stats.opacity_sum[:] = torch.tensor([0.40, 0.0, 0.41, 2.0])
    assert prune(stats, SETTINGS).tolist() == [False, True, True, True]
    assert stats.visits.tolist() == [0.0, 80.0, 0.0, 0.0]
    assert stats.opacity_sum.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_statistics_add_up_views() -> None:
    stats = GrowthStatistics.zeros(5, OFFSETS, "cpu")
    empty = torch.empty(0)
    spawned = SpawnedGaussians(
        empty,
        empty,
        empty,
        empty,
        empty,
        parent=torch.tensor([0, 1, 1]),
        slot=torch.tensor([1, 0, 1]),
        opacity_all=torch.tensor([[-0.5, 0.25], [0.5, 0.75]]),
    )
    for _ in range(2):
        on_screen = torch.tensor([True, False, True])
        stats.record(torch.tensor([1, 4]), spawned, on_screen, torch.tensor([1.0, 2.0, 3.0]))
    assert stats.opacity_sum.tolist() == [0, 0.5, 0, 0, 2.5]
    assert stats.visits.tolist() == [0, 2, 0, 0, 2]
    assert stats.gradient_sum.tolist() == [[0, 0], [0, 2], [0, 0], [0, 0], [0, 6]]
    assert stats.gradient_count.tolist() == [[0, 0], [0, 2], [0, 0], [0, 0], [0, 2]]
    stats.append(1)
    stats.keep(torch.tensor([False, True, False, False, True, True]))
    assert stats.visits.tolist() == [2, 2, 0]
    assert stats.gradient_sum.tolist() == [[0, 2], [0, 6], [0, 0]]
    again = GrowthStatistics.restored(stats.state(), "cpu")
    assert again.gradient_sum.tolist() == stats.gradient_sum.tolist()
