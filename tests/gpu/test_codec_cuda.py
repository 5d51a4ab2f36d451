"""HEMGS bitstreams on CUDA: the same symbols, and the same bytes, as on the processor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "unit" / "entropy"))

from toy_anchors import PLUS, VIEWPOINTS, WHOLE, shaken, toy_anchors, toy_entropy  # noqa: E402

from hemgs.entropy.bitstream import decode_anchors, encode_anchors  # noqa: E402
from hemgs.entropy.model import EntropySettings  # noqa: E402
from hemgs.entropy.steps import BaseSteps  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ["toy", "whole", "plus"])
def test_golden_files_decode_to_the_same_numbers(name: str) -> None:
    file = TESTS / "golden" / "hemgs" / f"{name}.gsc"
    expected = decode_anchors(file, "hemgs", "cpu").to_bundle().tensors
    decoded = decode_anchors(file, "hemgs", "cuda").to_bundle().tensors
    assert decoded.keys() == expected.keys()
    for key, tensor in decoded.items():
        assert tensor.device.type == "cuda"
        assert torch.equal(tensor.cpu(), expected[key]), key


@pytest.mark.parametrize("settings", [WHOLE, PLUS])
def test_both_devices_write_the_same_file(tmp_path: Path, settings: EntropySettings) -> None:
    anchors = toy_anchors(3000, extent=60)
    # The devices' exponentials differ in the last bit, which may round a scaling to another symbol: a matter of what is
    # coded, not of how.
    anchors.log_scalings.data.zero_()
    entropy = shaken(toy_entropy(anchors, settings=settings))
    for device in ("cpu", "cuda"):
        encode_anchors(
            tmp_path / device, "hemgs", anchors.to(device), entropy.to(device), BaseSteps(), 0.002, VIEWPOINTS
        )
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "cuda").read_bytes()
