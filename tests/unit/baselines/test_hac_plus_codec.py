"""Properties of HAC++ files only; ``test_rival_codecs`` tests the common properties of all rivals' files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hemgs.core.errors import BitstreamError
from tests.sameness import same
from tests.unit.baselines.toy_hac_plus import CODEC, encode_toy


def test_files_of_many_batches_decode_to_the_same_anchors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The size of a batch is part of the format: it decides the order of symbols, and none of their values."""
    encode_toy(tmp_path / "one.gsc")
    reference = CODEC.decode(tmp_path / "one.gsc")
    monkeypatch.setattr(CODEC, "batch", 100)
    encode_toy(tmp_path / "many.gsc")
    assert same(CODEC.decode(tmp_path / "many.gsc"), reference)
    with pytest.raises(BitstreamError):
        CODEC.decode(tmp_path / "one.gsc")
