"""ContextGS's bitstream: one file that decodes from itself alone.

Sections in order: settings, locations, masks, networks, hyper, features, scalings, offsets. Locations, masks and
latents stand in raster order; symbols of attributes by level, the coarsest first, and in raster order within.
Everything that decides a level, a step or a probability is integer arithmetic.

Owns the settings section and the order of coding. Does not own what all anchor codecs' files hold alike
(``hemgs.entropy.anchor_file``).
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

from baselines.context_gs.hyper import decode_latents, encode_latents
from baselines.context_gs.levels import build_levels
from baselines.context_gs.model import LOCATION_LIMIT, ContextModel, ContextSettings, inputs_of
from baselines.shared.predictor import FixedPredictor
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container, write_container
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.core.errors import BitstreamError, TrainingError
from hemgs.core.types import SectionTable
from hemgs.entropy.anchor_file import (
    AS_PUBLISHED,
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
from hemgs.entropy.anchor_header import MAX_OFFSETS, MAX_WIDTH, AnchorHeader, check_integer, three
from hemgs.entropy.prediction import Integers, scaled_symbols
from hemgs.entropy.steps import ATTRIBUTES, BaseSteps, attribute_widths
from hemgs.entropy.stored_networks import StoredHeads, StoredShape, decode_networks, encode_networks
from hemgs.entropy.streams import SymbolStream, chunks

METHOD = "context_gs"
#: Limits on what a file may ask for: the coder has a table for at most 81 channels of latents.
MAX_LATENTS, MAX_LEVELS = 64, 4
#: Stored locations are less than this in size; so all sums below stay within int64.
MAX_COORDINATE = 1 << 32
MAX_SCALE, MAX_UNIT = 1 << 40, 1 << 29
#: Fractional bits of the factor that makes network inputs of stored locations, beyond those of activations.
UNIT_BITS = 20


@dataclass(frozen=True, kw_only=True)
class ContextHeader(AnchorHeader):
    """Settings of one bitstream.

    Attributes:
        scales: widths of cells x y z from the finest level up, in ``1 / levels.ONE`` of a stored location unit.
        centre: stored location of the middle of the scene.
        units: by axis, what one stored unit is for the networks, in ``2^-(ACTIVATION_BITS + UNIT_BITS)``.
        entropy: sizes of the entropy model.
    """

    scales: tuple[int, ...]
    centre: tuple[int, int, int]
    units: tuple[int, int, int]
    entropy: ContextSettings

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        return {"entropy": ContextSettings(**raw.pop("entropy"))}

    def check(self) -> None:
        super().check()
        check_integer("feature_dim", self.entropy.feature_dim, 1, MAX_WIDTH)
        check_integer("num_offsets", self.entropy.num_offsets, 1, MAX_OFFSETS)
        check_integer("hidden", self.entropy.hidden, 1, MAX_WIDTH)
        check_integer("latent_dim", self.entropy.latent_dim, 1, MAX_LATENTS)
        check_integer("num_levels", self.entropy.num_levels, 1, MAX_LEVELS)
        if not isinstance(self.scales, tuple) or len(self.scales) != 3 * (self.entropy.num_levels - 1):
            raise ValueError(f"scales are {self.scales!r}, not three for each level but the finest")
        for scale in self.scales:
            check_integer("scales", scale, 1, MAX_SCALE)
        for value in three(self.centre, "centre"):
            check_integer("centre", value, -MAX_COORDINATE, MAX_COORDINATE)
        for value in three(self.units, "units"):
            check_integer("units", value, 1, MAX_UNIT)

    @property
    def scales_by_level(self) -> list[tuple[int, ...]]:
        """From the finest level up."""
        return [self.scales[first : first + 3] for first in range(0, len(self.scales), 3)]


def encode_anchors(
    path: Path,
    anchors: AnchorModel,
    entropy: ContextModel,
    base_steps: BaseSteps,
    lmbda: float,
    viewpoints: Tensor,
    storage: Storage = AS_PUBLISHED,
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
        TrainingError: no anchor is left, or an attribute or a latent is not finite.
    """
    places = Places.of(anchors, storage)
    header = _header(anchors, places, entropy, base_steps, lmbda, viewpoints)
    predictors = [FixedPredictor.export(predictor) for predictor in entropy.networks()]
    latents = _latent_symbols(anchors, places)
    heads = StoredHeads.of(anchors.heads, storage.head_bits)
    stream = writing_stream(anchors, places, header)
    walk = _Walk(header, predictors, places.stored, latents, anchors.coords.device)
    walk.code(places.masks, stream)
    hyper, hyper_bits = encode_latents(latents, entropy.density.frequencies)
    integers = _all_integers(predictors)
    sections = {
        "settings": header.to_bytes(),
        **places.sections(),
        "networks": encode_networks(heads, integers),
        "hyper": hyper,
        **stream.finish(),
    }
    digest = symbol_digest(places.stored, places.masks, _own_integers([*heads.integers, *integers], latents), stream)
    sizes = write_container(path, METHOD, sections, digest)
    return SectionTable(sizes, {"hyper": hyper_bits, **stream.estimated_bits}, walk.figures())


def decode_anchors(path: Path, device: torch.device | str = "cpu") -> FixedAnchors:
    """Reads one bitstream.

    Raises:
        BitstreamError: anything about the file that is not as :func:`encode_anchors` wrote it.
    """
    return read_anchor_file(path, METHOD, ("hyper",), lambda container: _decode(container, device))


def _decode(container: Container, device: torch.device | str) -> FixedAnchors:
    sections = container.sections
    header = ContextHeader.from_bytes(sections["settings"])
    settings = header.entropy
    dims = settings.feature_dim, settings.num_offsets
    head_dims = (*dims, header.head_hidden)
    stored, masks = decode_places(sections, settings.num_offsets)
    if np.abs(stored).max(initial=0) >= MAX_COORDINATE:
        raise BitstreamError(f"section locations: an anchor lies {MAX_COORDINATE} or more units out", DAMAGED)
    with torch.device("meta"):
        shapes = [FixedPredictor.shapes(predictor) for predictor in ContextModel(settings).networks()]
    every_shape = [StoredShape(shape) for part in shapes for shape in part]
    heads, integers = decode_networks(sections["networks"], head_dims, header.head_bits, every_shape)
    size = len(shapes[0])
    parts = [integers[first : first + size] for first in range(0, len(integers), size)]
    predictors = [FixedPredictor.from_integers(part, attribute_widths(*dims), device) for part in parts]
    latents = decode_latents(sections["hyper"], len(stored), settings.latent_dim)
    stream = reading_stream(sections, header, len(stored), *dims)
    _Walk(header, predictors, stored, latents, device).code(masks, stream)
    stream.finish()
    check_digest(container, symbol_digest(stored, masks, _own_integers([*heads.integers, *integers], latents), stream))
    return finished_anchors(header, stored, masks, heads.restored(head_dims), stream, device)


class _Walk:
    """All anchors in coding order, for encoder and decoder alike.

    Args:
        header: settings.
        predictors: the coarsest level's network first.
        stored: ``[N, 3]`` locations in raster order.
        latents: ``[N, L]``.
        device: does the arithmetic.
    """

    def __init__(
        self,
        header: ContextHeader,
        predictors: Sequence[FixedPredictor],
        stored: Integers,
        latents: Integers,
        device: torch.device | str,
    ) -> None:
        self._header, self._predictors, self._device = header, predictors, device
        self._stored, self._latents = stored, latents
        self._levels = build_levels(stored, header.scales_by_level)
        self._steps = np.zeros((len(stored), header.entropy.context_dim), np.int16)

    def figures(self) -> dict[str, float]:
        """Numbers of anchors, for tables."""
        each = [len(rows) for rows in self._levels.coarse_to_fine()]
        return {"num_anchors": sum(each), "num_anchors_coarsest": each[0]}

    def code(self, masks: NDArray[np.bool_], stream: SymbolStream) -> None:
        """Codes all attributes; ``masks`` are ``[N, K]``."""
        for level, (predictor, members) in enumerate(zip(self._predictors, self._levels.coarse_to_fine(), strict=True)):
            for part in chunks(len(members)):
                rows = members[part]
                context = self._context(predictor, rows, stream) if level else None
                inputs = inputs_of(self._located(rows), context, self._tensor(self._latents[rows] << ACTIVATION_BITS))
                prediction = predictor.code(stream, rows, inputs, masks[rows])
                self._steps[rows] = prediction.step_index[:, : self._steps.shape[1]]

    def _located(self, rows: Integers) -> Tensor:
        """Locations as networks take them, ``[n, 3] float64`` integers."""
        away = (self._stored[rows] - np.array(self._header.centre)) * np.array(self._header.units)
        limit = LOCATION_LIMIT << ACTIVATION_BITS
        return self._tensor(((away + (1 << (UNIT_BITS - 1))) >> UNIT_BITS).clip(-limit, limit))

    def _context(self, predictor: FixedPredictor, rows: Integers, stream: SymbolStream) -> Tensor:
        """Decoded features and scalings of the anchors' coarse ones, ``[n, D + 6] float64`` integers."""
        coarse = self._levels.representative[rows]
        symbols = np.concatenate([stream.symbols[name][coarse] for name in ATTRIBUTES[:2]], axis=1)
        steps = self._steps[coarse].astype(np.int64)
        return scaled_symbols(symbols, steps, predictor.exponents[: symbols.shape[1]], self._device)

    def _tensor(self, values: Integers) -> Tensor:
        return torch.from_numpy(values).double().to(self._device)


def _header(
    anchors: AnchorModel,
    places: Places,
    entropy: ContextModel,
    base_steps: BaseSteps,
    lmbda: float,
    viewpoints: Tensor,
) -> ContextHeader:
    """Settings in stored location units, of which ``places.strides`` lattice units make one."""
    strides, unit = places.strides, float(entropy.unit)
    scales = [max(1, round(scale / stride)) for scale in entropy.scales.tolist() for stride in strides]
    centre = [round(value / stride) for value, stride in zip(entropy.centre.tolist(), strides, strict=True)]
    one = 1 << (ACTIVATION_BITS + UNIT_BITS)
    units = [min(max(1, round(one * stride / unit)), MAX_UNIT) for stride in strides]
    return ContextHeader(
        lmbda=float(lmbda),
        scales=tuple(scales),
        centre=(centre[0], centre[1], centre[2]),
        units=(units[0], units[1], units[2]),
        base_steps=base_steps,
        entropy=entropy.settings,
        **header_fields(anchors, places, viewpoints),
    )


def _latent_symbols(anchors: AnchorModel, places: Places) -> Integers:
    """Latents to code, ``[N, L] int64``.

    Raises:
        TrainingError: one is not finite, or so large that training must have gone wrong.
    """
    rows = torch.from_numpy(places.rows).to(anchors.coords.device)
    values = anchors.latents.detach().index_select(0, rows).double().round().cpu().numpy()
    if not np.all(np.abs(values) < 2.0**30):  # NaN fails too
        raise TrainingError("anchor latents are not finite", "train again with lower learning rates")
    return values.astype(np.int64)


def _all_integers(predictors: Sequence[FixedPredictor]) -> list[Integers]:
    return [part for predictor in predictors for part in predictor.integers()]


def _own_integers(integers: Sequence[Integers], latents: Integers) -> Iterator[tuple[str, ArrayLike]]:
    """What ContextGS decodes besides what all codecs do, by section."""
    for array in integers:
        yield "networks", array
    yield "hyper", latents
