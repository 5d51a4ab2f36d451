"""ContextGS's latents: their learned density, and the section that codes them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from baselines.context_gs.density import FactorizedDensity
from baselines.context_gs.hyper import MAX_HALF_WIDTH, decode_latents, encode_latents
from hemgs.core.errors import BitstreamError
from tests.narrowing import grad_of


def fitted(values: torch.Tensor, steps: int = 200) -> FactorizedDensity:
    """A density that was trained on values (``[n, L]``) with noise."""
    torch.manual_seed(0)
    density = FactorizedDensity(values.shape[1])
    adam = torch.optim.Adam(density.parameters(), lr=0.04)
    for _ in range(steps):
        noisy = values + torch.rand_like(values) - 0.5
        loss = density.bits(noisy).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return density


@pytest.fixture(scope="module")
def values() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(800, 4) * torch.tensor([0.1, 1.0, 4.0, 2.0]) + torch.tensor([0.0, 3.0, -2.0, 0.0])


@pytest.fixture(scope="module")
def density(values: torch.Tensor) -> FactorizedDensity:
    return fitted(values)


def entropy_bits(symbols: np.ndarray) -> float:
    """Empirical entropy of all columns together, bits."""
    total = 0.0
    for column in symbols.T:
        counts = np.unique(column, return_counts=True)[1]
        total -= float((counts * np.log2(counts / len(column))).sum())
    return total


def test_mass_is_one_and_never_negative() -> None:
    density = FactorizedDensity(3).double()
    for factor in density.factors:
        torch.nn.init.uniform_(factor, -0.9, 2.0)
    for matrix in density.matrices:
        torch.nn.init.normal_(matrix)
    masses = density.probabilities(torch.arange(-3000, 3001, dtype=torch.float64)[:, None].expand(-1, 3))
    assert (masses >= 0).all()
    assert torch.allclose(masses.sum(dim=0), torch.ones(3, dtype=torch.float64), atol=1e-6)


def test_channels_are_densities_of_their_own(density: FactorizedDensity, values: torch.Tensor) -> None:
    alone = density.bits(values)
    changed = values.clone()
    changed[:, 1] += 5
    bits = density.bits(changed)
    assert torch.equal(bits[:, [0, 2, 3]], alone[:, [0, 2, 3]])
    assert not torch.allclose(bits[:, 1], alone[:, 1])


def test_density_learns_what_it_sees(density: FactorizedDensity, values: torch.Tensor) -> None:
    rounded = values.round()
    assert density.bits(rounded).sum().item() < 1.05 * entropy_bits(rounded.numpy()) + 200
    assert FactorizedDensity(4).bits(rounded).sum().item() > 1.1 * entropy_bits(rounded.numpy())


def test_a_latent_that_says_nothing_costs_nothing() -> None:
    silent = torch.zeros(500, 1)
    density = fitted(silent)
    assert density.bits(silent).mean().item() < 0.05


def test_price_pushes_latents_towards_what_is_common(density: FactorizedDensity) -> None:
    far = torch.tensor([[3.0, 9.0, 9.0, -9.0]], requires_grad=True)
    density.bits(far).sum().backward()
    assert (grad_of(far)[0, :3] > 0).all() and grad_of(far)[0, 3] < 0


def test_frequencies_are_those_of_the_density(density: FactorizedDensity) -> None:
    frequencies = density.frequencies(2, -6, 6).astype(np.int64)
    assert len(frequencies) == 14 and frequencies.sum() == 65536 and frequencies.min() >= 1
    grid = torch.arange(-6.0, 7.0)[:, None].expand(-1, 4)
    masses = density.probabilities(grid)[:, 2].detach().numpy()
    assert np.abs(frequencies[:-1] / 65536 - masses).max() < 1e-3


def test_frequencies_where_the_density_is_nothing() -> None:
    density = fitted(torch.zeros(50, 1), 50)
    frequencies = density.frequencies(0, 10**6, 10**6 + 20).astype(np.int64)
    assert frequencies.sum() == 65536 and frequencies.min() >= 1


def test_latents_come_back(density: FactorizedDensity, values: torch.Tensor) -> None:
    symbols = values.round().long().numpy()
    section, bits = encode_latents(symbols, density.frequencies)
    assert np.array_equal(decode_latents(section, *symbols.shape), symbols)
    assert 8 * len(section) == pytest.approx(bits, abs=96)
    assert bits < 1.05 * entropy_bits(symbols) + 3000


def test_values_beyond_a_table_are_escaped(density: FactorizedDensity) -> None:
    symbols = np.zeros((50, 4), np.int64)
    symbols[7] = [2**29, -(2**29), MAX_HALF_WIDTH + 1, 0]
    symbols[8] = [-(2**29), 5, -MAX_HALF_WIDTH, 0]
    section, _ = encode_latents(symbols, density.frequencies)
    assert np.array_equal(decode_latents(section, 50, 4), symbols)


def test_one_anchor_and_one_channel(density: FactorizedDensity) -> None:
    section, _ = encode_latents(np.array([[-7]]), density.frequencies)
    assert decode_latents(section, 1, 1).tolist() == [[-7]]


@pytest.mark.parametrize("frequencies", [(30_000, 30_000, 30_000), (0, 5, 5), (65_534, 1, 1)])
def test_frequencies_that_cannot_be_are_refused(frequencies: tuple[int, ...]) -> None:
    with pytest.raises(BitstreamError, match="channel 0 do not add up"):
        decode_latents(struct.pack("<iB3H", 0, 1, *frequencies) + b"\0" * 8, 4, 1)


def test_damage_is_refused(density: FactorizedDensity, values: torch.Tensor) -> None:
    symbols = values.round().long().numpy()
    section, _ = encode_latents(symbols, density.frequencies)
    wide = section[:4] + b"\xff" + section[5:]
    for damaged in (b"", section[:3], section[:30], section[:-4], section + b"\0" * 4, wide):
        with pytest.raises(BitstreamError, match="hyper"):
            decode_latents(damaged, *symbols.shape)
    with pytest.raises(BitstreamError, match="hyper"):
        decode_latents(section, len(symbols) + 1, 4)
