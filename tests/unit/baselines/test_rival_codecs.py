"""Files of all rivals decode to the encoded symbols, with any rounding of floats and any number of threads."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hemgs.anchor_codec.header import AnchorHeader
from hemgs.anchor_codec.masks import keep_mask
from hemgs.coding.container import read_container, write_container
from hemgs.core.errors import BitstreamError, TrainingError
from tests.sameness import same
from tests.unit.baselines.rivals import RIVALS, SECTIONS

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
#: Fields of all headers, or of those with a hash grid, and values that no encoder writes.
COMMON_FIELDS = [
    ("lmbda", 0.002),
    ("voxel_size", 0),
    ("entropy", None),
    ("entropy__feature_dim", 0),
    ("entropy__num_offsets", 10**6),
    ("entropy__hidden", "64"),
    ("entropy__hidden", 10**9),
    ("entropy__surprise", 1),
    ("surprise", 1),
]
GRID_FIELDS = [("high", [-1000, 1, 8]), ("entropy__grid__log2_entries_3d", 60)]
OWN_FIELDS = {
    "context_gs": [
        ("scales", [1024, 1024, 1024]),
        ("scales", [0, 1, 1, 4, 4, 4]),
        ("centre", [0, 0]),
        ("centre", [0, 0, 1 << 40]),
        ("units", [0, 1, 1]),
        ("entropy__latent_dim", 65),
        ("entropy__num_levels", 5),
    ],
    "hac": GRID_FIELDS,
    "hac_plus": [
        *GRID_FIELDS,
        ("entropy__chunk_channels", 0),
        ("entropy__chunk_channels", 9),
        ("entropy__chunk_hidden", 0),
    ],
}


@pytest.fixture(scope="module", params=sorted(RIVALS))
def toy(request: pytest.FixtureRequest) -> ModuleType:
    """The toy of a method, with its ``CODEC``."""
    return RIVALS[request.param]


@pytest.fixture(scope="module")
def file(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(toy.CODEC.method) / "toy.gsc"
    toy.encode_toy(path)
    return path


def test_decoded_anchors_are_the_quantised_ones(toy: ModuleType, file: Path) -> None:
    anchors, decoded = toy.toy_anchors(), toy.CODEC.decode(file)
    kept = keep_mask(anchors.mask_logits).any(dim=1)
    coords = anchors.coords[kept]
    raster = np.lexsort((coords[:, 0], coords[:, 1], coords[:, 2]))
    masks = keep_mask(anchors.mask_logits)[kept][raster]
    assert torch.equal(decoded.positions, anchors.positions[kept][raster])
    assert torch.equal(decoded.attributes.masks.bool(), masks)
    exact = anchors.attributes().select(torch.nonzero(kept).squeeze(1)[raster])
    # Steps are less than two base steps, and not all equal.
    for value, wanted, base in (
        (decoded.attributes.features, exact.features, 1.0),
        (decoded.attributes.scalings, exact.scalings, 0.001),
        (decoded.attributes.offsets, exact.offsets * masks.unsqueeze(-1), 0.2),
    ):
        assert 0.5 * base < (value - wanted).abs().max().item() < base * 1.001
    assert torch.equal(decoded.viewpoints, toy.VIEWPOINTS)


def test_values_lie_on_a_lattice_through_zero(toy: ModuleType, file: Path) -> None:
    """Symbols are multiples of the step, counted from zero and not from the mean."""
    features = toy.CODEC.decode(file).attributes.features.double()
    steps = 2 ** (torch.arange(-256, 65, dtype=torch.float64) / 64)
    for row in features[:50]:
        residue = (row[None] / steps[:, None] - (row[None] / steps[:, None]).round()).abs().amax(dim=1)
        assert residue.min() < 1e-3


def test_sections_add_up_and_estimates_are_honest(toy: ModuleType, tmp_path: Path) -> None:
    table = toy.encode_toy(tmp_path / "a.gsc", toy.toy_anchors(4000))
    assert (tmp_path / "a.gsc").stat().st_size == table.total_bytes
    assert list(table.sections)[1:] == SECTIONS[toy.CODEC.method]
    own = {"hyper"} & table.sections.keys()
    assert set(table.estimated_bits) == own | {"features", "scalings", "offsets"}
    actual = 8 * sum(table.sections[name] for name in table.estimated_bits)
    assert abs(actual / sum(table.estimated_bits.values()) - 1) < 0.01
    assert table.figures["num_anchors"] > 3000


def test_same_input_same_file(toy: ModuleType, file: Path, tmp_path: Path) -> None:
    toy.encode_toy(tmp_path / "again.gsc")
    assert (tmp_path / "again.gsc").read_bytes() == file.read_bytes()


def test_threads_change_no_symbol(toy: ModuleType, file: Path) -> None:
    reference, before = toy.CODEC.decode(file), torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert same(toy.CODEC.decode(file), reference)
    finally:
        torch.set_num_threads(before)


def test_order_of_summation_changes_no_symbol(toy: ModuleType, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(left.shape[1])
        return left[:, order] @ right[order] + bias

    reference = toy.CODEC.decode(file)
    monkeypatch.setattr(torch, "addmm", shuffled)
    assert same(toy.CODEC.decode(file), reference)


def test_nothing_to_encode_and_values_that_are_not_finite(toy: ModuleType, tmp_path: Path) -> None:
    empty, broken, model = toy.toy_anchors(), toy.toy_anchors(), toy.toy_model(toy.toy_anchors())
    with torch.no_grad():
        empty.mask_logits.fill_(-9)
        broken.features[-1, 2] = math.nan
    for anchors, words in ((empty, "no anchor"), (broken, "features are not finite")):
        with pytest.raises(TrainingError, match=words):
            toy.encode_toy(tmp_path / "a.gsc", anchors, model)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", range(8))
def test_sections_that_lie_behind_good_checksums_are_refused(
    toy: ModuleType, file: Path, tmp_path: Path, number: int
) -> None:
    container, method = read_container(file), toy.CODEC.method
    section = SECTIONS[method][number]
    data = container.sections[section]
    for forged in (b"", data[: len(data) // 2], data + b"\0" * 8, bytes([data[0] ^ 1]) + data[1:]):
        write_container(
            tmp_path / "f.gsc",
            method,
            {**container.sections, section: forged},
            container.symbols_digest,
            container.trade_off,
        )
        with pytest.raises(BitstreamError, match=r"f\.gsc"):
            toy.CODEC.decode(tmp_path / "f.gsc")


def test_symbols_that_are_not_the_encoder_s_are_refused(toy: ModuleType, file: Path, tmp_path: Path) -> None:
    container = read_container(file)
    forged = b"\0" * len(container.symbols_digest)
    write_container(tmp_path / "f.gsc", toy.CODEC.method, container.sections, forged, container.trade_off)
    with pytest.raises(BitstreamError, match="checksum"):
        toy.CODEC.decode(tmp_path / "f.gsc")


def test_another_method_s_file_and_a_missing_section_are_refused(toy: ModuleType, file: Path, tmp_path: Path) -> None:
    container = read_container(file)
    write_container(tmp_path / "other.gsc", "hemgs", container.sections, container.symbols_digest, container.trade_off)
    with pytest.raises(BitstreamError, match="written by method hemgs"):
        toy.CODEC.decode(tmp_path / "other.gsc")
    for section in (toy.CODEC.side_section, "networks"):
        sections = {name: data for name, data in container.sections.items() if name != section}
        write_container(tmp_path / "f.gsc", toy.CODEC.method, sections, container.symbols_digest, container.trade_off)
        with pytest.raises(BitstreamError, match=section):
            toy.CODEC.decode(tmp_path / "f.gsc")


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [(method, *field) for method in sorted(RIVALS) for field in (*COMMON_FIELDS, *OWN_FIELDS[method])],
)
def test_settings_no_encoder_writes_are_refused(method: str, name: str, value: object) -> None:
    header_type = RIVALS[method].CODEC.Header
    container = read_container(GOLDEN / "version_2" / method / "toy.gsc")
    header = header_type.of_file(container)
    raw = json.loads(json.dumps({name: part for name, part in asdict(header).items() if name != "trade_off"}))

    def read(settings: object) -> AnchorHeader:
        section = zlib.compress(json.dumps(settings).encode())
        return header_type.of_file(replace(container, sections={"settings": section}))

    assert read(raw) == header
    *parents, last = name.split("__")
    place = raw
    for parent in parents:
        place = place[parent]
    place[last] = value
    with pytest.raises(BitstreamError, match="settings"):
        read(raw)
