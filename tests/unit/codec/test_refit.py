"""Frozen symbols and their streams: the same as those of a file, and counted to the byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hemgs.anchor_codec.steps import BaseSteps
from hemgs.codec.bitstream import CODEC
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import LMBDA_INTERVAL
from hemgs.codec.refit import SECTIONS, VARIANTS, FrozenPrice, TrainedModel, coded_bytes, freeze, fresh_model
from hemgs.coding.names import RAW16
from hemgs.core.errors import ConfigError, TrainingError
from tests.unit.codec.toy_anchors import SETTINGS, TRADE_OFF, VIEWPOINTS, WHOLE, toy_anchors, toy_entropy

LMBDA = 0.002


@pytest.fixture(scope="module", params=["plain", "whole"])
def trained(request: pytest.FixtureRequest) -> TrainedModel:
    anchors = toy_anchors()
    settings = SETTINGS if request.param == "plain" else WHOLE
    return TrainedModel(anchors, toy_entropy(anchors, settings=settings), BaseSteps(), WHOLE, RAW16, LMBDA_INTERVAL)


def test_the_trained_model_takes_the_bytes_of_its_file(trained: TrainedModel, tmp_path: Path) -> None:
    table = CODEC.encode(
        tmp_path / "toy.gsc", trained.anchors, trained.entropy, trained.base_steps, TRADE_OFF, VIEWPOINTS
    )
    sizes = coded_bytes(trained.entropy, freeze(trained, LMBDA))
    assert tuple(sizes) == SECTIONS
    rendering = 4 + 2 * sum(weight.numel() for weight in trained.anchors.heads.parameters())
    expected = {name: table.sections[name] for name in SECTIONS}
    expected["networks"] -= rendering
    assert sizes == expected


def test_price_agrees_with_the_streams(trained: TrainedModel) -> None:
    frozen = freeze(trained, LMBDA)
    sizes = coded_bytes(trained.entropy, frozen)
    with torch.no_grad():
        bits = float(FrozenPrice(trained.entropy, frozen, "cpu").bits(torch.arange(frozen.num_anchors)))
    streams = 8 * (sizes["features"] + sizes["scalings"] + sizes["offsets"])
    assert bits == pytest.approx(streams, rel=0.01)


def test_masked_offsets_cost_nothing(trained: TrainedModel) -> None:
    frozen = freeze(trained, LMBDA)
    assert not frozen.geometry.coded.all()
    assert not frozen.geometry.symbols[~frozen.geometry.coded].any()
    sizes = coded_bytes(trained.entropy, frozen)
    every = replace(frozen, geometry=replace(frozen.geometry, coded=np.ones_like(frozen.geometry.coded)))
    assert coded_bytes(trained.entropy, every)["offsets"] > sizes["offsets"]


def test_larger_lambda_freezes_fewer_levels(trained: TrainedModel) -> None:
    fine, coarse = (np.abs(freeze(trained, lmbda).features.symbols).sum() for lmbda in (0.001, 0.004))
    assert coarse < fine


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fresh_model_has_the_variants_networks_and_the_trained_steps(trained: TrainedModel, name: str) -> None:
    frozen = freeze(trained, LMBDA)
    model = fresh_model(trained.variant(name), trained.entropy, frozen, 0)
    scene_agnostic, autoregressive = VARIANTS[name]
    assert bool(model.settings.scene_agnostic) == scene_agnostic
    assert (model.features.autoregressive is not None) == autoregressive == (model.geometry.autoregressive is not None)
    for mine, other in ((model.features, trained.entropy.features), (model.geometry, trained.entropy.geometry)):
        assert torch.equal(mine.rate_predictor.second.weight, other.rate_predictor.second.weight)
        assert not any(weight.requires_grad for weight in mine.rate_predictor.parameters())


def test_settings_that_do_not_fit_the_trained_steps_are_refused(trained: TrainedModel) -> None:
    frozen = freeze(trained, LMBDA)
    with pytest.raises(ConfigError, match="rate predictor"):
        fresh_model(replace(SETTINGS, feature_prior=20), trained.entropy, frozen, 0)


def test_variants_that_cannot_be_made_are_refused(trained: TrainedModel) -> None:
    with pytest.raises(ConfigError, match="'nothing' is not known"):
        trained.variant("nothing")
    plain = replace(trained, whole=SETTINGS)
    with pytest.raises(ConfigError, match="frozen network"):
        plain.variant("sa")
    with pytest.raises(ConfigError, match="autoregressive"):
        plain.variant("ar")


def test_lambda_and_anchors_are_checked(trained: TrainedModel) -> None:
    with pytest.raises(ConfigError, match="interval"):
        freeze(trained, 0.1)
    nothing = toy_anchors()
    with torch.no_grad():
        nothing.mask_logits.fill_(-9.0)
    with pytest.raises(TrainingError, match="no anchor"):
        freeze(TrainedModel(nothing, EntropyModel(SETTINGS), BaseSteps(), SETTINGS, RAW16, LMBDA_INTERVAL), LMBDA)
