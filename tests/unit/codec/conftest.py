"""A bitstream that several modules decode."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.codec.toy_anchors import encode_toy


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy model of the whole method."""
    path = tmp_path_factory.mktemp("toy") / "toy.gsc"
    encode_toy(path)
    return path
