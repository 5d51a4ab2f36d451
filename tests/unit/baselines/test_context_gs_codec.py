"""Properties of ContextGS files only; ``test_rival_codecs`` tests the common properties of all rivals' files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.context_gs import codec
from baselines.context_gs.levels import levels_in_training
from baselines.shared.predictor import FixedPredictor
from hemgs.anchor_codec.masks import keep_mask
from hemgs.anchor_codec.streams import SymbolStream, chunks
from hemgs.coding.container import read_container, write_container
from hemgs.coding.locations import decode_locations, encode_locations, raster_order
from hemgs.core.errors import BitstreamError, TrainingError
from tests.sameness import same
from tests.unit.baselines.toy_context_gs import CODEC, encode_toy, toy_anchors, toy_model


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy.gsc"
    encode_toy(path)
    return path


def test_decoder_has_the_predictions_of_training(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels, contexts, locations and latents reach the integer networks as they reach the networks in training."""
    anchors = toy_anchors()
    model = toy_model(anchors)
    kept = keep_mask(anchors.mask_logits).any(dim=1)
    levels = levels_in_training(anchors.coords.numpy(), kept.numpy(), model.scales.tolist())
    seen: dict[int, torch.Tensor] = {}
    code = FixedPredictor.code

    def spy(predictor: FixedPredictor, stream: SymbolStream, rows: Any, inputs: torch.Tensor, masks: Any) -> Any:
        for row, values in zip(rows, inputs / 256, strict=True):
            seen[int(row)] = values
        return code(predictor, stream, rows, inputs, masks)

    monkeypatch.setattr(FixedPredictor, "code", spy)
    decoded = CODEC.decode(file)
    rows = torch.nonzero(kept).squeeze(1)
    rows = rows[raster_order(anchors.coords[rows].numpy())]
    place = {int(row): number for number, row in enumerate(rows)}
    attributes = decoded.attributes
    plain = torch.cat([attributes.features, attributes.scalings / 0.001], dim=1)
    for number, row in enumerate(rows.tolist()):
        level, values = levels.level[row], seen[number]
        assert torch.allclose(values[:3], model.locations(anchors.coords[row : row + 1])[0].double(), atol=2 / 256)
        assert torch.equal(values[-5:], anchors.latents[row].round().double())
        assert len(values) == (8 if level == 2 else 22)
        if level < 2:
            parent = place[int(levels.representative[row])]
            exponents = model.predictors[2 - level].exponents[:14]
            wanted = plain[parent] * torch.exp2(-exponents.float())
            assert torch.allclose(values[3:17], wanted.double(), atol=3 / 256, rtol=1e-3)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_batches_and_threads_change_no_symbol(
    file: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, threads: int
) -> None:
    reference, before = CODEC.decode(file), torch.get_num_threads()
    monkeypatch.setattr(codec, "chunks", lambda num: chunks(num, chunk))
    try:
        torch.set_num_threads(threads)
        assert same(CODEC.decode(file), reference)
    finally:
        torch.set_num_threads(before)


def test_locations_beyond_what_sums_can_hold_are_refused(file: Path, tmp_path: Path) -> None:
    container = read_container(file)
    stored = decode_locations(container.sections["locations"])
    for far in (1 << 32, -(1 << 40), 1 << 62):
        moved = {**container.sections, "locations": encode_locations(stored + far)}
        write_container(tmp_path / "f.gsc", "context_gs", moved, container.symbols_digest, container.trade_off)
        with pytest.raises(BitstreamError, match="locations"):
            CODEC.decode(tmp_path / "f.gsc")


def test_scene_wider_than_sixteen_bits_keeps_its_levels(tmp_path: Path) -> None:
    """Stored units of several lattice units change levels only a little, and do not change the decoded values."""
    anchors = toy_anchors(1000, extent=100_000)
    table = encode_toy(tmp_path / "wide.gsc", anchors)
    decoded = CODEC.decode(tmp_path / "wide.gsc")
    kept = keep_mask(anchors.mask_logits).any(dim=1)
    assert decoded.num_anchors == int(kept.sum())
    assert 0.02 < table.figures["num_anchors_coarsest"] / decoded.num_anchors < 0.08


def test_latents_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    anchors, model = toy_anchors(), toy_model(toy_anchors())
    with torch.no_grad():
        anchors.latents[-1, 0] = math.inf
    with pytest.raises(TrainingError, match="latents are not finite"):
        encode_toy(tmp_path / "a.gsc", anchors, model)
    assert list(tmp_path.iterdir()) == []
