"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def captures() -> Path:
    """Folder of real captures and weights (see CONTRIBUTING.md); tests that need it skip where it is absent."""
    folder = Path(os.environ.get("HEMGS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no captures at {folder}; set HEMGS_TEST_DATA to a folder that contains them")
    return folder
