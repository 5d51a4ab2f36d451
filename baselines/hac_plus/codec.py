"""HAC++'s bitstream: one file that decodes without any other.

The section of features contains one batch of anchors after the other. A batch contains all anchors' first chunks, then
all second ones, and so on.

Owns the settings section and the chunks' networks in integers. Does not own the sections and the order of anchors,
which HAC shares (``baselines.shared.grid_codec``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.hac_plus.model import HacPlusModel, feature_outputs
from baselines.hac_plus.params import SPECS, HacPlusSettings
from baselines.shared.grid_codec import RasterCodec
from baselines.shared.predictor import FixedPredictor, fixed_prediction
from hemgs.anchor_codec.grid_codec import GridHeader
from hemgs.anchor_codec.mixture import FixedMixture, weights_of
from hemgs.anchor_codec.prediction import FixedPrediction, Integers, scaled_symbols
from hemgs.anchor_codec.steps import attribute_widths
from hemgs.anchor_codec.stored_networks import Stored, StoredParts, StoredShape
from hemgs.anchor_codec.streams import SymbolStream, every
from hemgs.coding.fixed_point import FixedMlp


@dataclass(frozen=True, kw_only=True)
class HacPlusHeader(GridHeader):
    """Settings of one bitstream."""

    Settings: ClassVar[type] = HacPlusSettings
    entropy: HacPlusSettings


class FixedModel:
    """The networks of a :class:`HacPlusModel` in integers.

    Args:
        settings: sizes.
        predictor: the network behind the hash grid.
        contexts: one network for each chunk.
    """

    def __init__(self, settings: HacPlusSettings, predictor: FixedPredictor, contexts: Sequence[FixedMlp]) -> None:
        self._settings, self._predictor, self._contexts = settings, predictor, contexts

    @staticmethod
    def export(model: HacPlusModel) -> FixedModel:
        """Round trained networks."""
        contexts = [network.fixed() for network in model.context_networks()]
        return FixedModel(model.settings, FixedPredictor.export(model.predictor), contexts)

    def stored(self) -> list[Stored]:
        """Everything that a bitstream stores, in :meth:`from_stored` order."""
        contexts = [part.cpu().numpy() for network in self._contexts for part in network.stored()]
        return [*contexts, *self._predictor.stored()]

    @staticmethod
    def shapes(model: HacPlusModel) -> list[StoredShape]:
        """Return the shapes of :meth:`stored`, also for a model without data."""
        contexts = [StoredShape(shape) for network in model.context_networks() for shape in network.shapes()]
        return [*contexts, *FixedPredictor.shapes(model.predictor)]

    @staticmethod
    def from_stored(parts: StoredParts, settings: HacPlusSettings) -> FixedModel:
        """Build the networks from the arrays of a bitstream.

        Raises:
            BitstreamError: a value is one that no encoder writes.
        """
        contexts = [parts.mlp() for _ in settings.chunks]
        widths = attribute_widths(settings.feature_dim, settings.num_offsets)
        return FixedModel(settings, FixedPredictor.from_stored(parts, widths), contexts)

    def code(self, stream: SymbolStream, rows: slice, hashed: Tensor, masks: NDArray[np.bool_]) -> None:
        """Code all attributes of a batch.

        Args:
            stream: the stream that writes or reads the symbols.
            rows: places of the n anchors in the stream.
            hashed: ``[n, inputs] float64`` their hash-grid features.
            masks: ``[n, K] bool``; masked offsets are not coded.
        """
        outputs = self._predictor.network(hashed)
        prediction = self._predictor.interpret(outputs)
        self._code_features(stream, rows, outputs, prediction)
        for attribute in ("scalings", "offsets"):
            self._predictor.code_attribute(stream, rows, attribute, prediction, masks)

    def _code_features(self, stream: SymbolStream, rows: slice, outputs: Tensor, prediction: FixedPrediction) -> None:
        dim, exponents = self._settings.feature_dim, self._predictor.exponents
        steps = prediction.step_index[:, :dim]
        stream.start("features", rows, steps, every(len(steps), dim))
        context_inputs, logits = feature_outputs(outputs, dim, len(exponents)), _integers(outputs[:, -dim:])
        for part, network in zip(self._settings.chunks, self._contexts, strict=True):
            mean, log2_scale, logit = np.split(_integers(network(context_inputs)), 3, axis=1)
            second = fixed_prediction(steps[:, part], mean, log2_scale, exponents[part])
            mixture = FixedMixture(prediction.columns(part), second, weights_of(logits[:, part] - logit))
            symbols = stream.code("features", (rows, part), mixture, every(len(steps), part.stop - part.start))
            decoded = scaled_symbols(symbols, steps[:, part], exponents[part], context_inputs.device)
            context_inputs = torch.cat([context_inputs, decoded], dim=1)
        stream.end("features", rows, steps)


class HacPlusCodec(RasterCodec[HacPlusModel, HacPlusHeader, FixedModel]):
    """See :class:`hemgs.anchor_codec.codec.AnchorCodec`."""

    method = SPECS["HacPlus"].id
    Model = HacPlusModel
    Header = HacPlusHeader
    mixed = ("features",)
    #: The number of anchors in a batch is part of the format.
    batch = 1 << 14

    def export(self, entropy: HacPlusModel) -> list[Stored]:
        return FixedModel.export(entropy).stored()

    def shapes(self, blank: HacPlusModel) -> list[StoredShape]:
        return FixedModel.shapes(blank)

    def restore(self, parts: StoredParts, header: HacPlusHeader) -> FixedModel:
        return FixedModel.from_stored(parts, header.entropy)


CODEC = HacPlusCodec()


def _integers(values: Tensor) -> Integers:
    return values.to(torch.int64).cpu().numpy()
