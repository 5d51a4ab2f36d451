"""Damaged copies of bitstreams."""

from __future__ import annotations

from pathlib import Path

import pytest

from hemgs.bench.damage import damaged_copies, forged_copies
from hemgs.coding.container import read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.core.errors import BitstreamError

SECTIONS = {"settings": b"1234", "empty": b"", "features": bytes(range(200))}


@pytest.fixture
def bitstream(tmp_path: Path) -> Path:
    path = tmp_path / "x.gsc"
    write_container(path, "toy", SECTIONS, SymbolDigest().digest())
    return path


def test_every_damaged_copy_differs_and_is_refused_by_the_container(bitstream: Path, tmp_path: Path) -> None:
    intact = bitstream.read_bytes()
    copies = list(damaged_copies(bitstream))
    texts = [copy.what for copy in copies]
    assert len(set(texts)) == len(texts) > 30
    for wanted in ("cut to 0 of", "one byte too long", "of section container", "of section features", "format version"):
        assert any(wanted in text for text in texts), wanted
    assert sum("claims 4 GiB" in text for text in texts) == len(SECTIONS)
    for copy in copies:
        assert copy.data != intact
        (tmp_path / "damaged.gsc").write_bytes(copy.data)
        with pytest.raises(BitstreamError, match=r"damaged\.gsc"):
            read_container(tmp_path / "damaged.gsc")


def test_forged_copies_pass_the_container_with_other_content(bitstream: Path, tmp_path: Path) -> None:
    copies = list(forged_copies(bitstream, tmp_path / "scratch.gsc"))
    assert sum(copy.what.startswith("section features forged") for copy in copies) == 6
    assert sum(copy.what.endswith("left out") for copy in copies) == len(SECTIONS)
    for copy in copies:
        (tmp_path / "forged.gsc").write_bytes(copy.data)
        found = read_container(tmp_path / "forged.gsc")
        assert found.sections != SECTIONS or found.method != "toy"
    assert [copy.data for copy in forged_copies(bitstream, tmp_path / "scratch.gsc")] == [copy.data for copy in copies]
