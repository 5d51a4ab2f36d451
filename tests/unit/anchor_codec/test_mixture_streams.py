"""Predictions that are mixtures: weights, code lengths in float and in integers, and both ends of the coder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hemgs.anchor_codec.likelihood import gaussian_bits
from hemgs.anchor_codec.mixture import FixedMixture, MixturePrediction, weight_thresholds, weights_of
from hemgs.anchor_codec.prediction import MEAN_BITS, FixedPrediction, Prediction
from hemgs.anchor_codec.streams import ReadingStream, WritingStream, every
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.mixture import MAX_DISTANCE, WHOLE_WEIGHT


def gaussians(seed: int, num: int = 500, channels: int = 4) -> tuple[FixedPrediction, Prediction]:
    """The same Gaussians in integers and in float."""
    random = np.random.default_rng(seed)
    shape = num, channels
    mean = random.integers(-4 << MEAN_BITS, 4 << MEAN_BITS, shape)
    log2_scale = random.integers(-1 << ACTIVATION_BITS, 3 << ACTIVATION_BITS, shape)
    step_index = np.random.default_rng(0).integers(-64, 64, shape)
    floats = step_index / 64, mean / (1 << MEAN_BITS), log2_scale / (1 << ACTIVATION_BITS)
    return FixedPrediction(step_index, mean, log2_scale), Prediction(*(torch.from_numpy(part) for part in floats))


def mixtures() -> tuple[FixedMixture, MixturePrediction]:
    """The same mixtures in integers and in float; weights are rounded in the first."""
    (fixed, first), (other, second) = gaussians(1), gaussians(2)
    logits = np.random.default_rng(3).integers(-4 << ACTIVATION_BITS, 4 << ACTIVATION_BITS, fixed.mean.shape)
    logit = torch.from_numpy(logits / (1 << ACTIVATION_BITS))
    return FixedMixture(fixed, other, weights_of(logits)), MixturePrediction(first, second, logit)


def test_weights_are_the_rounded_sigmoid() -> None:
    logits = np.arange(-3000, 3001)
    exact = WHOLE_WEIGHT / (1 + np.exp(-logits / (1 << ACTIVATION_BITS)))
    assert np.abs(weights_of(logits) - exact).max() <= 0.5 + 1e-9
    assert weights_of(np.array([-(1 << 40), 0, 1 << 40])).tolist() == [0, WHOLE_WEIGHT // 2, WHOLE_WEIGHT]
    assert len(weight_thresholds()) == WHOLE_WEIGHT and (np.diff(weight_thresholds()) > 0).all()
    # Symmetric, but for the border itself.
    assert (weights_of(-logits) + weights_of(logits) == WHOLE_WEIGHT).mean() > 0.99


def test_integers_and_floats_give_symbols_the_same_price() -> None:
    fixed, floats = mixtures()
    symbols = np.random.default_rng(4).integers(-6, 7, fixed.weight.shape)
    bits = floats.bits(torch.from_numpy(symbols) * floats.first.step)
    assert fixed.bits(symbols).sum() == pytest.approx(bits.sum().item(), rel=2e-3)


def test_a_whole_weight_leaves_one_gaussian() -> None:
    _, floats = mixtures()
    step, values = floats.first.step, torch.zeros_like(floats.logit)
    for logit, part in ((60.0, floats.first), (-60.0, floats.second)):
        alone = gaussian_bits(values, part.mean / step, part.log2_scale - floats.first.log2_step)
        sure = MixturePrediction(floats.first, floats.second, torch.full_like(floats.logit, logit))
        torch.testing.assert_close(sure.bits(values), alone)


def test_distances_beyond_the_coder_s_are_clipped() -> None:
    far = np.array([[1 << 61]])
    near, zero = FixedPrediction(*[np.zeros((1, 1), np.int64)] * 3), np.zeros((1, 1), np.int64)
    for mean in (far, -far):
        _, *parts = FixedMixture(near, FixedPrediction(zero, mean, zero), zero).table_rows()
        distance = parts[-2]
        assert abs(distance.item()) <= MAX_DISTANCE


def test_streams_code_mixtures_by_parts_of_channels() -> None:
    """Where a prediction needs earlier channels, some channels of some rows are coded at a time."""
    fixed, floats = mixtures()
    parts = [slice(0, 1), slice(1, 4)]
    num, channels = fixed.weight.shape
    shapes = {"features": (num, channels), "scalings": (num, 1), "offsets": (num, 1)}
    steps = dict.fromkeys(shapes, 1.0)
    random = np.random.default_rng(5)
    values = {name: random.normal(0, 4, shape) for name, shape in shapes.items()}
    values["features"] = random.normal(floats.first.mean.numpy(), np.exp2(floats.first.log2_scale.numpy()))
    writing = WritingStream(values, steps, ("features",))
    index = fixed.first.step_index
    writing.start("features", slice(0, num), index, every(num, channels))

    def walk(stream: WritingStream | ReadingStream) -> None:
        for part in parts:
            own = FixedMixture(fixed.first.columns(part), fixed.second.columns(part), fixed.weight[:, part])
            stream.code("features", (slice(0, num), part), own, every(num, part.stop - part.start))
        stream.end("features", slice(0, num), index)

    walk(writing)
    data = writing.finish()
    assert 8 * len(data["features"]) == pytest.approx(writing.estimated_bits["features"], rel=0.01)
    reading = ReadingStream(data, shapes, steps, ("features",))
    walk(reading)
    reading.finish()
    assert np.array_equal(reading.symbols["features"], writing.symbols["features"])
