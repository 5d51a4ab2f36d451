"""Properties of HAC files only; ``test_rival_codecs`` tests the common properties of all rivals' files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.sameness import same
from tests.unit.baselines.toy_hac import CODEC, encode_toy


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_and_threads_change_no_symbol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, threads: int
) -> None:
    encode_toy(tmp_path / "toy.gsc")
    reference, before = CODEC.decode(tmp_path / "toy.gsc"), torch.get_num_threads()
    monkeypatch.setattr(CODEC, "batch", batch)
    try:
        torch.set_num_threads(threads)
        assert same(CODEC.decode(tmp_path / "toy.gsc"), reference)
    finally:
        torch.set_num_threads(before)
