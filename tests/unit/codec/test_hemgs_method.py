"""HEMGS as a method: refused settings, and training for one rate."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hemgs.anchor_codec import method as coded_method
from hemgs.bench.rates import rate_of
from hemgs.bench.registry import get_method, list_methods
from hemgs.codec import method
from hemgs.codec.params import HemgsParams
from hemgs.codec.training import HemgsAttributes
from hemgs.core.errors import ConfigError
from hemgs.core.types import Rate
from tests.tasks import task_on
from tests.unit.training.toy import toy_scene


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"context_window": 24}, "odd number"),
        ({"context_multiplier": -1}, "'context_multiplier' cannot be -1 — it must be at least 0"),
        ({"head_bits": 4}, "'head_bits' cannot be 4 — allowed: 16, 8"),
        ({"context_neighbours": -1}, "'context_neighbours' cannot be -1"),
        ({"scene_agnostic": "pointnet3"}, "pointnet3"),
        ({"location_codec": "octtree"}, "allowed: raw16, octree"),
        ({"mask_codec": "octree"}, "allowed: static, adaptive"),
        ({"lmbdas": "0.02"}, "outside the interval"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HemgsParams(**fields)


@pytest.mark.parametrize("name_of_method", sorted(list_methods()))
def test_methods_refuse_to_train_with_settings_whose_files_cannot_be_decoded(name_of_method: str) -> None:
    """Without this error, hours of training would end in a file that is refused."""
    params = get_method(name_of_method).Params
    limits = {
        "context_window": ((257, 1), "3 to 255"),
        "context_neighbours": ((2000,), "0 to 1024"),
        "context_multiplier": ((17, 100), "192 lattice voxels"),
        "feature_dim": ((1025,), "1024"),
        "num_offsets": ((65,), "64"),
        "head_hidden_dim": ((1025,), "1024"),
        "feature_prior": ((0, 1025), "1 to 1024"),
        "geometry_step_hidden": ((0, 1025), "1 to 1024"),
        "feature_context": ((1025,), "0 to 1024"),
        "feature_chunks": ((0, 51), "1 to 50"),
        "rate_octaves": ((0.0, 9.0), "above 0, up to 4"),
        "order": (("random",), "raster, hashed"),
        "grid_resolutions_3d": (("2", "18 40000", " ".join(["18"] * 33)), "3 to 32768|up to 32 numbers"),
        "grid_resolutions_2d": (("2",), "3 to 32768"),
        "grid_log2_entries_3d": ((2, 23), "3 to 22"),
        "grid_log2_entries_2d": ((2, 23), "3 to 22"),
        "grid_features": ((0, 17, 20), "1 to 16"),
        "hidden": ((0, 1025), "1 to 1024"),
        "chunk_channels": ((0,), "1 to 50"),
        "chunk_hidden": ((0, 1025), "1 to 1024"),
        "latents": ((65,), "1 to 64"),
        "num_levels": ((0, 5), "1 to 4"),
    }
    known = {field.name for field in fields(params)}
    anchored = set(limits) & known
    assert name_of_method == "gs3d" or {"feature_dim", "num_offsets", "head_hidden_dim"} <= anchored
    for name in anchored:
        values, words = limits[name]
        for value in values:
            with pytest.raises(ConfigError, match=words) as fault:
                params(**{name: value})
            assert name in str(fault.value) and (str(value) in str(fault.value) or name == "grid_resolutions_3d")
    if "grid_features" in known:
        with pytest.raises(ConfigError, match="number of signs of grid_. is .* to 16777216"):
            params(grid_log2_entries_2d=22, grid_resolutions_2d="2000", grid_features=16)


def test_settings_reach_the_entropy_model() -> None:
    settings = HemgsParams(
        context_window=5,
        context_neighbours=0,
        context_multiplier=3,
        feature_context=7,
        geometry_context=0,
        float_networks=True,
    ).entropy
    assert (settings.window.size, settings.window.max_neighbours, settings.window.multiplier) == (5, 0, 3)
    assert (settings.feature_context, settings.geometry_context) == (7, 0)
    assert settings.scene_agnostic == "pointnet2_bundled"
    assert settings.float_networks and not HemgsParams().entropy.float_networks


@pytest.mark.parametrize(
    "trained, rate, expected",
    [
        (method.Hemgs(), Rate("all"), (0.001, 0.002, 0.003, 0.004)),
        (method.HemgsSingleRate(), rate_of(0.0026), (0.0026,)),
    ],
)
def test_which_rates_a_model_is_trained_for(
    trained: method.Hemgs, rate: Rate, expected: tuple[float, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    def train(task: Any, settings: Any, attribute_model: HemgsAttributes, *_: Any) -> None:
        assert attribute_model.settings.lmbdas == expected
        raise StoppedError

    monkeypatch.setattr(coded_method, "train_anchors", train)
    with pytest.raises(StoppedError):
        trained.train(task_on(toy_scene(), tmp_path, {"iterations": 100}, rate=rate))


@pytest.mark.parametrize(
    "iterations, noise, entropy, rounding", [(60_000, 3_001, 10_001, 59_001), (3_000, 301, 1_001, 2_901)]
)
def test_milestones_of_long_and_short_runs(iterations: int, noise: int, entropy: int, rounding: int) -> None:
    """The paper's 60,000 iterations have HAC's milestones, and its end; a short run has both in proportion."""
    plan = HemgsParams(iterations=iterations).simulation
    assert (plan.noise_start, plan.entropy_start, plan.rounding_start) == (noise, entropy, rounding)
