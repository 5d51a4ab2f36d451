"""Decoding is exact: batches, threads, orders of summation and noise in float32 change no symbol."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hemgs.codec import traversal
from hemgs.codec.bitstream import CODEC
from hemgs.codec.header import HemgsHeader
from hemgs.codec.settings import EntropySettings
from hemgs.coding.container import read_container
from hemgs.core.errors import BitstreamError
from tests.sameness import same
from tests.unit.codec.toy_anchors import (
    PLUS,
    WHOLE,
    encode_toy,
    toy_anchors,
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 100, 10_000])
def test_batches_and_threads_change_no_symbol(
    file: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, threads: int
) -> None:
    reference = CODEC.decode(file)
    before = torch.get_num_threads()
    monkeypatch.setattr(traversal, "CHUNK", chunk)
    try:
        torch.set_num_threads(threads)
        assert same(CODEC.decode(file), reference)
    finally:
        torch.set_num_threads(before)


def _shuffled_addmm(bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The same sum in the order of another BLAS or device."""
    order = torch.randperm(left.shape[1])
    first, second = order[: len(order) // 3], order[len(order) // 3 :]
    return (left[:, second] @ right[second] + bias) + (right[first].T @ left[:, first].T).T


def test_order_of_summation_changes_no_symbol(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = CODEC.decode(file)
    monkeypatch.setattr(torch, "addmm", _shuffled_addmm)
    assert same(CODEC.decode(file), reference)


@pytest.mark.parametrize("settings", [WHOLE, PLUS])
def test_networks_in_floating_point_code_the_same_values_in_a_file_of_their_own(
    tmp_path: Path, settings: EntropySettings
) -> None:
    anchors, in_float = toy_anchors(1500), replace(settings, float_networks=True)
    exact = encode_toy(tmp_path / "exact.gsc", anchors=anchors, settings=settings)
    table = encode_toy(tmp_path / "float.gsc", anchors=anchors, settings=in_float)
    decoded = CODEC.decode(tmp_path / "float.gsc")
    with_steps = CODEC.decode(tmp_path / "exact.gsc")
    assert torch.equal(decoded.positions, with_steps.positions)
    # Steps come from a network too, so that a few values are rounded otherwise; no value strays further than steps do.
    assert (decoded.attributes.features - with_steps.attributes.features).abs().mean() < 0.05
    for attribute in ("features", "scalings", "offsets"):
        assert table.sections[attribute] == pytest.approx(exact.sections[attribute], rel=0.02)
    assert table.sections["networks"] > 1.2 * exact.sections["networks"]
    header = HemgsHeader.of_file(read_container(tmp_path / "float.gsc"))
    assert header.entropy.float_networks
    assert b"float_networks" not in zlib.decompress(read_container(tmp_path / "exact.gsc").sections["settings"])


def test_networks_in_floating_point_decode_with_other_threads_and_refuse_other_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "float.gsc"
    encode_toy(path, settings=replace(WHOLE, float_networks=True))
    reference = CODEC.decode(path)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(before, 2))
        assert same(CODEC.decode(path), reference)
    finally:
        torch.set_num_threads(before)

    def other_machine(bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return (bias + left @ right) * (1 + 2**-11)  # products in TF32 differ by as much

    monkeypatch.setattr(torch, "addmm", other_machine)
    with pytest.raises(BitstreamError, match="section|checksum") as caught:
        CODEC.decode(path)
    assert "where it was written" in caught.value.fix


def test_noise_in_every_float32_operation_changes_no_symbol(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All float32 values are changed by one unit in the last place; decoding must give the same symbols."""
    reference = CODEC.decode(file)
    touched = 0

    def noisy(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(*args: object, **kwargs: object) -> torch.Tensor:
            nonlocal touched
            result = original(*args, **kwargs)
            if isinstance(result, torch.Tensor) and result.dtype == torch.float32:
                touched += 1
                result = result * (1 + (torch.rand(result.shape) - 0.5) * 2**-22)
            return result

        return call

    for name in ("addmm", "matmul", "exp2", "exp", "log2", "relu", "tanh", "sigmoid", "sum"):
        monkeypatch.setattr(torch, name, noisy(getattr(torch, name)))
    monkeypatch.setattr(torch.nn.Linear, "forward", noisy(torch.nn.Linear.forward))
    monkeypatch.setattr(torch.nn.functional, "linear", noisy(torch.nn.functional.linear))
    assert torch.exp2(torch.ones(4)).ne(2).any()
    assert touched
    assert same(CODEC.decode(file), reference)
