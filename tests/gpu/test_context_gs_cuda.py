"""ContextGS on CUDA: training steps there, and bitstreams with the same symbols and bytes as on the processor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from baselines.context_gs.codec import decode_anchors, encode_anchors
from baselines.context_gs.method import ContextGsParams
from baselines.context_gs.model import ContextAttributes
from hemgs.entropy.steps import BaseSteps
from tests.unit.baselines.toy_context_gs import VIEWPOINTS, toy_anchors, toy_model

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "context_gs" / "toy.gsc"


def test_golden_file_decodes_to_the_same_numbers() -> None:
    expected = decode_anchors(GOLDEN, "cpu").to_bundle().tensors
    decoded = decode_anchors(GOLDEN, "cuda").to_bundle().tensors
    assert decoded.keys() == expected.keys()
    for key, tensor in decoded.items():
        assert tensor.device.type == "cuda"
        assert torch.equal(tensor.cpu(), expected[key]), key


def test_both_devices_write_the_same_file(tmp_path: Path) -> None:
    anchors = toy_anchors(3000)
    model = toy_model(anchors)
    for device in ("cpu", "cuda"):
        encode_anchors(tmp_path / device, anchors.to(device), model.to(device), BaseSteps(), 0.002, VIEWPOINTS)
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "cuda").read_bytes()


def test_a_priced_step_runs_where_the_anchors_are() -> None:
    anchors = toy_anchors(3000)
    plan = ContextGsParams(iterations=300, sample_share=1.0).phases
    rates = (0.0075, 0.0075), (5e-3, 1e-5)
    hook = ContextAttributes(toy_model(anchors), BaseSteps(), plan, 10, 0.002, *rates)
    anchors = anchors.to("cuda")
    hook.start(anchors, 1.0)
    visible = torch.arange(0, anchors.num_anchors, 2, device="cuda")
    attributes, loss, _ = hook.sample(plan.entropy_start + 5, anchors, visible)
    assert attributes.features.device.type == loss.device.type == "cuda"
    loss.backward()
    assert all(parameter.grad is not None for group in hook.parameter_groups() for parameter in group.parameters)
