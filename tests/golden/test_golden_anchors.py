"""Bitstreams of all methods that code anchors, written once, must decode for ever, to the same numbers.

In a method's folder, each file was written from 400 synthetic anchors, ``toy.gsc`` by the first release's encoder. Of
HEMGS, that was before there were networks that look beyond an anchor; ``whole.gsc`` is by the whole method,
``sparse.gsc`` leaves signs out that no anchor needs, and ``plus.gsc`` has all else that HEMGS+ adds. The JSON file
beside each holds the SHA-256 of every decoded tensor. None may change while the format version stays: a failure here
means that files in the world no longer decode.
After a deliberate change of format (and a new version number), write new pairs beside the old ones, by name:

    HEMGS_WRITE_GOLDEN=hemgs/whole pytest tests/golden/test_golden_anchors.py
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from hemgs.anchor_codec.file import AS_PUBLISHED
from hemgs.bench.registry import get_method
from hemgs.coding.container import read_container
from tests.unit.baselines.rivals import RIVALS, SECTIONS
from tests.unit.codec.toy_anchors import PLUS, PLUS_STORAGE, SETTINGS, SPARSE, WHOLE, encode_toy, toy_anchors

HERE = Path(__file__).parent
HEMGS = {
    "hemgs/toy": SETTINGS,
    "hemgs/whole": WHOLE,
    "hemgs/plus": PLUS,
    "hemgs/sparse": SPARSE,
}
FILES = [*HEMGS, *(f"{method}/toy" for method in RIVALS)]


def digests(name: str) -> dict[str, str]:
    method = get_method(name.split("/")[0])
    tensors = method.decode(HERE / f"{name}.gsc", device=torch.device("cpu")).tensors
    return {key: hashlib.sha256(tensors[key].contiguous().numpy().tobytes()).hexdigest() for key in sorted(tensors)}


@pytest.fixture(scope="module", autouse=True)
def _write_if_asked() -> None:
    name = os.environ.get("HEMGS_WRITE_GOLDEN")
    if name not in FILES:
        return
    file = HERE / f"{name}.gsc"
    if name in HEMGS:
        storage = PLUS_STORAGE if name == "hemgs/plus" else AS_PUBLISHED
        encode_toy(file, anchors=toy_anchors(extent=60), settings=HEMGS[name], storage=storage)
    else:
        toy = RIVALS[name.split("/")[0]]
        toy.encode_toy(file, toy.toy_anchors(extent=60))
    file.with_suffix(".json").write_text(json.dumps(digests(name), indent=1) + "\n")


@pytest.mark.parametrize("name", FILES)
def test_golden_file_decodes_to_the_same_numbers(name: str) -> None:
    assert digests(name) == json.loads((HERE / f"{name}.json").read_text())


@pytest.mark.parametrize("name", FILES)
def test_golden_file_has_the_sections_of_its_version(name: str) -> None:
    hemgs = ["settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"]
    assert list(read_container(HERE / f"{name}.gsc").sections) == SECTIONS.get(name.split("/")[0], hemgs)
