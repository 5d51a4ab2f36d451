"""A model that several modules use."""

from __future__ import annotations

import pytest

from hemgs.protocol import Model
from tests.unit.baselines.toy_gs3d import train
from tests.unit.training.toy import toy_scene


@pytest.fixture(scope="session")
def trained_splats(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """3DGS, trained for a few steps on the toy scene."""
    return train(toy_scene(), tmp_path_factory.mktemp("gs3d"))
