"""HAC files: what goes in comes out, from the file alone, whatever the machine does to floats and batches."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.hac.codec import HacHeader, decode_anchors, encode_anchors
from baselines.shared import grid_file
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding import fixed_point
from hemgs.coding.container import read_container, write_container
from hemgs.core.errors import BitstreamError, TrainingError
from hemgs.entropy.masks import keep_mask
from hemgs.entropy.steps import BaseSteps
from hemgs.entropy.streams import chunks
from tests.unit.baselines.toy_hac import VIEWPOINTS, encode_toy, toy_anchors, toy_model


def same(one: FixedAnchors, two: FixedAnchors) -> bool:
    left, right = one.to_bundle().tensors, two.to_bundle().tensors
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy.gsc"
    encode_toy(path)
    return path


def test_decoded_anchors_are_the_quantised_ones(file: Path) -> None:
    anchors, decoded = toy_anchors(), decode_anchors(file)
    kept = keep_mask(anchors.mask_logits).any(dim=1)
    coords = anchors.coords[kept]
    raster = np.lexsort((coords[:, 0], coords[:, 1], coords[:, 2]))
    masks = keep_mask(anchors.mask_logits)[kept][raster]
    assert torch.equal(decoded.positions, anchors.positions[kept][raster])
    assert torch.equal(decoded.attributes.masks.bool(), masks)
    exact = anchors.attributes().select(torch.nonzero(kept).squeeze(1)[raster])
    # Steps are less than two base steps, and not all alike.
    for value, wanted, base in (
        (decoded.attributes.features, exact.features, 1.0),
        (decoded.attributes.scalings, exact.scalings, 0.001),
        (decoded.attributes.offsets, exact.offsets * masks.unsqueeze(-1), 0.2),
    ):
        assert 0.5 * base < (value - wanted).abs().max().item() < base * 1.001
    assert torch.equal(decoded.viewpoints, VIEWPOINTS)


def test_values_lie_on_a_lattice_through_zero(file: Path) -> None:
    """Symbols are multiples of the step, counted from zero and not from the mean."""
    features = decode_anchors(file).attributes.features.double()
    steps = 2 ** (torch.arange(-256, 65, dtype=torch.float64) / 64)
    for row in features[:50]:
        residue = (row[None] / steps[:, None] - (row[None] / steps[:, None]).round()).abs().amax(dim=1)
        assert residue.min() < 1e-3


def test_sections_add_up_and_estimates_are_honest(tmp_path: Path) -> None:
    table = encode_toy(tmp_path / "a.gsc", toy_anchors(4000))
    assert (tmp_path / "a.gsc").stat().st_size == table.total_bytes
    assert list(table.sections)[1:] == [
        "settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets",
    ]  # fmt: skip
    actual = 8 * sum(table.sections[name] for name in table.estimated_bits)
    assert abs(actual / sum(table.estimated_bits.values()) - 1) < 0.01
    assert table.figures["num_anchors"] > 3000


def test_same_input_same_file(file: Path, tmp_path: Path) -> None:
    encode_toy(tmp_path / "again.gsc")
    assert (tmp_path / "again.gsc").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_batches_and_threads_change_no_symbol(
    file: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, threads: int
) -> None:
    reference, before = decode_anchors(file), torch.get_num_threads()
    monkeypatch.setattr(grid_file, "chunks", lambda num, _: chunks(num, chunk))
    try:
        torch.set_num_threads(threads)
        assert same(decode_anchors(file), reference)
    finally:
        torch.set_num_threads(before)


def test_order_of_summation_changes_no_symbol(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(left.shape[1])
        return left[:, order] @ right[order] + bias

    reference = decode_anchors(file)
    monkeypatch.setattr(fixed_point.torch, "addmm", shuffled)
    assert same(decode_anchors(file), reference)


def test_nothing_to_encode_and_values_that_are_not_finite(tmp_path: Path) -> None:
    empty, broken = toy_anchors(), toy_anchors()
    with torch.no_grad():
        empty.mask_logits.fill_(-9)
        broken.features[-1, 2] = math.nan
    for anchors, words in ((empty, "no anchor"), (broken, "features are not finite")):
        with pytest.raises(TrainingError, match=words):
            encode_anchors(tmp_path / "a.gsc", anchors, toy_model(toy_anchors()), BaseSteps(), 0.002, VIEWPOINTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("section", ["settings", "locations", "masks", "hash_grid", "networks", "features", "offsets"])
def test_sections_that_lie_behind_good_checksums_are_refused(file: Path, tmp_path: Path, section: str) -> None:
    container = read_container(file)
    data = container.sections[section]
    for forged in (b"", data[: len(data) // 2], data + b"\0" * 8, bytes([data[0] ^ 1]) + data[1:]):
        write_container(tmp_path / "f.gsc", "hac", {**container.sections, section: forged}, container.symbols_digest)
        with pytest.raises(BitstreamError, match=r"f\.gsc"):
            decode_anchors(tmp_path / "f.gsc")


def test_symbols_that_are_not_the_encoder_s_are_refused(file: Path, tmp_path: Path) -> None:
    container = read_container(file)
    write_container(tmp_path / "f.gsc", "hac", container.sections, b"\0" * len(container.symbols_digest))
    with pytest.raises(BitstreamError, match="checksum"):
        decode_anchors(tmp_path / "f.gsc")


def test_another_method_s_file_and_a_missing_section_are_refused(file: Path, tmp_path: Path) -> None:
    container = read_container(file)
    write_container(tmp_path / "other.gsc", "hemgs", container.sections, container.symbols_digest)
    with pytest.raises(BitstreamError, match="written by method hemgs"):
        decode_anchors(tmp_path / "other.gsc")
    del container.sections["hash_grid"]
    write_container(tmp_path / "f.gsc", "hac", container.sections, container.symbols_digest)
    with pytest.raises(BitstreamError, match="hash_grid"):
        decode_anchors(tmp_path / "f.gsc")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lmbda", -1.0),
        ("voxel_size", 0),
        ("high", [-1000, 1, 8]),
        ("entropy", None),
        ("entropy__feature_dim", 0),
        ("entropy__num_offsets", 10**6),
        ("entropy__hidden", "64"),
        ("entropy__hidden", 10**9),
        ("entropy__grid__log2_entries_3d", 60),
        ("entropy__surprise", 1),
        ("surprise", 1),
    ],
)
def test_settings_no_encoder_writes_are_refused(file: Path, name: str, value: object) -> None:
    header = HacHeader.from_bytes(read_container(file).sections["settings"])
    raw = json.loads(json.dumps(asdict(header)))
    assert HacHeader.from_bytes(zlib.compress(json.dumps(raw).encode())) == header
    *parents, last = name.split("__")
    place = raw
    for parent in parents:
        place = place[parent]
    place[last] = value
    with pytest.raises(BitstreamError, match="settings"):
        HacHeader.from_bytes(zlib.compress(json.dumps(raw).encode()))
