"""The hash grid: sizes of HAC, interpolation by hand, and the integer form against the float form."""

from __future__ import annotations

import pytest
import torch

from hemgs.anchor_codec.hash_grid import BinaryHashGrid, Sign, fixed_features, interpolate, rows_of, used_rows
from hemgs.anchor_codec.settings import HashGridSettings
from hemgs.coding.fixed_point import ACTIVATION_BITS

SMALL = HashGridSettings((5, 9, 21), (11, 40), 9, 10, 2)


def test_default_sizes_are_hac_s() -> None:
    settings = HashGridSettings()
    # Published: 1,766,272 bits and 96 outputs; 5,832 + 11 * 8,192 and 16,904 + 3 * 32,768 entries.
    assert settings.num_entries * settings.features == 1_766_272
    assert settings.output_dim == 96
    assert sum(level.entries for level in settings.levels[:12]) == 5_832 + 11 * 8_192
    assert sum(level.entries for level in settings.levels[12:16]) == 16_904 + 3 * 32_768


def test_levels_fill_the_table_without_gaps() -> None:
    start = 0
    for level in SMALL.levels:
        assert level.start == start
        start += level.entries
        corner = torch.arange(level.resolution)
        rows = rows_of(level, tuple(torch.meshgrid(*[corner] * len(level.axes), indexing="ij")))
        assert rows.min() >= level.start
        assert rows.max() < level.start + level.entries
        if level.dense:
            assert rows.unique().numel() == level.resolution ** len(level.axes)
    assert start == SMALL.num_entries


def test_dense_index_has_x_fastest() -> None:
    level = SMALL.levels[0]
    assert level.dense
    vertex = (torch.tensor([1]), torch.tensor([2]), torch.tensor([3]))
    assert rows_of(level, vertex).item() == 1 + 2 * 5 + 3 * 25


def test_hashed_index_is_the_exclusive_or_of_primes() -> None:
    level = SMALL.levels[2]
    assert not level.dense
    vertex = (torch.tensor([7]), torch.tensor([11]), torch.tensor([13]))
    expected = (7 ^ (11 * 2654435761) ^ (13 * 805459861)) % 512
    assert rows_of(level, vertex).item() - level.start == expected


def test_interpolation_at_a_vertex_and_between_two() -> None:
    settings = HashGridSettings((4,), (), 6, 3, 1)
    signs = torch.ones(settings.num_entries, 1)
    signs[rows_of(settings.levels[0], (torch.tensor([1]), torch.tensor([0]), torch.tensor([0])))] = -1.0
    # Position p * (R - 2) + 1/2: p = 1/4 on x is vertex 1, p = 0 is half way between vertices 0 and 1.
    at_vertex = interpolate(settings, signs, torch.tensor([[0.25, 0.0, 0.0]]))
    assert at_vertex.item() == pytest.approx(1 - 2 * 0.25)  # half way in y and z: a quarter of the weight
    between = interpolate(settings, signs, torch.tensor([[0.0, 0.0, 0.0]]))
    assert between.item() == pytest.approx(1 - 2 * 0.125)


def test_sign_passes_gradients_only_near_zero() -> None:
    values = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
    signs = Sign.apply(values)
    assert signs.tolist() == [-1, -1, 1, 1, 1]
    signs.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("settings", [SMALL, HashGridSettings((18, 33), (), 13, 15, 4)])
def test_integer_features_follow_the_float_ones(settings: HashGridSettings) -> None:
    torch.manual_seed(0)
    grid = BinaryHashGrid(settings)
    torch.nn.init.uniform_(grid.table, -1, 1)
    low, high = torch.tensor([-40, 3, 7]), torch.tensor([900, 777, 30_000])
    coords = torch.stack([torch.randint(int(a), int(b) + 1, (500,)) for a, b in zip(low, high, strict=True)], dim=1)
    exact = fixed_features(settings, grid.signs(), coords, low, high) / (1 << ACTIVATION_BITS)
    points = ((coords - low).double() / (high - low)).float()
    # One unit of 1/256 in each of three weights moves a sum of eight signs by at most this.
    assert (exact - grid(points)).abs().max() < 2 * 3 / 256 + 1 / 256


def test_integer_features_do_not_depend_on_batches_or_outliers() -> None:
    torch.manual_seed(1)
    signs = torch.randint(0, 2, (SMALL.num_entries, 2), dtype=torch.int8) * 2 - 1
    coords = torch.randint(-100, 400, (257, 3))
    low, high = torch.tensor([0, 0, 0]), torch.tensor([255, 199, 99])
    whole = fixed_features(SMALL, signs, coords, low, high)
    parts = torch.cat([fixed_features(SMALL, signs, coords[i : i + 1], low, high) for i in range(len(coords))])
    assert torch.equal(whole, parts)
    clamped = torch.minimum(coords.clamp(min=0), high)
    assert torch.equal(whole, fixed_features(SMALL, signs, clamped, low, high))
    assert torch.equal(whole, whole.round())


def test_bits_are_the_entropy_of_each_level() -> None:
    grid = BinaryHashGrid(HashGridSettings((4,), (), 6, 3, 2))
    with torch.no_grad():
        grid.table.fill_(0.5)
        grid.table.view(-1)[:32] = -0.5
    # 32 of 128 signs are negative.
    expected = 128 * -(0.25 * torch.log2(torch.tensor(0.25)) + 0.75 * torch.log2(torch.tensor(0.75)))
    assert grid.bits().item() == pytest.approx(expected.item(), rel=1e-6)


def test_features_depend_on_the_used_rows_and_on_all_of_them() -> None:
    torch.manual_seed(2)
    signs = torch.randint(0, 2, (SMALL.num_entries, 2), dtype=torch.int8) * 2 - 1
    coords, low, high = torch.randint(0, 60, (40, 3)), torch.tensor([0, 0, 0]), torch.tensor([255, 199, 99])
    used = used_rows(SMALL, coords, low, high)
    assert 0 < int(used.sum()) < SMALL.num_entries
    features = fixed_features(SMALL, signs, coords, low, high)
    others = torch.where(used.unsqueeze(1), signs, -signs)
    assert torch.equal(fixed_features(SMALL, others, coords, low, high), features)
    # A corner's weight may be zero, if an anchor lies on the border of its cell: few do.
    without_effect = 0
    for row in torch.nonzero(used).flatten().tolist():
        others = signs.clone()
        others[row] *= -1
        without_effect += int(torch.equal(fixed_features(SMALL, others, coords, low, high), features))
    assert without_effect < 0.02 * int(used.sum())
