"""A folder of configuration files, with three methods, a variant and two datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.config_folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
