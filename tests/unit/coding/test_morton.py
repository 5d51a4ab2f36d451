from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hemgs.coding.morton import interleaved, separated


@given(arrays(np.int64, st.tuples(st.integers(0, 30), st.just(3)), elements=st.integers(0, 2**21 - 1)))
def test_keys_can_be_taken_apart(coords):
    keys = interleaved(coords)
    for key, (x, y, z) in zip(keys.tolist(), coords.tolist(), strict=True):
        assert key == sum(int(f"{v:b}", 8) << axis for axis, v in enumerate((x, y, z)))
    assert np.array_equal(separated(keys), coords)


def test_corners():
    top = 2**21 - 1
    assert interleaved(np.array([[top, top, top], [top, 0, 0]])).tolist() == [2**63 - 1, int("1" * 21, 8)]
    assert separated(np.array([2**63 - 1])).tolist() == [[top, top, top]]
