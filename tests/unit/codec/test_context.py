"""The autoregressive network: its inputs of a pair, its integer form, and its independence of batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hemgs.codec.context import PAIR_INPUTS, ContextNetwork, ContextTable, FixedContext, Memory, Pairs, Seen
from hemgs.codec.neighbours import find_neighbours
from hemgs.codec.settings import ContextWindow
from hemgs.coding.fixed_point import ACTIVATION_BITS

ONE = 1 << ACTIVATION_BITS
CHANNELS, WIDTH, MOST = 5, 7, 20
WINDOW = ContextWindow(size=9, max_neighbours=6)
#: In raster order; the last is alone.
COORDS = torch.tensor([[0, 0, 0], [2, 0, 0], [1, 2, 0], [-1, -2, 3], [60, 0, 50]])


def table(coords: torch.Tensor = COORDS, window: ContextWindow = WINDOW) -> ContextTable:
    return ContextTable(coords, find_neighbours(coords.numpy(), window), window, "cpu")


def crowd(num: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    coords = torch.unique(torch.randint(-12, 12, (num, 3), generator=generator), dim=0).numpy()
    return torch.from_numpy(coords[np.lexsort((coords[:, 0], coords[:, 1], coords[:, 2]))])


def network(seed: int = 0) -> ContextNetwork:
    torch.manual_seed(seed)
    made = ContextNetwork(CHANNELS, WIDTH)
    torch.nn.init.normal_(made.empty)
    torch.nn.init.normal_(made.gain)
    return made


def memory_of(fixed: FixedContext, values: torch.Tensor, present: torch.Tensor | None = None) -> Memory:
    memory = fixed.memory(len(values), present)
    fixed.remember(memory, slice(None), values)
    return memory


def both_equal(left: tuple[torch.Tensor, torch.Tensor], right: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def every(coords: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(coords))


def test_pairs_by_hand() -> None:
    pairs = table().pairs(torch.tensor([2, 4, 1]))
    assert pairs.counts.tolist() == [2, 0, 1]
    assert pairs.anchor.tolist() == [0, 0, 2]
    # Anchor 2 has the distance sqrt(5) to both earlier ones; the earlier one comes first.
    assert pairs.neighbour.tolist() == [0, 1, 0]
    radius, far = 4, math.floor(math.sqrt(5) * ONE)
    expected = [
        [-1 * ONE // radius, -2 * ONE // radius, 0, far // radius],
        [1 * ONE // radius, -2 * ONE // radius, 0, far // radius],
        [-2 * ONE // radius, 0, 0, 2 * ONE // radius],
    ]
    assert pairs.inputs.tolist() == expected
    assert pairs.weights.tolist() == [65536 // 5, 65536 // 5, 65536 // 4]


def test_nearest_neighbours_weigh_most() -> None:
    """The farthest has a weight above zero; equal locations, which coarse storage gives, count as one voxel apart."""
    for x, weight in ((0, 65536.0), (1, 65536.0), (190, 1.0)):
        coords = torch.tensor([[0, 0, 0], [x, x if x > 1 else 0, 0]])
        assert table(coords, ContextWindow(25, 20, 16)).pairs(every(coords)).weights.tolist() == [weight]


def test_context_by_hand() -> None:
    """Two neighbours at distances 1 and 3, identity layers: the weighted mean of the first layer's outputs."""
    coords = torch.tensor([[-1, 0, 0], [1, 0, 0], [2, 0, 0]])
    made = ContextNetwork(1, 1)
    with torch.no_grad():
        made.first.weight.copy_(torch.tensor([[1.0, 0, 0, 0, 0]]))
        made.first.bias.fill_(0.5)
        made.second.weight.fill_(2.0)
        made.second.bias.fill_(-1.0)
        made.empty.fill_(9.0)
        made.gain.fill_(-0.5)
    pairs = table(coords).pairs(torch.tensor([0, 2]))
    values = torch.tensor([[4.0], [1.0]])  # of anchors 1 (distance 1) and 0 (distance 3)
    context, expected = made.context(Seen(pairs, values), MOST)
    near, far = 65536, 65536 // 9
    pooled = (4.5 * near + 1.5 * far) / (near + far)
    assert context[0].tolist() == [9.0, 0.0]
    assert context[1].tolist() == pytest.approx([2 * pooled - 1, 2 / MOST], rel=1e-6)
    assert expected.squeeze(1).tolist() == pytest.approx([0, -0.5 * (4 * near + far) / (near + far)], rel=1e-6)

    masked = torch.tensor([[0.0], [1.0]])  # the value of the nearer one is masked
    _, expected = made.context(Seen(pairs, values * masked, masked), MOST)
    assert expected.squeeze(1).tolist() == pytest.approx([0, -0.5])


@pytest.mark.parametrize("masked", [False, True])
def test_integers_follow_the_float_network(masked: bool) -> None:
    coords, made = crowd(), network()
    pairs = table(coords).pairs(every(coords))
    values = torch.randint(-3 * ONE, 3 * ONE, (len(coords), CHANNELS)).double()
    present = torch.rand(values.shape) < 0.6 if masked else None
    there = None
    if present is not None:
        values, there = values * present, present[pairs.neighbour].float()
    fixed = made.fixed()
    exact, exact_expected = fixed.context(memory_of(fixed, values, present), pairs, MOST)
    with torch.no_grad():
        plain, expected = made.context(Seen(pairs, (values / ONE).float()[pairs.neighbour], there), MOST)
    assert torch.equal(exact, exact.round()) and torch.equal(exact_expected, exact_expected.round())
    assert (exact / ONE - plain).abs().max() < 0.05
    assert (exact_expected / ONE**2 - expected).abs().max() < 0.05
    assert plain.std() > 0.1 and expected.std() > 0.5


def test_integers_survive_a_bitstream() -> None:
    coords, fixed = crowd(), network().fixed()
    pairs, values = table(coords).pairs(every(coords)), torch.randint(-ONE, ONE, (len(coords), CHANNELS)).double()
    again = FixedContext.from_stored(fixed.stored(), "cpu")
    assert [tuple(part.shape) for part in fixed.stored()] == network().shapes()
    left, right = (part.context(memory_of(part, values), pairs, MOST) for part in (again, fixed))
    assert both_equal(left, right)


def test_gains_that_would_not_be_exact_are_refused() -> None:
    parts = network().fixed().stored()
    parts[-1][2] = -(1 << 15) - 1
    with pytest.raises(ValueError, match="gain of 128.004 is too large"):
        FixedContext.from_stored(parts, "cpu")


def test_an_anchor_s_context_depends_on_its_neighbours_alone() -> None:
    """The integers do not depend on how anchors are split, or on rows that are not neighbours."""
    coords, fixed = crowd(), network().fixed()
    whole = table(coords)
    values = torch.randint(-ONE, ONE, (len(coords), CHANNELS)).double()
    context, expected = fixed.context(memory_of(fixed, values), whole.pairs(every(coords)), MOST)
    for rows in (every(coords)[:40], every(coords)[100:101], torch.randperm(len(coords))):
        pairs = whole.pairs(rows)
        other = torch.full_like(values, 1e6)
        other[pairs.neighbour] = values[pairs.neighbour]
        assert both_equal(fixed.context(memory_of(fixed, other), pairs, MOST), (context[rows], expected[rows]))


def test_order_of_neighbours_does_not_matter() -> None:
    coords, fixed = crowd(), network().fixed()
    memory = memory_of(fixed, torch.randint(-ONE, ONE, (len(coords), CHANNELS)).double())
    pairs = table(coords).pairs(every(coords))
    order = torch.randperm(len(pairs.anchor))
    shuffled = Pairs(
        pairs.anchor[order], pairs.neighbour[order], pairs.inputs[order], pairs.weights[order], pairs.counts
    )
    assert both_equal(fixed.context(memory, shuffled, MOST), fixed.context(memory, pairs, MOST))


def test_gradients_reach_neighbours_and_the_constant() -> None:
    made = network()
    pairs = table().pairs(every(COORDS))
    values = torch.randn(len(pairs.neighbour), CHANNELS, requires_grad=True)
    context, expected = made.context(Seen(pairs, values), MOST)
    (context.sum() + expected.sum()).backward()
    assert made.gain.grad is not None and made.gain.grad.abs().sum() > 0
    assert values.grad is not None and values.grad.abs().sum() > 0
    assert made.empty.grad is not None and made.empty.grad.tolist() == [2.0] * WIDTH  # of the two that have none


def test_width_of_a_pair_s_inputs() -> None:
    assert network().first.in_features == CHANNELS + PAIR_INPUTS
    assert network().outputs == WIDTH + 1
