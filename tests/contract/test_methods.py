"""Every installed method fulfils the contract of ``hemgs.protocol``, checked on a tiny procedural scene on the CPU.

The checks are those of ``hemgs.bench.conformance``, which methods outside this repository can also run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hemgs.bench.conformance import CHECKS, Case, Specimen, make_specimen, make_tiny_scene
from hemgs.bench.registry import list_methods
from hemgs.data.loader import load_scene

pytestmark = pytest.mark.slow

#: A method on plain Gaussians that overrides every hook: after an interruption, it must resume like the others.
TOY = "tests.unit.splats.toy_splats:ToySplats"
#: Starts from trained Gaussians.
TOY_POST = "tests.unit.splats.toy_splats:ToyPost"
#: Settings that suit a scene of 48 x 36 pixels; the method's defaults are for millions of pixels.
PARAMS: dict[str, dict[str, object]] = {
    "context_gs": {"feature_dim": 16, "hidden": 16, "sample_share": 1.0},
    "gs3d": {"opacity_reset_every": 1_000_000},
    "hac": {
        "feature_dim": 16,
        "grid_resolutions_3d": "8 16",
        "grid_resolutions_2d": "16",
        "grid_log2_entries_3d": 8,
        "grid_log2_entries_2d": 8,
        "hidden": 16,
        "sample_share": 1.0,
    },
    "hac_plus": {
        "feature_dim": 16,
        "grid_resolutions_3d": "8 16",
        "grid_resolutions_2d": "16",
        "grid_log2_entries_3d": 8,
        "grid_log2_entries_2d": 8,
        "hidden": 16,
        "chunk_channels": 5,
        "chunk_hidden": 8,
        "sample_share": 1.0,
    },
    "hemgs": {
        "feature_dim": 16,
        "grid_resolutions_3d": "8 16",
        "grid_resolutions_2d": "16",
        "grid_log2_entries_3d": 8,
        "grid_log2_entries_2d": 8,
        "feature_prior": 16,
        "geometry_prior": 16,
        "feature_hidden": 16,
        "geometry_hidden": 16,
        "sample_share": 1.0,
    },
    "scaffold_gs": {"feature_dim": 16},
    TOY_POST: {"lr_sh": 0.02},
    TOY: {
        "num_codes": 64,
        "fine_from": 3_000,
        "lr_sh": 0.02,
        "opacity_reset_every": 1_000_000,
        "cluster_every": 5_000,
        "sort_every": 6_000,
    },
}


@pytest.fixture(scope="session")
def contract_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_scene(tmp_path_factory.mktemp("contract_scene") / "scene")


@pytest.fixture(scope="session", params=[*sorted(list_methods()), TOY, TOY_POST])
def specimen(
    request: pytest.FixtureRequest, contract_scene: Path, tmp_path_factory: pytest.TempPathFactory
) -> Specimen:
    folder = tmp_path_factory.mktemp("contract_" + request.param.rpartition(":")[2])
    return make_specimen(Case(request.param, contract_scene, folder, PARAMS.get(request.param, {})))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(specimen: Specimen, check: Callable[[Specimen], None]) -> None:
    check(specimen)


def test_training_learns(specimen: Specimen) -> None:
    """A model that has learned nothing would pass every other check."""
    losses = _losses(specimen)
    assert losses[-1] < 0.9 * losses[0]


def test_scene_is_the_same_each_time(contract_scene: Path, tmp_path: Path) -> None:
    assert load_scene(make_tiny_scene(tmp_path / "scene")).hash == load_scene(contract_scene).hash


def _losses(specimen: Specimen) -> list[float]:
    events = [json.loads(line) for line in (specimen.model / "events.jsonl").read_text().splitlines()]
    return [event["loss"] for event in events if event["event"] == "progress"]
