from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hemgs.core.errors import TrainingError
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.densify import GradientStatistics, grow, prune, rotated
from hemgs.splats.model import SplatModel
from hemgs.splats.params import SplatParams
from hemgs.training.rows import RowParameters

EXTENT = 2.0  # Gaussians up to 0.02 are cloned, larger ones split, above 0.2 pruned as too large
SETTINGS = SplatParams()


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
    descend(rows)
    return rows


def descend(rows: RowParameters) -> None:
    for name in rows.names:
        rows[name].grad = torch.ones_like(rows[name])
    rows.step()


def cloud_of(rows: RowParameters) -> GaussianCloud:
    """Gaussians of rows that are stored as 3DGS stores them; opaque where the rows have no opacities."""
    logits = rows["opacity_logits"] if "opacity_logits" in rows.names else torch.full((rows.num_rows,), 9.0)
    values = (rows["means"], rows["log_scales"], rows["quats"], logits, torch.zeros(rows.num_rows, 1, 3))
    return GaussianCloud(*(tensor.detach() for tensor in values))


def grown(rows: RowParameters, gradients: torch.Tensor, settings: SplatParams, extent: float) -> tuple[int, int]:
    return grow(rows, cloud_of(rows), gradients, settings, extent)


def opaque(rows: RowParameters, *opacities: float) -> GaussianCloud:
    """The rows' Gaussians with these opacities."""
    return replace(cloud_of(rows), opacity_logits=torch.logit(torch.tensor(opacities)))


def test_small_ones_are_cloned_in_place_and_large_ones_split() -> None:
    rows = make_rows([0.01, 0.01, 0.1, 0.1])
    before = {name: rows[name].detach().clone() for name in rows.names}
    counts = grown(rows, torch.tensor([1e-3, 1e-5, 1e-3, 1e-5]), SETTINGS, EXTENT)
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
    grown(rows, torch.tensor([1.0, 0.0]), SETTINGS, EXTENT)
    moments = rows.state()["means.exp_avg"]
    assert moments[:2].abs().min() > 0 and not moments[2:].any()


@pytest.mark.parametrize("gradient, grows", [(1.99e-4, False), (2.01e-4, True)])
def test_threshold(gradient: float, grows: bool) -> None:
    assert (sum(grown(make_rows([0.01]), torch.tensor([gradient]), SETTINGS, EXTENT)) == 1) is grows


@pytest.mark.parametrize("scale, kind", [(0.0195, (1, 0)), (0.0205, (0, 1))])
def test_size_decides_between_clone_and_split(scale: float, kind: tuple[int, int]) -> None:
    rows = make_rows([scale])
    rows.replace("log_scales", torch.tensor([[scale, 1e-3, 1e-3]]).log())
    assert grown(rows, torch.ones(1), SETTINGS, EXTENT) == kind


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
    assert grown(rows, torch.ones(num), SETTINGS, EXTENT) == (0, num)
    offsets = rows["means"].detach() - torch.tensor([1.0, 2.0, 3.0])
    assert offsets.mean(dim=0).abs().max() < 0.02
    torch.testing.assert_close(offsets.std(dim=0), torch.tensor([0.1, 0.4, 0.05]), rtol=0.05, atol=0)


def test_the_limit_lets_the_largest_gradients_grow_first() -> None:
    rows = make_rows([0.01, 0.1, 0.01, 0.1, 0.01])
    gradients = torch.tensor([0.3, 0.5, 0.1, 0.4, 0.2])
    assert grown(rows, gradients, SplatParams(max_gaussians=7), EXTENT) == (0, 2)
    assert rows.num_rows == 7
    assert rows["label"].tolist() == pytest.approx([-0.01, 1.99, 3.99, 0.99, 2.99, 0.99, 2.99])
    assert grown(rows, torch.ones(7), SplatParams(max_gaussians=7), EXTENT) == (0, 0)
    assert grown(rows, torch.ones(7), SplatParams(max_gaussians=3), EXTENT) == (0, 0)
    assert rows.num_rows == 7


def test_nothing_to_do_changes_nothing() -> None:
    rows = make_rows([0.01, 0.1])
    before = rows["means"]
    assert grown(rows, torch.zeros(2), SETTINGS, EXTENT) == (0, 0)
    assert prune(rows, opaque(rows, 1.0, 1.0), SETTINGS, EXTENT, large=True) == 0
    assert rows["means"] is before


def test_pruning_by_opacity_and_size() -> None:
    rows = make_rows([0.1, 0.1, 0.19, 0.21])
    assert prune(rows, opaque(rows, 0.0049, 0.0051, 1.0, 1.0), SETTINGS, EXTENT, large=False) == 1
    assert prune(rows, opaque(rows, 1.0, 1.0, 1.0), SETTINGS, EXTENT, large=True) == 1
    assert rows["label"].tolist() == pytest.approx([0.99, 1.99])
    assert prune(rows, cloud_of(rows), SETTINGS, EXTENT, large=False, others=torch.tensor([True, False])) == 1
    assert rows["label"].tolist() == pytest.approx([1.99])


def test_children_of_gaussians_that_are_stored_in_another_form_lie_where_they_should() -> None:
    rows, plain = make_rows([0.1, 0.1]), make_rows([0.1, 0.1])
    cloud = cloud_of(rows)
    rows.replace("means", 10.0 * cloud.means)
    torch.manual_seed(1)
    grow(rows, cloud, torch.ones(2), SETTINGS, EXTENT, lambda means: 10.0 * means)
    torch.manual_seed(1)
    grown(plain, torch.ones(2), SETTINGS, EXTENT)
    torch.testing.assert_close(rows["means"], 10.0 * plain["means"])


def test_pruning_everything_is_an_error() -> None:
    with pytest.raises(TrainingError, match="all 2 primitives"):
        rows = make_rows([0.1, 0.1])
        prune(rows, opaque(rows, 0.001, 0.001), SETTINGS, EXTENT, large=False)


def test_reset_lowers_opacities_to_a_hundredth_and_forgets_moments() -> None:
    rows = make_rows([0.1, 0.1])
    rows.replace("opacity_logits", torch.tensor([2.0, -6.0]))
    descend(rows)
    SplatModel(SETTINGS).reset_opacities(rows)
    assert torch.sigmoid(rows["opacity_logits"]).tolist() == pytest.approx([0.01, 1 / (1 + math.exp(6.0))], rel=0.02)
    assert not rows.state()["opacity_logits.exp_avg_sq"].any()


def test_statistics_are_means_over_the_views_that_saw_a_gaussian() -> None:
    rows = make_rows([0.1, 0.1, 0.1])
    statistics = GradientStatistics(rows)
    statistics.add(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([True, True, False]))
    statistics.add(torch.tensor([3.0, 7.0, 9.0]), torch.tensor([True, False, False]))
    assert statistics.mean().tolist() == [2.0, 5.0, 0.0]
    rows.keep(torch.tensor([2, 0]))
    assert statistics.mean().tolist() == [0.0, 2.0]
    statistics.reset()
    assert statistics.mean().tolist() == [0.0, 0.0]


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
