"""HEMGS bitstreams written once must decode for ever, to the same numbers.

``toy.gsc`` was written by the first release's encoder from 400 synthetic anchors, before there were networks that look
beyond an anchor; ``whole.gsc`` from as many by the whole method; ``plus.gsc`` with all that HEMGS+ adds. The JSON files
hold the SHA-256 of every decoded tensor. None may change while the format version stays: a failure here means that
files in the world no longer decode.
After a deliberate change of format (and a new version number), write new pairs beside the old ones:

    HEMGS_WRITE_GOLDEN=whole pytest tests/golden/hemgs
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from hemgs.coding.container import read_container
from hemgs.entropy.anchor_file import AS_PUBLISHED
from hemgs.entropy.bitstream import decode_anchors

HERE = Path(__file__).parent
FILES = ("toy", "whole", "plus")


def digests(name: str) -> dict[str, str]:
    tensors = decode_anchors(HERE / f"{name}.gsc", "hemgs").to_bundle().tensors
    return {key: hashlib.sha256(tensors[key].contiguous().numpy().tobytes()).hexdigest() for key in sorted(tensors)}


@pytest.fixture(scope="module", autouse=True)
def _write_if_asked() -> None:
    name = os.environ.get("HEMGS_WRITE_GOLDEN")
    if name:
        sys.path.insert(0, str(HERE.parent.parent / "unit" / "entropy"))
        from toy_anchors import PLUS, PLUS_STORAGE, SETTINGS, WHOLE, encode_toy, toy_anchors

        settings = {"toy": SETTINGS, "whole": WHOLE, "plus": PLUS}[name]
        storage = PLUS_STORAGE if name == "plus" else AS_PUBLISHED
        encode_toy(HERE / f"{name}.gsc", anchors=toy_anchors(extent=60), settings=settings, storage=storage)
        (HERE / f"{name}.json").write_text(json.dumps(digests(name), indent=1) + "\n")


@pytest.mark.parametrize("name", FILES)
def test_golden_file_decodes_to_the_same_numbers(name: str) -> None:
    assert digests(name) == json.loads((HERE / f"{name}.json").read_text())


@pytest.mark.parametrize("name", FILES)
def test_golden_file_has_the_sections_of_its_version(name: str) -> None:
    assert list(read_container(HERE / f"{name}.gsc").sections) == [
        "settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets",
    ]  # fmt: skip
