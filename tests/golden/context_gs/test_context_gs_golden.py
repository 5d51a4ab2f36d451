"""ContextGS bitstreams written once must decode for ever, to the same numbers.

``toy.gsc`` was written by the first release's encoder from 400 synthetic anchors; ``toy.json`` holds the SHA-256 of
every decoded tensor. Neither may change while the format version stays. After a deliberate change of format (and a new
version number), write a new pair beside the old one:

    CONTEXT_GS_WRITE_GOLDEN=1 pytest tests/golden/context_gs
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from baselines.context_gs.codec import decode_anchors
from hemgs.coding.container import read_container
from tests.unit.baselines.toy_context_gs import encode_toy, toy_anchors

HERE = Path(__file__).parent
FILE, NUMBERS = HERE / "toy.gsc", HERE / "toy.json"


def digests() -> dict[str, str]:
    tensors = decode_anchors(FILE).to_bundle().tensors
    return {key: hashlib.sha256(tensors[key].contiguous().numpy().tobytes()).hexdigest() for key in sorted(tensors)}


@pytest.fixture(scope="module", autouse=True)
def _write_if_asked() -> None:
    if os.environ.get("CONTEXT_GS_WRITE_GOLDEN"):
        encode_toy(FILE, toy_anchors())
        NUMBERS.write_text(json.dumps(digests(), indent=1) + "\n")


def test_golden_file_decodes_to_the_same_numbers() -> None:
    assert digests() == json.loads(NUMBERS.read_text())


def test_golden_file_has_the_sections_of_its_version() -> None:
    assert list(read_container(FILE).sections) == [
        "settings", "locations", "masks", "networks", "hyper", "features", "scalings", "offsets",
    ]  # fmt: skip
