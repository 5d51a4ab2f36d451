"""The shipped network weights are what the tools make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hemgs.core.assets import list_assets
from hemgs.pointnet import features as pointnet
from tools import make_pointnet, make_projection


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.slow
def test_projection_is_made_again(captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEMGS_ASSETS", str(captures / "assets"))
    if not (captures / "assets" / list_assets()[pointnet.S3DIS].file).is_file():
        pytest.skip(f"asset {pointnet.S3DIS} is not at {captures / 'assets'}")
    monkeypatch.setattr("sys.argv", ["make_projection", str(tmp_path / "made.npz")])
    make_projection.main()
    made = arrays_of(tmp_path / "made.npz")
    shipped = arrays_of(make_projection.package_file(pointnet.S3DIS_PROJECTION))
    assert made.keys() == shipped.keys()
    # Another linear algebra library may round the last digits otherwise.
    assert all(np.abs(made[name] - shipped[name]).max() <= 2 for name in shipped)


def test_a_short_training_makes_a_network_of_the_shipped_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole training takes six minutes; it differs from this one in the number of clouds and steps only."""
    monkeypatch.setattr(make_pointnet, "NUM_CLOUDS", 11)
    monkeypatch.setattr(make_pointnet, "CLOUD_SIZES", (7.0, 8.0))
    monkeypatch.setattr(make_pointnet, "NUM_STEPS", 3)
    monkeypatch.setattr("sys.argv", ["make_pointnet", str(tmp_path / "made.npz")])
    make_pointnet.main()
    made, shipped = arrays_of(tmp_path / "made.npz"), arrays_of(make_projection.package_file(pointnet.BUNDLED))
    assert {name: (array.shape, array.dtype) for name, array in made.items()} == {
        name: (array.shape, array.dtype) for name, array in shipped.items()
    }
    assert "mean R2" in capsys.readouterr().out
