"""One network that predicts mean and scale of each scalar of an anchor, and one step for each attribute.

HAC has this network (arXiv 2403.14530, section 4.2), and its successors have it with other inputs.

Owns this network in float and in exact integers, and the coding of anchors with its predictions. Does not own its
inputs or the order of coding.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.shared.tanh_steps import log2_factors, step_indices
from hemgs.anchor_codec.networks import Mlp
from hemgs.anchor_codec.prediction import (
    MEAN_BITS,
    FixedPrediction,
    Integers,
    Prediction,
    shift_left,
    start_distribution,
)
from hemgs.anchor_codec.steps import ATTRIBUTES, attribute_widths
from hemgs.anchor_codec.stored_networks import Stored, StoredParts, StoredShape
from hemgs.anchor_codec.streams import Rows, SymbolStream, every
from hemgs.coding.fixed_point import ACTIVATION_BITS, FixedMlp


class AnchorPredictor(Mlp):
    """Two layers. The outputs are C means, C log-scales and three r of steps, for features, scalings and offsets.

    Means and scales are relative to ``2^exponents`` (:mod:`hemgs.anchor_codec.prediction`).

    Args:
        inputs, hidden: widths.
        feature_dim, num_offsets: D and K; C is D + 6 + 3K.
        further: number of outputs after those, which the codec interprets.
    """

    exponents: Tensor

    def __init__(self, inputs: int, hidden: int, feature_dim: int, num_offsets: int, further: int = 0) -> None:
        widths = attribute_widths(feature_dim, num_offsets)
        channels = sum(widths.values())
        super().__init__(inputs, hidden, 2 * channels + len(ATTRIBUTES) + further)
        self.widths, self.channels = widths, channels
        self.register_buffer("exponents", torch.zeros(channels, dtype=torch.int64))

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Start distributions at the mean and spread of ``values`` (``[n, C]``, in base steps), steps at the base."""
        start_distribution(values, self.exponents, self.second.bias[: 2 * self.channels])
        self.second.bias[2 * self.channels :] = 0

    def predict(self, inputs: Tensor) -> Prediction:
        """Predict steps, means and scales of n anchors from ``inputs`` ``[n, inputs]``."""
        return self.interpret(self(inputs))

    def interpret(self, outputs: Tensor) -> Prediction:
        """Convert the network's ``outputs`` ``[n, outputs]`` to a prediction."""
        mean, log2_scale = outputs[:, : self.channels], outputs[:, self.channels : 2 * self.channels]
        learned = outputs[:, 2 * self.channels :][:, : len(ATTRIBUTES)]
        steps = log2_factors(learned).split(1, dim=1)
        log2_step = torch.cat(
            [step.expand(-1, width) for step, width in zip(steps, self.widths.values(), strict=True)], dim=1
        )
        exponents = self.exponents.to(mean.dtype)
        return Prediction(log2_step, mean * torch.exp2(exponents), log2_scale + exponents)


class FixedPredictor:
    """An :class:`AnchorPredictor` in integers.

    Args:
        network: the exported network.
        exponents: ``[C] int64``.
        widths: channels by attribute.
    """

    def __init__(self, network: FixedMlp, exponents: Integers, widths: Mapping[str, int]) -> None:
        self.network, self.exponents, self.widths = network, exponents, widths

    @staticmethod
    def export(predictor: AnchorPredictor) -> FixedPredictor:
        """Round a trained network."""
        return FixedPredictor(predictor.fixed(), predictor.exponents.cpu().numpy(), predictor.widths)

    def stored(self) -> list[Stored]:
        """Everything that a bitstream stores, in :meth:`from_stored` order."""
        return [part.cpu().numpy() for part in self.network.stored()] + [self.exponents]

    @staticmethod
    def shapes(predictor: AnchorPredictor) -> list[StoredShape]:
        """Return the shapes of :meth:`stored`, also for a predictor without data."""
        return [StoredShape(shape) for shape in (*predictor.shapes(), (predictor.channels,))]

    @staticmethod
    def from_stored(parts: StoredParts, widths: Mapping[str, int]) -> FixedPredictor:
        """Build the network from the next arrays of a bitstream.

        Raises:
            BitstreamError: a value is one that no encoder writes.
        """
        return FixedPredictor(parts.mlp(), parts.exponents(), widths)

    def predict(self, inputs: Tensor) -> FixedPrediction:
        """Predict n anchors from ``[n, inputs] float64`` integers."""
        return self.interpret(self.network(inputs))

    def interpret(self, outputs: Tensor) -> FixedPrediction:
        """Convert the network's ``outputs`` ``[n, outputs] float64`` to a prediction."""
        channels = len(self.exponents)
        integers = outputs[:, : 2 * channels + len(ATTRIBUTES)].to(torch.int64).cpu().numpy()
        mean, log2_scale, learned = np.split(integers, [channels, 2 * channels], axis=1)
        step_index = np.repeat(step_indices(learned), list(self.widths.values()), axis=1)
        return fixed_prediction(step_index, mean, log2_scale, self.exponents)

    def code(self, stream: SymbolStream, rows: Rows, inputs: Tensor, masks: NDArray[np.bool_]) -> FixedPrediction:
        """Code all attributes of n anchors.

        Args:
            stream: the stream that writes or reads the symbols.
            rows: places of the anchors in the stream.
            inputs: inputs of :meth:`predict`.
            masks: ``[n, K] bool``; masked offsets are not coded.
        """
        prediction = self.predict(inputs)
        for attribute in self.widths:
            self.code_attribute(stream, rows, attribute, prediction, masks)
        return prediction

    def code_attribute(
        self, stream: SymbolStream, rows: Rows, attribute: str, prediction: FixedPrediction, masks: NDArray[np.bool_]
    ) -> None:
        """Code one attribute of n anchors, given the ``prediction`` of all; other arguments as of :meth:`code`."""
        part = prediction.columns(self.columns(attribute))
        select = masks.repeat(3, axis=1) if attribute == "offsets" else every(len(masks), self.widths[attribute])
        stream.start(attribute, rows, part.step_index, select)
        stream.code(attribute, rows, part, select)
        stream.end(attribute, rows, part.step_index)

    def columns(self, attribute: str) -> slice:
        """Return the place of an attribute's channels among all."""
        names = list(self.widths)
        first = sum(self.widths[name] for name in names[: names.index(attribute)])
        return slice(first, first + self.widths[attribute])


def fixed_prediction(
    step_index: Integers, mean: Integers, log2_scale: Integers, exponents: Integers
) -> FixedPrediction:
    """Convert a network's means and log-scales, which are relative to ``2^exponents``, to a prediction."""
    return FixedPrediction(
        step_index,
        shift_left(mean << (MEAN_BITS - ACTIVATION_BITS), exponents),
        log2_scale + (exponents << ACTIVATION_BITS),
    )
