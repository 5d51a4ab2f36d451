"""Coding order: batches, blocks and the number of threads do not change predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hemgs.anchor_codec.channels import chunk_columns
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.streams import CodedPrediction, Rows
from hemgs.codec import anchor_set, bitstream, traversal
from hemgs.codec.anchor_set import AnchorSet
from hemgs.codec.bitstream import CODEC
from hemgs.codec.context import ContextTable, Pairs
from hemgs.codec.neighbours import Neighbours, Waves, hashed_order
from hemgs.codec.settings import HASHED, EntropySettings
from hemgs.coding.fixed_point import ACTIVATION_LIMIT, FixedLayer, FixedMlp
from tests.unit.codec.toy_anchors import PLUS, WHOLE, encode_toy, toy_anchors

SETTINGS = {"paper": replace(WHOLE, scene_agnostic=""), "plus": replace(PLUS, scene_agnostic="")}
#: Dense enough for long chains of neighbours.
EXTENT = 11


@dataclass(frozen=True)
class Workload:
    """The arguments of ``traverse`` in an encoder, and the resulting symbols and file."""

    model: traversal.FixedModel
    anchors: AnchorSet
    masks: NDArray[np.bool_]
    symbols: dict[str, Integers]
    file: Path
    settings: EntropySettings

    def order(self) -> Integers:
        """Anchors in order of coding."""
        hashed = self.settings.window.order == HASHED
        return hashed_order(self.anchors.coords.numpy()) if hashed else np.arange(len(self.masks))


class KnownStream:
    """A stream of known symbols, which returns them in batches as a decoder does, and records their predictions."""

    def __init__(self, known: dict[str, Integers], chunks: dict[str, int], *, complete: bool) -> None:
        self.chunks = chunks
        self.known, self.complete = known, complete
        self.symbols = known if complete else {name: np.full_like(part, 10**6) for name, part in known.items()}
        self.rows = {name: np.full((3, *part.shape), -(10**9)) for name, part in known.items()}
        self.batches: list[int] = []

    def start(self, attribute: str, rows: Rows, step_index: Integers, select: NDArray[np.bool_]) -> None:
        """Nothing."""

    def code(
        self, attribute: str, rows: Rows, prediction: CodedPrediction, select: NDArray[np.bool_], chunk: int = 0
    ) -> Integers:
        assert isinstance(rows, np.ndarray)
        columns = chunk_columns(self.known[attribute].shape[1], self.chunks.get(attribute, 1))[chunk]
        self.batches.append(len(rows))
        for own, part in zip(self.rows[attribute], prediction.table_rows(), strict=True):
            own[rows, columns] = part
        self.symbols[attribute][rows, columns] = self.known[attribute][rows, columns]
        return self.known[attribute][rows, columns]

    def end(self, attribute: str, rows: Rows, step_index: Integers) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def _fresh_anchor_sets() -> Iterator[None]:
    anchor_set._anchor_set.cache_clear()
    yield
    anchor_set._anchor_set.cache_clear()


@pytest.fixture(scope="module", params=list(SETTINGS))
def workload(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Workload:
    file, seen = tmp_path_factory.mktemp("toy") / "toy.gsc", list[Any]()

    def spy(*arguments: Any) -> None:
        seen.extend(arguments)
        traversal.traverse(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bitstream, "traverse", spy)
        encode_toy(file, anchors=toy_anchors(extent=EXTENT), settings=SETTINGS[request.param])
    model, anchors, masks, stream = seen
    return Workload(model, anchors, masks, stream.symbols, file, SETTINGS[request.param])


def one_by_one(num: int, order: Integers | None) -> Waves:
    """The order of coding, an anchor at a time."""
    return Waves(np.arange(num) if order is None else order, np.arange(num + 1))


def predictions(load: Workload, waves: Waves | None = None, *, complete: bool = False) -> KnownStream:
    stream = KnownStream(load.symbols, load.model.header.entropy.chunks, complete=complete)
    anchors = load.anchors if waves is None else replace(load.anchors, waves=waves)
    traversal.traverse(load.model, anchors, load.masks, stream)
    return stream


def same(left: dict[str, Integers], right: dict[str, Integers]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_workload_has_waves_and_its_predictions_read_neighbours(workload: Workload) -> None:
    """The other tests need anchors with several waves."""
    assert 15 < workload.anchors.figures["num_wavefronts"] < len(workload.masks) / 2
    assert workload.anchors.figures["context_mean"] > 3
    wrong = replace(workload, symbols={name: part + 3 for name, part in workload.symbols.items()})
    assert not same(predictions(wrong).rows, predictions(workload).rows)


def test_decoding_one_by_one_in_order_predicts_what_waves_predict(workload: Workload) -> None:
    waves, single = predictions(workload), predictions(workload, one_by_one(len(workload.masks), workload.order()))
    assert max(single.batches) == 1 < max(waves.batches)
    assert same(single.rows, waves.rows)


def test_an_encoder_in_large_batches_predicts_what_a_decoder_does(workload: Workload) -> None:
    encoder, decoder = predictions(workload, complete=True), predictions(workload)
    assert len(encoder.batches) < len(decoder.batches) / 10
    assert same(encoder.rows, decoder.rows)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk", [pytest.param(1, marks=pytest.mark.slow), 7, 100])
def test_blocks_and_threads_change_no_prediction(
    workload: Workload, monkeypatch: pytest.MonkeyPatch, chunk: int, threads: int
) -> None:
    expected = [predictions(workload, complete=complete).rows for complete in (False, True)]
    before = torch.get_num_threads()
    monkeypatch.setattr(traversal, "CHUNK", chunk)
    try:
        torch.set_num_threads(threads)
        for complete, rows in zip((False, True), expected, strict=True):
            assert same(predictions(workload, complete=complete).rows, rows)
        assert torch.get_num_threads() == threads, "decoding leaves the number of threads as it was"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", range(1, 1 + min(2, numba.get_num_threads())))
@pytest.mark.parametrize("chunk", [7, 16384])
def test_file_decodes_to_the_same_in_other_blocks_and_threads(
    workload: Workload, monkeypatch: pytest.MonkeyPatch, chunk: int, threads: int
) -> None:
    """The file's checksum of symbols is part of decoding; decoded tensors follow from the symbols."""
    expected = CODEC.decode(workload.file).to_bundle().tensors
    monkeypatch.setattr(traversal, "CHUNK", chunk)
    before = torch.get_num_threads(), numba.get_num_threads()
    anchor_set._anchor_set.cache_clear()
    try:
        torch.set_num_threads(threads)
        numba.set_num_threads(threads)
        decoded = CODEC.decode(workload.file).to_bundle().tensors
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])
    assert all(torch.equal(decoded[name], tensor) for name, tensor in expected.items())


def test_files_one_by_one_and_in_waves_decode_to_the_same(
    workload: Workload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = CODEC.decode(workload.file).to_bundle().tensors

    def single(neighbours: Neighbours) -> Waves:
        return one_by_one(neighbours.num_anchors, neighbours.order)

    anchor_set._anchor_set.cache_clear()
    monkeypatch.setattr(anchor_set, "wavefronts", single)
    encode_toy(tmp_path / "single.gsc", anchors=toy_anchors(extent=EXTENT), settings=workload.settings)
    assert (tmp_path / "single.gsc").read_bytes() != workload.file.read_bytes()
    decoded = CODEC.decode(tmp_path / "single.gsc").to_bundle().tensors
    assert all(torch.equal(decoded[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("complete", [False, True])
def test_pairs_held_at_once_are_bounded(workload: Workload, monkeypatch: pytest.MonkeyPatch, complete: bool) -> None:
    held = []
    original = ContextTable.pairs

    def spy(table: ContextTable, rows: torch.Tensor) -> Pairs:
        pairs = original(table, rows)
        held.append(max(len(rows), len(pairs.anchor)))
        return pairs

    monkeypatch.setattr(ContextTable, "pairs", spy)
    monkeypatch.setattr(traversal, "CHUNK", 50)
    predictions(workload, complete=complete)
    assert 50 < max(held) <= 50 + workload.settings.window.max_neighbours
    assert np.mean(held) > 40, "blocks are filled"


def test_split_pairs_by_hand() -> None:
    pairs = Pairs(
        torch.tensor([0, 0, 2, 3, 3, 3]),
        torch.tensor([7, 5, 7, 1, 2, 3]),
        torch.arange(24.0).view(6, 4),
        torch.arange(6.0),
        torch.tensor([2, 0, 1, 3]),
    )
    first, second, third = pairs.split([2, 1, 1])
    assert [part.anchor.tolist() for part in (first, second, third)] == [[0, 0], [0], [0, 0, 0]]
    assert [part.neighbour.tolist() for part in (first, second, third)] == [[7, 5], [7], [1, 2, 3]]
    assert [part.weights.tolist() for part in (first, second, third)] == [[0, 1], [2], [3, 4, 5]]
    assert [part.counts.tolist() for part in (first, second, third)] == [[2, 0], [1], [3]]
    assert torch.equal(third.inputs, pairs.inputs[3:])


def test_a_layer_taken_in_parts_is_the_layer() -> None:
    generator = torch.Generator().manual_seed(0)

    def integers(limit: int, *shape: int) -> torch.Tensor:
        return torch.randint(-limit, limit + 1, shape, generator=generator).double()

    for relu_last in (False, True):
        layers = [FixedLayer(integers(900, 9, 12), integers(900, 9)), FixedLayer(integers(900, 5, 9), integers(900, 5))]
        network = FixedMlp(layers, relu_last=relu_last)
        inputs = integers(3 * ACTIVATION_LIMIT, 200, 12)
        inputs[::2] /= 1 << 14
        inputs = inputs.floor()
        first, last = slice(None, 7), slice(7, None)
        known = network.first_sums(inputs[:, first], first)
        sums = network.first_sums(inputs[:, last], last, known)
        expected = network(inputs)
        for _ in range(2):  # the first leaves the sums as they are
            assert torch.equal(network.finish(sums), expected)
        assert torch.equal(network.first_sums(inputs[:, last], last, known), sums)


def test_floor_of_a_rounded_quotient_is_the_integer_quotient() -> None:
    """The division of the context's mean; the hardest numerators are just below multiples of the denominator."""
    rng = np.random.default_rng(0)
    divisors = rng.integers(1, 1 << 26, 20_000)
    multiples = (rng.integers(1 << 50, 1 << 53, 20_000) // divisors) * divisors
    for numerators in (multiples - 1, multiples, multiples + 1):
        quotients = torch.from_numpy(numerators).double().div_(torch.from_numpy(divisors).double()).floor_()
        assert np.array_equal(quotients.numpy().astype(np.int64), numerators // divisors)
