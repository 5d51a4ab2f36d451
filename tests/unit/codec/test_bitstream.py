"""HEMGS files decode to the encoded symbols, from the file alone, with any rounding of floats and any batches."""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hemgs.anchor_codec import file as anchor_file
from hemgs.anchor_codec.masks import keep_mask
from hemgs.anchor_codec.settings import BYTE, Storage
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchor_codec.stored_networks import StoredHeads
from hemgs.codec.bitstream import CODEC
from hemgs.codec.header import HemgsHeader
from hemgs.codec.settings import AUTOMATIC, ContextWindow
from hemgs.coding.container import read_container, write_container
from hemgs.coding.locations import raster_order
from hemgs.coding.names import ADAPTIVE, OCTREE
from hemgs.core.errors import BitstreamError, TrainingError
from tests.narrowing import linear, present
from tests.sameness import same
from tests.unit.baselines import toy_hac
from tests.unit.codec.toy_anchors import (
    FEATURES,
    OFFSETS,
    SPARSE,
    TRADE_OFF,
    VIEWPOINTS,
    WHOLE,
    encode_toy,
    toy_anchors,
    toy_entropy,
)

LMBDAS = [round(0.001 + 0.0002 * i, 4) for i in range(16)]


def test_decoded_anchors_are_the_quantised_ones(file: Path) -> None:
    anchors, decoded = toy_anchors(), CODEC.decode(file)
    kept = keep_mask(anchors.mask_logits).any(dim=1)
    assert decoded.num_anchors == int(kept.sum()) < anchors.num_anchors
    coords = anchors.coords[kept]
    raster = np.lexsort((coords[:, 0], coords[:, 1], coords[:, 2]))
    assert torch.equal(decoded.positions, anchors.positions[kept][raster])
    masks = keep_mask(anchors.mask_logits)[kept][raster]
    assert torch.equal(present(decoded.attributes.masks).bool(), masks)
    # Steps are at most 2^(2 + 1/2) base steps; masked offsets decode as zero.
    largest = 2**2.5 / 2 * 1.001
    steps = BaseSteps()
    features, scalings, offsets = (
        anchors.features[kept][raster],
        anchors.log_scalings[kept][raster].exp(),
        anchors.offsets,
    )
    assert (decoded.attributes.features - features).abs().max() < largest * steps.features
    assert (decoded.attributes.scalings - scalings).abs().max() < largest * steps.scalings
    expected = offsets[kept][raster] * masks.unsqueeze(-1)
    assert (decoded.attributes.offsets - expected).abs().max() < largest * steps.offsets
    assert decoded.attributes.offsets[~masks].abs().max() == 0
    assert torch.equal(decoded.viewpoints, VIEWPOINTS)


@pytest.mark.parametrize(
    ("lmbda", "rate"), [(0.001, 0), (0.0011, 18), (0.0022, 146), (0.0023, 154), (0.0037, 242), (0.004, 256)]
)
def test_networks_see_the_nearest_rate_and_the_header_the_exact_lmbda(lmbda: float, rate: int, tmp_path: Path) -> None:
    """In units of 2^-8: 256 log4(λ / 0.001)."""
    encode_toy(tmp_path / "a.gsc", lmbda, toy_anchors(30))
    header = HemgsHeader.of_file(read_container(tmp_path / "a.gsc"))
    assert (header.trade_off.lmbda, header.rate_input) == (lmbda, rate)


@pytest.mark.parametrize("octaves", [1.0, 3.0])
def test_steps_of_every_attribute_span_the_octaves_of_the_settings(octaves: float, tmp_path: Path) -> None:
    """From the smallest λ to the largest; errors of quantisation are as wide as the steps."""
    anchors, settings = toy_anchors(1000), replace(WHOLE, rate_octaves=octaves)
    exact, errors = anchors.attributes(), []
    for lmbda in (0.001, 0.004):
        encode_toy(tmp_path / "a.gsc", lmbda, anchors, settings)
        decoded = CODEC.decode(tmp_path / "a.gsc")
        places = {tuple(place): row for row, place in enumerate(anchors.positions.tolist())}
        rows = torch.tensor([places[tuple(place)] for place in decoded.positions.tolist()])
        masks = present(decoded.attributes.masks).bool()
        errors.append(
            [
                (decoded.attributes.features - exact.features[rows]).abs().mean().item(),
                (decoded.attributes.scalings - exact.scalings[rows]).abs().mean().item(),
                (decoded.attributes.offsets - exact.offsets[rows])[masks].abs().mean().item(),
            ]
        )
    widths = [math.log2(large / small) for small, large in zip(*errors, strict=True)]
    assert widths == pytest.approx([octaves] * 3, abs=0.25)


def test_heads_are_stored_at_half_precision(file: Path) -> None:
    decoded = CODEC.decode(file)
    for name, value in toy_anchors().heads.state_dict().items():
        assert torch.equal(decoded.heads.state_dict()[name], value.half().float())


def test_heads_of_eight_bits_are_products_and_a_third_of_the_bytes(file: Path, tmp_path: Path) -> None:
    encode_toy(tmp_path / "a.gsc", storage=Storage(head_bits=BYTE))
    decoded, exact = CODEC.decode(tmp_path / "a.gsc").heads.state_dict(), toy_anchors().heads.state_dict()
    for name, value in exact.items():
        if value.ndim == 1:
            assert torch.equal(decoded[name], value.half().float())
            continue
        scale = value.abs().amax(dim=1, keepdim=True) / 127
        assert 0 < (decoded[name] - value).abs().div(scale).max() < 0.6
        stored = (value.abs().amax(dim=1) / 127).half().double().unsqueeze(1)
        assert torch.equal((decoded[name].double() / stored).round() * stored, decoded[name].double())
    own, other = (read_container(path) for path in (tmp_path / "a.gsc", file))
    assert len(own.sections["networks"]) < len(other.sections["networks"])
    assert own.symbols_digest != other.symbols_digest, "weights are symbols"
    assert b"head_bits" not in zlib.decompress(other.sections["settings"]), "other files are what they were"


def test_eight_bits_refuse_weights_that_they_cannot_hold(tmp_path: Path) -> None:
    anchors = toy_anchors()
    with torch.no_grad():
        linear(anchors.heads.color, 0).weight[0, 0] = math.nan
    with pytest.raises(TrainingError, match="float16"):
        encode_toy(tmp_path / "a.gsc", anchors=anchors, storage=Storage(head_bits=BYTE))
    stored = StoredHeads.of(toy_anchors().heads, BYTE)
    stored.integers[0][0, 0] = 128
    with pytest.raises(BitstreamError, match="exceeds 8 bits"):
        stored.restored((FEATURES, OFFSETS, FEATURES))


def test_window_that_is_left_to_the_model_is_in_the_file(tmp_path: Path) -> None:
    settings = replace(WHOLE, window=ContextWindow(25, 6, AUTOMATIC))
    anchors = toy_anchors()
    entropy = toy_entropy(anchors, settings=settings)
    CODEC.encode(tmp_path / "a.gsc", anchors, entropy, BaseSteps(), TRADE_OFF, VIEWPOINTS)
    header = HemgsHeader.of_file(read_container(tmp_path / "a.gsc"))
    assert header.entropy.window.multiplier == int(entropy.multiplier) == entropy.settings.window.multiplier > 1
    CODEC.decode(tmp_path / "a.gsc")


def test_settings_that_ask_for_more_neighbours_than_scenes_have_are_refused(tmp_path: Path) -> None:
    """A forged file: near anchors that are all neighbours; memory would grow with the square of their number."""
    settings, path = replace(WHOLE, scene_agnostic=""), tmp_path / "a.gsc"
    encode_toy(path, anchors=toy_anchors(20_000, extent=7), settings=settings)
    container = read_container(path)
    header = HemgsHeader.of_file(container)
    window = ContextWindow(25, 0, 16)
    forged = replace(header, entropy=replace(header.entropy, window=window)).to_bytes()
    write_container(
        path, "hemgs", container.sections | {"settings": forged}, container.symbols_digest, container.trade_off
    )
    with pytest.raises(BitstreamError, match="a.gsc: section settings: .* at most 640 are allowed"):
        CODEC.decode(path)
    wide = replace(header, entropy=replace(header.entropy, window=ContextWindow(255, 6, 1))).to_bytes()
    with pytest.raises(BitstreamError, match="192 lattice voxels"):
        forged = zlib.compress(zlib.decompress(wide).replace(b'"multiplier":1', b'"multiplier":64'))
        HemgsHeader.of_file(replace(container, sections={"settings": forged}))


def test_sections_add_up_and_estimates_are_honest(tmp_path: Path) -> None:
    table = encode_toy(tmp_path / "a.gsc", anchors=toy_anchors(4000))
    assert (tmp_path / "a.gsc").stat().st_size == table.total_bytes
    assert list(table.sections)[1:] == [
        "settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets",
    ]  # fmt: skip
    actual = 8 * sum(table.sections[name] for name in table.estimated_bits)
    estimated = sum(table.estimated_bits.values())
    assert abs(actual / estimated - 1) < 0.01


def test_same_input_same_file(tmp_path: Path) -> None:
    encode_toy(tmp_path / "a.gsc")
    encode_toy(tmp_path / "b.gsc")
    assert (tmp_path / "a.gsc").read_bytes() == (tmp_path / "b.gsc").read_bytes()


def test_bytes_fall_strictly_over_all_sixteen_rates(tmp_path: Path) -> None:
    anchors = toy_anchors(2000)
    sizes = [encode_toy(tmp_path / f"{lmbda}.gsc", lmbda, anchors).total_bytes for lmbda in LMBDAS]
    assert all(larger > smaller for larger, smaller in itertools.pairwise(sizes))


def test_nothing_to_encode_and_values_that_are_not_finite(tmp_path: Path) -> None:
    empty, broken = toy_anchors(), toy_anchors()
    with torch.no_grad():
        empty.mask_logits.fill_(-9)
        broken.features[-1, 2] = math.nan
    for anchors, words in ((empty, "no anchor"), (broken, "features are not finite")):
        with pytest.raises(TrainingError, match=words):
            CODEC.encode(tmp_path / "a.gsc", anchors, toy_entropy(toy_anchors()), BaseSteps(), TRADE_OFF, VIEWPOINTS)
    assert list(tmp_path.iterdir()) == []


def test_scene_wider_than_sixteen_bits_moves_anchors_by_less_than_half_a_stride(tmp_path: Path) -> None:
    anchors = toy_anchors(extent=100_000)
    encode_toy(tmp_path / "wide.gsc", anchors=anchors)
    decoded = CODEC.decode(tmp_path / "wide.gsc")
    kept = keep_mask(anchors.mask_logits).any(dim=1)
    exact = anchors.positions[kept]
    nearest = (torch.cdist(decoded.positions.double(), exact.double()).amin(dim=1)).max()
    stride = 4 * anchors.voxel_size
    assert 0 < nearest <= 0.5 * stride * 3**0.5 * 1.01


def test_signs_that_no_anchor_needs_are_left_out_and_change_nothing_else(tmp_path: Path) -> None:
    for path, settings in ((tmp_path / "all.gsc", replace(SPARSE, sparse_grid=False)), (tmp_path / "a.gsc", SPARSE)):
        encode_toy(path, settings=settings)
    assert same(CODEC.decode(tmp_path / "a.gsc"), CODEC.decode(tmp_path / "all.gsc"))
    own, other = (read_container(tmp_path / name).sections for name in ("a.gsc", "all.gsc"))
    assert {name for name, data in own.items() if data != other[name]} == {"settings", "hash_grid"}
    assert len(own["hash_grid"]) < 0.9 * len(other["hash_grid"])
    assert b"sparse_grid" not in zlib.decompress(other["settings"])


def test_octree_and_adaptive_masks_change_two_sections_and_no_symbol(file: Path, tmp_path: Path) -> None:
    storage = Storage(OCTREE, ADAPTIVE)
    encode_toy(tmp_path / "a.gsc", storage=storage)
    assert same(CODEC.decode(tmp_path / "a.gsc"), CODEC.decode(file))
    own, other = (read_container(path) for path in (tmp_path / "a.gsc", file))
    assert {name for name, data in own.sections.items() if data != other.sections[name]} == {"locations", "masks"}
    assert own.symbols_digest == other.symbols_digest
    assert len(own.sections["locations"]) < len(other.sections["locations"]) / 1.5


def test_a_file_with_a_stride_for_each_axis_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier versions wrote such strides for scenes of more than 2^16 voxels."""
    anchors, strides = toy_anchors(extent=100_000), (3.0517, 1.0, 2.75)
    expected = []

    def stored_locations(coords: NDArray[np.int64], codec: str) -> tuple[NDArray[np.int64], tuple[float, float, float]]:
        expected.append(np.rint(coords % 50_000 / strides).astype(np.int64))
        return expected[-1], strides

    with monkeypatch.context() as patched:
        patched.setattr(anchor_file, "stored_locations", stored_locations)
        encode_toy(tmp_path / "a.gsc", anchors=anchors)
    decoded = CODEC.decode(tmp_path / "a.gsc")
    stored = expected[-1][raster_order(expected[-1])]
    positions = (stored * np.array(strides) * anchors.voxel_size).astype(np.float32)
    assert np.array_equal(decoded.positions.numpy(), positions)


def test_an_octree_keeps_locations_that_sixteen_bits_move(tmp_path: Path) -> None:
    anchors = toy_anchors(extent=100_000)
    encode_toy(tmp_path / "wide.gsc", anchors=anchors, storage=Storage(OCTREE))
    decoded = CODEC.decode(tmp_path / "wide.gsc")
    exact = anchors.positions[keep_mask(anchors.mask_logits).any(dim=1)]
    assert torch.cdist(decoded.positions.double(), exact.double()).amin(dim=1).max() == 0


def test_another_method_s_file_is_refused(file: Path) -> None:
    with pytest.raises(BitstreamError, match="written by method hemgs"):
        toy_hac.CODEC.decode(file)


@pytest.mark.parametrize("section", ["settings", "locations", "masks", "hash_grid", "networks", "features", "offsets"])
def test_sections_that_lie_behind_good_checksums_are_refused(file: Path, tmp_path: Path, section: str) -> None:
    """A forger can correct every CRC. Decoding must still give an error and never a picture."""
    container = read_container(file)
    data = container.sections[section]
    forgeries = [
        b"",
        data[: len(data) // 2],
        data + b"\0" * 8,
        bytes([data[0] ^ 1]) + data[1:],
        data[:-3] + b"\xff\xff\xff",
    ]
    for forged in forgeries:
        write_container(
            tmp_path / "f.gsc",
            "hemgs",
            {**container.sections, section: forged},
            container.symbols_digest,
            container.trade_off,
        )
        with pytest.raises(BitstreamError):
            CODEC.decode(tmp_path / "f.gsc")


def test_missing_section_is_named(file: Path, tmp_path: Path) -> None:
    container = read_container(file)
    sections = {name: data for name, data in container.sections.items() if name != "masks"}
    write_container(tmp_path / "f.gsc", "hemgs", sections, container.symbols_digest, container.trade_off)
    with pytest.raises(BitstreamError, match="masks"):
        CODEC.decode(tmp_path / "f.gsc")
