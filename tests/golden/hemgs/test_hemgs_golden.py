"""A HEMGS bitstream written once must decode for ever, to the same numbers.

``toy.gsc`` was written by the first release's encoder from 400 synthetic anchors. ``toy.json`` holds the SHA-256 of
every decoded tensor. Neither may change while the format version stays: a failure here means that files in the world no
longer decode. After a deliberate change of format (and a new version number), write a new pair beside the old one:

    HEMGS_WRITE_GOLDEN=1 pytest tests/golden/hemgs
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from hemgs.coding.container import read_container
from hemgs.entropy.bitstream import decode_anchors

HERE = Path(__file__).parent
FILE, EXPECTED = HERE / "toy.gsc", HERE / "toy.json"


def digests() -> dict[str, str]:
    tensors = decode_anchors(FILE, "hemgs").to_bundle().tensors
    return {name: hashlib.sha256(tensors[name].contiguous().numpy().tobytes()).hexdigest() for name in sorted(tensors)}


@pytest.fixture(scope="module", autouse=True)
def _write_if_asked() -> None:
    if os.environ.get("HEMGS_WRITE_GOLDEN"):
        sys.path.insert(0, str(HERE.parent.parent / "unit" / "entropy"))
        from toy_anchors import encode_toy

        encode_toy(FILE)
        EXPECTED.write_text(json.dumps(digests(), indent=1) + "\n")


def test_golden_file_decodes_to_the_same_numbers() -> None:
    assert digests() == json.loads(EXPECTED.read_text())


def test_golden_file_has_the_sections_of_its_version() -> None:
    assert list(read_container(FILE).sections) == [
        "settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets",
    ]  # fmt: skip
