"""Bitstreams of all methods, written once, must always decode to the same numbers.

``version_1/<method>`` holds files of format version 1, which no encoder writes any more. The first release's encoder
wrote HEMGS's ``toy.gsc``, before there were networks that look beyond an anchor. The whole method wrote ``whole.gsc``;
``sparse.gsc`` leaves signs out that no anchor needs, and ``plus.gsc`` uses everything else that HEMGS+ adds.

``version_2/<method>`` holds stored models and the files they encode to (``stored_models``): today's encoder must write
the same bytes. The JSON file next to each bitstream holds the SHA-256 of every decoded tensor. A failure here means
that files in the world no longer decode, or that a model encodes to other bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hemgs.bench.registry import get_method
from hemgs.coding.container import read_container
from hemgs.core.bundle import load_bundle
from hemgs.core.errors import ConfigError
from hemgs.core.types import NO_TRADE_OFF, LmbdaInterval, Rate, TradeOff
from tests.golden.stored_models import CPU, FOLDER, MODELS, decoded_digests
from tests.unit.baselines.rivals import SECTIONS

VERSION_1 = FOLDER.with_name("version_1")
RELEASED = [str(file.relative_to(VERSION_1).with_suffix("")) for file in sorted(VERSION_1.glob("*/*.gsc"))]
HEMGS_SECTIONS = ["settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"]


def recorded(base: Path) -> object:
    return json.loads(base.with_suffix(".json").read_text())


@pytest.mark.parametrize("name", RELEASED)
def test_a_file_of_version_1_decodes_to_the_same_numbers(name: str) -> None:
    path = (VERSION_1 / name).with_suffix(".gsc")
    container = read_container(path)
    assert (container.version, container.trade_off) == (1, NO_TRADE_OFF)
    assert list(container.sections) == SECTIONS.get(name.split("/")[0], HEMGS_SECTIONS)
    assert decoded_digests(name, path) == recorded(VERSION_1 / name)


def test_there_are_files_of_version_1_of_all_methods_that_had_any() -> None:
    assert len(RELEASED) == 7
    assert {name.split("/")[0] for name in RELEASED} == {"hemgs", "hac", "hac_plus", "context_gs"}


@pytest.mark.parametrize("name", MODELS)
def test_a_file_of_version_2_decodes_to_the_same_numbers(name: str) -> None:
    path = (FOLDER / name).with_suffix(".gsc")
    container = read_container(path)
    interval = LmbdaInterval(0.001, 0.004) if name.startswith("hemgs/") else None
    assert (container.version, container.trade_off) == (2, TradeOff(MODELS[name].lmbda, interval))
    assert decoded_digests(name, path) == recorded(FOLDER / name)


@pytest.mark.parametrize("name", MODELS)
def test_a_stored_model_encodes_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    base, method = FOLDER / name, get_method(name.split("/")[0])
    method.encode(load_bundle(base.with_suffix(".safetensors")), MODELS[name].rate, tmp_path / "a.gsc", device=CPU)
    assert (tmp_path / "a.gsc").read_bytes() == base.with_suffix(".gsc").read_bytes()


def test_lmbda_outside_the_interval_of_the_model_writes_nothing(tmp_path: Path) -> None:
    model = load_bundle(FOLDER / "hemgs/whole.safetensors")
    with pytest.raises(ConfigError, match=r"lmbda 0.0041 lies outside .* from 0.001 .* to 0.004"):
        get_method("hemgs").encode(model, Rate.of(0.0041), tmp_path / "a.gsc", device=CPU)
    model.meta["lmbda_interval"] = [0.002, 0.003]
    with pytest.raises(ConfigError, match=r"lmbda 0.004 lies outside .* from 0.002 .* to 0.003"):
        get_method("hemgs").encode(model, Rate.of(0.004), tmp_path / "a.gsc", device=CPU)
    assert list(tmp_path.iterdir()) == []
