"""Stored models encode to the same bytes, and their files decode to the same bits, under any default of torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hemgs.bench.registry import get_method
from hemgs.bench.torch_defaults import TORCH_DEFAULTS
from hemgs.core.bundle import load_bundle
from tests.golden.stored_models import CPU, FOLDER, MODELS, decoded_digests

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("what", TORCH_DEFAULTS)
@pytest.mark.parametrize("name", MODELS)
def test_bytes_and_bits_are_those_of_the_golden_files(name: str, what: str, tmp_path: Path) -> None:
    base, method = FOLDER / name, get_method(name.split("/")[0])
    with TORCH_DEFAULTS[what]():
        method.encode(load_bundle(base.with_suffix(".safetensors")), MODELS[name].rate, tmp_path / "a.gsc", device=CPU)
        digests = decoded_digests(name, base.with_suffix(".gsc"))
    assert (tmp_path / "a.gsc").read_bytes() == base.with_suffix(".gsc").read_bytes()
    assert digests == json.loads(base.with_suffix(".json").read_text())


@pytest.mark.parametrize("what", TORCH_DEFAULTS)
@pytest.mark.parametrize("name", MODELS)
def test_exports_are_the_same(name: str, what: str) -> None:
    method, path = get_method(name.split("/")[0]), (FOLDER / name).with_suffix(".gsc")
    wanted = vars(method.decode(path, device=CPU).to_splats())
    with TORCH_DEFAULTS[what]():
        found = vars(method.decode(path, device=CPU).to_splats())
    for part, value in wanted.items():
        assert value.dtype == found[part].dtype, part
        assert torch.equal(value, found[part]), part


def test_the_defaults_are_restored() -> None:
    def state() -> tuple[object, ...]:
        flags = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled()
        return torch.get_default_dtype(), torch.zeros(1).device, torch.get_num_threads(), *flags

    before = state()
    for change in TORCH_DEFAULTS.values():
        with pytest.raises(KeyError), change():
            assert state() != before
            raise KeyError
        assert state() == before
