"""Validation of shared settings."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hemgs.anchors.params import AnchorParams
from hemgs.core.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [("iterations", 0), ("voxel_size", -0.1), ("grow_success", 1.5), ("lr_features", math.nan), ("num_offsets", 0)],
)
def test_values_that_make_no_sense_are_errors(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        AnchorParams(**{name: value})


def test_cells_of_growing() -> None:
    assert AnchorParams().growth.cells == (16, 4, 1)
    assert AnchorParams(grow_factor=4).growth.cells == (4, 1)
    assert AnchorParams(grow_factor=128).growth.cells == (128, 32, 8)
