"""HAC++'s bitstream: one file that decodes from itself alone.

Sections in order: settings, locations, masks, hash_grid, networks, features, scalings, offsets. Anchors stand in raster
order. In the section of features, batches of BATCH_ANCHORS follow each other, and in each batch all anchors' first
chunks, then all second ones, and so on. Everything that decides a step, a weight or a probability is integer
arithmetic.

Owns the settings section, the integer form of the chunks' networks and the order of coding. Does not own what all
anchor codecs' files hold alike (``hemgs.entropy.anchor_file``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from baselines.hac_plus.model import HacPlusModel, HacPlusSettings, told_of_features
from baselines.shared.grid_codec import GridHeader
from baselines.shared.predictor import FixedPredictor, fixed_prediction
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, write_container
from hemgs.coding.fixed_point import FixedMlp
from hemgs.core.errors import BitstreamError
from hemgs.core.types import SectionTable
from hemgs.entropy.anchor_file import (
    DAMAGED,
    Places,
    Storage,
    check_digest,
    decode_places,
    finished_anchors,
    header_fields,
    read_anchor_file,
    reading_stream,
    symbol_digest,
    writing_stream,
)
from hemgs.entropy.anchor_header import (
    MAX_OFFSETS,
    MAX_WIDTH,
    check_grid,
    check_integer,
    take_grid,
)
from hemgs.entropy.location_grid import decode_grid, encode_grid, exact_lookup, stored_bounds
from hemgs.entropy.mixture import FixedMixture, weights_of
from hemgs.entropy.prediction import FixedPrediction, Integers, scaled_symbols
from hemgs.entropy.steps import BaseSteps, attribute_widths
from hemgs.entropy.stored_networks import StoredHeads, decode_networks, encode_networks
from hemgs.entropy.streams import SymbolStream, chunks, every

METHOD = "hac_plus"
#: Attributes whose symbols have mixtures for distributions.
MIXED = ("features",)
#: Anchors whose chunks stand together; part of the format.
BATCH_ANCHORS = 1 << 14
#: Arrays of integers of a chunk's network: weights and biases of two layers.
_PARTS = 4


@dataclass(frozen=True, kw_only=True)
class HacPlusHeader(GridHeader):
    """Settings of one bitstream.

    Attributes:
        entropy: sizes of the entropy model.
    """

    entropy: HacPlusSettings

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        entropy = dict(raw.pop("entropy"))
        grid = take_grid(entropy)
        return {"entropy": HacPlusSettings(grid=grid, **entropy)}

    def check(self) -> None:
        super().check()
        check_integer("feature_dim", self.entropy.feature_dim, 1, MAX_WIDTH)
        check_integer("num_offsets", self.entropy.num_offsets, 1, MAX_OFFSETS)
        check_integer("hidden", self.entropy.hidden, 1, MAX_WIDTH)
        check_integer("chunk_channels", self.entropy.chunk_channels, 1, self.entropy.feature_dim)
        check_integer("chunk_hidden", self.entropy.chunk_hidden, 1, MAX_WIDTH)
        check_grid(self.entropy.grid)


class FixedModel:
    """Integer twin of the networks of a :class:`HacPlusModel`.

    Args:
        settings: sizes.
        predictor: the network behind the hash grid.
        contexts: one network for each chunk.
    """

    def __init__(self, settings: HacPlusSettings, predictor: FixedPredictor, contexts: Sequence[FixedMlp]) -> None:
        self._settings, self._predictor, self._contexts = settings, predictor, contexts

    @staticmethod
    def export(model: HacPlusModel) -> FixedModel:
        """Rounds trained networks."""
        contexts = [network.fixed() for network in model.context_networks()]
        return FixedModel(model.settings, FixedPredictor.export(model.predictor), contexts)

    def integers(self) -> list[Integers]:
        """Everything that a bitstream stores, in :meth:`from_integers` order."""
        contexts = [part.cpu().numpy() for network in self._contexts for part in network.integers()]
        return [*contexts, *self._predictor.integers()]

    @staticmethod
    def shapes(model: HacPlusModel) -> list[tuple[int, ...]]:
        """Shapes of :meth:`integers`; a model without data knows them."""
        contexts = [shape for network in model.context_networks() for shape in network.shapes()]
        return [*contexts, *FixedPredictor.shapes(model.predictor)]

    @staticmethod
    def from_integers(parts: Sequence[Integers], settings: HacPlusSettings, device: torch.device | str) -> FixedModel:
        """Rebuilds the networks from a bitstream.

        Raises:
            BitstreamError: values that no encoder writes.
        """
        end = _PARTS * len(settings.chunks)
        widths = attribute_widths(settings.feature_dim, settings.num_offsets)
        predictor = FixedPredictor.from_integers(parts[end:], widths, device)
        tensors = [torch.from_numpy(part) for part in parts[:end]]
        try:
            contexts = [
                FixedMlp.from_integers(tensors[first : first + _PARTS], device) for first in range(0, end, _PARTS)
            ]
        except ValueError as fault:
            raise BitstreamError(f"networks: {fault}", DAMAGED) from fault
        return FixedModel(settings, predictor, contexts)

    def code(self, stream: SymbolStream, rows: slice, hashed: Tensor, masks: NDArray[np.bool_]) -> None:
        """Codes all attributes of a batch.

        Args:
            stream: takes or gives the symbols.
            rows: where the n anchors stand in it.
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
        told, logits = told_of_features(outputs, dim, len(exponents)), _integers(outputs[:, -dim:])
        for part, network in zip(self._settings.chunks, self._contexts, strict=True):
            mean, log2_scale, logit = np.split(_integers(network(told)), 3, axis=1)
            second = fixed_prediction(steps[:, part], mean, log2_scale, exponents[part])
            mixture = FixedMixture(prediction.columns(part), second, weights_of(logits[:, part] - logit))
            symbols = stream.code("features", (rows, part), mixture, every(len(steps), part.stop - part.start))
            known = scaled_symbols(symbols, steps[:, part], exponents[part], told.device)
            told = torch.cat([told, known], dim=1)
        stream.end("features", rows, steps)


def encode_anchors(
    path: Path,
    anchors: AnchorModel,
    entropy: HacPlusModel,
    base_steps: BaseSteps,
    lmbda: float,
    viewpoints: Tensor,
    storage: Storage,
) -> SectionTable:
    """Writes one bitstream; deterministic; the arithmetic runs where the anchors are.

    Args:
        path: of the file.
        anchors, entropy: trained, on one device.
        base_steps: that they were trained with.
        lmbda: that they were trained for.
        viewpoints: ``[V, 3] float32`` camera centres for exports to plain Gaussians.
        storage: how the common sections are written.

    Raises:
        TrainingError: no anchor is left, or an attribute is not finite.
    """
    places, model = Places.of(anchors, storage), FixedModel.export(entropy)
    low, high = stored_bounds(entropy.low, entropy.high, places.strides)
    header = HacPlusHeader(
        lmbda=float(lmbda),
        low=low,
        high=high,
        base_steps=base_steps,
        entropy=entropy.settings,
        **header_fields(anchors, places, viewpoints),
    )
    signs, integers = entropy.grid.signs().cpu().numpy(), model.integers()
    heads = StoredHeads.of(anchors.heads, storage.head_bits)
    stream = writing_stream(anchors, places, header, MIXED)
    _code(header, signs, model, places.stored, places.masks, stream, anchors.coords.device)
    sections = {
        "settings": header.to_bytes(),
        **places.sections(),
        "hash_grid": encode_grid(signs, header.entropy.grid),
        "networks": encode_networks(heads, integers),
        **stream.finish(),
    }
    digest = symbol_digest(places.stored, places.masks, _own_integers(signs, [*heads.integers, *integers]), stream)
    sizes = write_container(path, METHOD, sections, digest)
    return SectionTable(sizes, stream.estimated_bits, {"num_anchors": len(places.stored)})


def decode_anchors(path: Path, device: torch.device | str = "cpu") -> FixedAnchors:
    """Reads one bitstream.

    Raises:
        BitstreamError: anything about the file that is not as :func:`encode_anchors` wrote it.
    """
    return read_anchor_file(path, METHOD, ("hash_grid",), lambda container: _decode(container, device))


def _decode(container: Container, device: torch.device | str) -> FixedAnchors:
    sections = container.sections
    header = HacPlusHeader.from_bytes(sections["settings"])
    settings = header.entropy
    dims = settings.feature_dim, settings.num_offsets
    head_dims = (*dims, header.head_hidden)
    stored, masks = decode_places(sections, settings.num_offsets)
    signs = decode_grid(sections["hash_grid"], settings.grid)
    with torch.device("meta"):
        shapes = FixedModel.shapes(HacPlusModel(settings))
    heads, integers = decode_networks(sections["networks"], head_dims, header.head_bits, shapes)
    model = FixedModel.from_integers(integers, settings, device)
    stream = reading_stream(sections, header, len(stored), *dims, MIXED)
    _code(header, signs, model, stored, masks, stream, device)
    stream.finish()
    check_digest(container, symbol_digest(stored, masks, _own_integers(signs, [*heads.integers, *integers]), stream))
    return finished_anchors(header, stored, masks, heads.restored(head_dims), stream, device)


def _code(
    header: HacPlusHeader,
    signs: NDArray[np.int8],
    model: FixedModel,
    stored: NDArray[np.int64],
    masks: NDArray[np.bool_],
    stream: SymbolStream,
    device: torch.device | str,
) -> None:
    """Walks all anchors in coding order, for encoder and decoder alike."""
    coords = torch.from_numpy(stored).to(device)
    hashed = exact_lookup(header.entropy.grid, torch.from_numpy(signs), coords, header.low, header.high)
    for rows in chunks(len(stored), BATCH_ANCHORS):
        model.code(stream, rows, hashed[rows].double(), masks[rows])


def _integers(values: Tensor) -> Integers:
    return values.to(torch.int64).cpu().numpy()


def _own_integers(signs: NDArray[np.int8], integers: Sequence[Integers]) -> Iterator[tuple[str, ArrayLike]]:
    """What HAC++ decodes besides what all codecs do, by section."""
    yield "hash_grid", signs.astype(np.int64)
    for array in integers:
        yield "networks", array
