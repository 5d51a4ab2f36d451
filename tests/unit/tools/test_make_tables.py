"""The shipped integer tables are what the tool makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hemgs.coding import tables
from hemgs.core.files import sha256_of
from tools import make_tables


def test_tool_makes_the_package_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tables.npz"
    monkeypatch.setattr("sys.argv", ["make_tables", str(path)])
    make_tables.main()
    assert sha256_of(path) in capsys.readouterr().out
    with np.load(path) as made:
        stored = tables.package_integers()
        assert set(made.files) == set(stored)
        for name, array in stored.items():
            assert made[name].dtype == array.dtype
            # One count: erf may differ in its last bit between platforms.
            assert np.abs(made[name].astype(np.int64) - array.astype(np.int64)).max() <= 1, name
