from __future__ import annotations

import math

import pytest
import torch

from hemgs.core.errors import TrainingError
from hemgs.splats.densify import DensitySettings, GradientStatistics, grow, prune, reset_opacities, rotated
from hemgs.training.rows import RowParameters

EXTENT = 2.0  # Gaussians up to 0.02 are cloned, larger ones split, above 0.2 pruned as too large
SETTINGS = DensitySettings()


def make_rows(scales: list[float]) -> RowParameters:
    num = len(scales)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "means": torch.rand(num, 3, generator=generator),
        "log_scales": torch.tensor(scales).log()[:, None].repeat(1, 3),
        "quats": torch.randn(num, 4, generator=generator),
        "opacity_logits": torch.zeros(num),
        "label": torch.arange(float(num)),
    }
    rows = RowParameters(tensors, dict.fromkeys(tensors, 0.01))
    for name in tensors:
        rows[name].grad = torch.ones_like(rows[name])
    rows.step()
    return rows


def test_small_ones_are_cloned_in_place_and_large_ones_split() -> None:
    rows = make_rows([0.01, 0.01, 0.1, 0.1])
    before = {name: rows[name].detach().clone() for name in rows.names}
    counts = grow(rows, torch.tensor([1e-3, 1e-5, 1e-3, 1e-5]), SETTINGS, EXTENT)
    assert counts == (1, 1)
    # Kept: 0, 1, 3; then the clone of 0 and two children of 2.
    assert rows.num_rows == 6
    origin = [0, 1, 3, 0, 2, 2]
    for name in ("quats", "opacity_logits", "label"):
        assert torch.equal(rows[name], before[name][origin]), name
    assert torch.equal(rows["means"][:4], before["means"][origin[:4]])
    assert torch.equal(rows["log_scales"][:4], before["log_scales"][origin[:4]])
    torch.testing.assert_close(rows["log_scales"][4:], before["log_scales"][[2, 2]] - math.log(1.6))
    assert not torch.equal(rows["means"][4], rows["means"][5])
    assert not torch.equal(rows["means"][4], before["means"][2])


def test_new_rows_start_with_zero_moments() -> None:
    rows = make_rows([0.01, 0.1])
    grow(rows, torch.tensor([1.0, 0.0]), SETTINGS, EXTENT)
    moments = rows.state()["means.exp_avg"]
    assert moments[:2].abs().min() > 0 and not moments[2:].any()


@pytest.mark.parametrize("gradient, grows", [(1.99e-4, False), (2.01e-4, True)])
def test_threshold(gradient: float, grows: bool) -> None:
    assert (sum(grow(make_rows([0.01]), torch.tensor([gradient]), SETTINGS, EXTENT)) == 1) is grows


@pytest.mark.parametrize("scale, kind", [(0.0195, (1, 0)), (0.0205, (0, 1))])
def test_size_decides_between_clone_and_split(scale: float, kind: tuple[int, int]) -> None:
    rows = make_rows([scale])
    rows.replace("log_scales", torch.tensor([[scale, 1e-3, 1e-3]]).log())
    assert grow(rows, torch.ones(1), SETTINGS, EXTENT) == kind


def test_children_are_drawn_from_their_parent() -> None:
    torch.manual_seed(0)
    num = 4000
    quat = torch.tensor([math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4)])  # x becomes y
    rows = RowParameters(
        {
            "means": torch.tensor([[1.0, 2.0, 3.0]]).repeat(num, 1),
            "log_scales": torch.tensor([[0.4, 0.1, 0.05]]).log().repeat(num, 1),
            "quats": 3.0 * quat.repeat(num, 1),
        },
        {"means": 0.0, "log_scales": 0.0, "quats": 0.0},
    )
    assert grow(rows, torch.ones(num), SETTINGS, EXTENT) == (0, num)
    offsets = rows["means"].detach() - torch.tensor([1.0, 2.0, 3.0])
    assert offsets.mean(dim=0).abs().max() < 0.02
    torch.testing.assert_close(offsets.std(dim=0), torch.tensor([0.1, 0.4, 0.05]), rtol=0.05, atol=0)


def test_the_limit_lets_the_largest_gradients_grow_first() -> None:
    rows = make_rows([0.01, 0.1, 0.01, 0.1, 0.01])
    gradients = torch.tensor([0.3, 0.5, 0.1, 0.4, 0.2])
    assert grow(rows, gradients, DensitySettings(max_gaussians=7), EXTENT) == (0, 2)
    assert rows.num_rows == 7
    assert rows["label"].tolist() == pytest.approx([-0.01, 1.99, 3.99, 0.99, 2.99, 0.99, 2.99])
    assert grow(rows, torch.ones(7), DensitySettings(max_gaussians=7), EXTENT) == (0, 0)
    assert grow(rows, torch.ones(7), DensitySettings(max_gaussians=3), EXTENT) == (0, 0)
    assert rows.num_rows == 7


def test_nothing_to_do_changes_nothing() -> None:
    rows = make_rows([0.01, 0.1])
    before = rows["means"]
    assert grow(rows, torch.zeros(2), SETTINGS, EXTENT) == (0, 0)
    assert prune(rows, torch.ones(2), SETTINGS, EXTENT, large=True) == 0
    assert rows["means"] is before


def test_pruning_by_opacity_and_size() -> None:
    rows = make_rows([0.1, 0.1, 0.19, 0.21])
    assert prune(rows, torch.tensor([0.0049, 0.0051, 1.0, 1.0]), SETTINGS, EXTENT, large=False) == 1
    assert prune(rows, torch.ones(3), SETTINGS, EXTENT, large=True) == 1
    assert rows["label"].tolist() == pytest.approx([0.99, 1.99])


def test_pruning_everything_is_an_error() -> None:
    with pytest.raises(TrainingError, match="all 2 primitives"):
        prune(make_rows([0.1, 0.1]), torch.zeros(2), SETTINGS, EXTENT, large=False)


def test_reset_lowers_opacities_to_a_hundredth_and_forgets_moments() -> None:
    rows = make_rows([0.1, 0.1])
    rows.replace("opacity_logits", torch.tensor([2.0, -6.0]))
    reset_opacities(rows)
    assert torch.sigmoid(rows["opacity_logits"]).tolist() == pytest.approx([0.01, 1 / (1 + math.exp(6.0))])
    assert not rows.state()["opacity_logits.exp_avg_sq"].any()


def test_statistics_are_means_over_the_views_that_saw_a_gaussian() -> None:
    statistics = GradientStatistics(3, torch.device("cpu"))
    statistics.add(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([True, True, False]))
    statistics.add(torch.tensor([3.0, 7.0, 9.0]), torch.tensor([True, False, False]))
    assert statistics.mean().tolist() == [2.0, 5.0, 0.0]


def test_rotation_agrees_with_the_matrix() -> None:
    torch.manual_seed(0)
    quats, vectors = torch.randn(50, 4, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(dim=1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    matrices = torch.stack(rows, dim=1)
    torch.testing.assert_close(rotated(quats, vectors), (matrices @ vectors[:, :, None])[:, :, 0])
