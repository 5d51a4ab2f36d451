"""Codecs of anchors on CUDA: priced steps of training there, and files with the symbols and bytes of the processor.

``test_methods_cuda`` tests a whole training on CUDA for all methods.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.anchor_codec.steps import BaseSteps
from hemgs.bench.rates import rate_of
from hemgs.bench.registry import get_method
from hemgs.codec.bitstream import CODEC
from hemgs.codec.settings import EntropySettings
from tests.unit.baselines.rivals import RIVALS
from tests.unit.codec.toy_anchors import PLUS, TRADE_OFF, VIEWPOINTS, WHOLE, shaken, toy_anchors, toy_entropy

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
#: Those of methods, which have their numbers next to them.
FILES = sorted(file.with_suffix(".gsc").relative_to(GOLDEN) for file in GOLDEN.glob("version_*/*/*.json"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_golden_files_decode_to_the_same_numbers(file: Path) -> None:
    method = get_method(file.parts[1])
    expected = method.decode(GOLDEN / file, device=torch.device("cpu")).to_bundle().tensors
    decoded = method.decode(GOLDEN / file, device=torch.device("cuda")).to_bundle().tensors
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
        CODEC.encode(tmp_path / device, anchors.to(device), entropy.to(device), BaseSteps(), TRADE_OFF, VIEWPOINTS)
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "cuda").read_bytes()


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_both_devices_write_the_same_file_of_a_rival(name: str, tmp_path: Path) -> None:
    toy = RIVALS[name]
    anchors = toy.toy_anchors(3000, extent=60)
    model = toy.toy_model(anchors)
    for device in ("cpu", "cuda"):
        toy.encode_toy(tmp_path / device, anchors.to(device), model.to(device))
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "cuda").read_bytes()


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_a_priced_step_of_a_rival_runs_where_the_anchors_are(name: str) -> None:
    toy = RIVALS[name]
    method: Any = get_method(name)
    anchors = toy.toy_anchors(3000)
    params = method.Params(iterations=300, sample_share=1.0)
    hook = method.attributes(params, toy.toy_model(anchors), rate_of(0.002))
    anchors = anchors.to("cuda")
    hook.start(anchors, 1.0)
    visible = torch.arange(0, anchors.num_anchors, 2, device="cuda")
    attributes, loss, _ = hook.sample(params.phases.entropy_start + 5, anchors, visible)
    assert attributes.features.device.type == loss.device.type == "cuda"
    loss.backward()
    assert all(parameter.grad is not None for group in hook.parameter_groups() for parameter in group.parameters)
