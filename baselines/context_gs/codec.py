"""ContextGS's bitstream: one file that decodes without any other.

Latents follow the networks, in raster order. Symbols of attributes are ordered by level, the coarsest first, and in
raster order inside a level. Integer arithmetic also decides the levels.

Owns the settings section, the symbols of latents, and the order of coding. Does not own the file around them
(``hemgs.anchor_codec.codec``) or the section of latents (``hyper``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from baselines.context_gs.hyper import decode_latents, encode_latents
from baselines.context_gs.levels import build_levels
from baselines.context_gs.model import LOCATION_LIMIT, ContextModel, inputs_of
from baselines.context_gs.params import SPECS, ContextSettings
from baselines.shared.predictor import FixedPredictor
from hemgs.anchor_codec.codec import AnchorCodec, CodecHeader, CodingTask
from hemgs.anchor_codec.file import DAMAGED, Places
from hemgs.anchor_codec.header import three
from hemgs.anchor_codec.prediction import Integers, scaled_symbols
from hemgs.anchor_codec.steps import ATTRIBUTES, attribute_widths
from hemgs.anchor_codec.stored_networks import Stored, StoredParts, StoredShape
from hemgs.anchor_codec.streams import chunks
from hemgs.anchors.model import AnchorModel
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.core.bounded import check_integer
from hemgs.core.errors import BitstreamError, TrainingError

#: Stored locations are smaller than this in size, so that all sums below stay within int64.
MAX_COORDINATE = 1 << 32
MAX_SCALE, MAX_UNIT = 1 << 40, 1 << 29
#: Fractional bits of the factor from stored locations to network inputs, beyond those of activations.
UNIT_BITS = 20


@dataclass(frozen=True, kw_only=True)
class ContextHeader(CodecHeader):
    """Settings of one bitstream.

    Attributes:
        scales: widths of cells x y z from the finest level up, in ``1 / levels.ONE`` of a stored location unit.
        centre: stored location of the middle of the scene.
        units: by axis, the network's length of one stored unit, in ``2^-(ACTIVATION_BITS + UNIT_BITS)``.
    """

    Settings: ClassVar[type] = ContextSettings
    scales: tuple[int, ...]
    centre: tuple[int, int, int]
    units: tuple[int, int, int]
    entropy: ContextSettings

    def check(self) -> None:
        super().check()
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
        """Scales from the finest level up."""
        return [self.scales[first : first + 3] for first in range(0, len(self.scales), 3)]


class ContextCodec(AnchorCodec[ContextModel, ContextHeader, list[FixedPredictor]]):
    """See :class:`AnchorCodec`.

    The side information is the latents, ``[N, L] int64``. There is a network for each level, the coarsest first.
    """

    method = SPECS["ContextGs"].id
    Model = ContextModel
    Header = ContextHeader
    side_section = "hyper"
    side_first = False

    def own_fields(self, entropy: ContextModel, strides: tuple[float, float, float]) -> dict[str, Any]:
        unit, one = float(entropy.unit), 1 << (ACTIVATION_BITS + UNIT_BITS)
        scales = [max(1, round(scale / stride)) for scale in entropy.scales.tolist() for stride in strides]
        centre = [round(value / stride) for value, stride in zip(entropy.centre.tolist(), strides, strict=True)]
        units = [min(max(1, round(one * stride / unit)), MAX_UNIT) for stride in strides]
        return {"scales": tuple(scales), "centre": tuple(centre), "units": tuple(units)}

    def export(self, entropy: ContextModel) -> list[Stored]:
        return [part for predictor in entropy.networks() for part in FixedPredictor.export(predictor).stored()]

    def shapes(self, blank: ContextModel) -> list[StoredShape]:
        return [shape for predictor in blank.networks() for shape in FixedPredictor.shapes(predictor)]

    def restore(self, parts: StoredParts, header: ContextHeader) -> list[FixedPredictor]:
        widths = attribute_widths(header.entropy.feature_dim, header.entropy.num_offsets)
        return [FixedPredictor.from_stored(parts, widths) for _ in range(header.entropy.num_levels)]

    def side(self, anchors: AnchorModel, places: Places, entropy: ContextModel) -> Integers:
        rows = torch.from_numpy(places.rows).to(anchors.coords.device)
        values = anchors.latents.detach().index_select(0, rows).double().round().cpu().numpy()
        # Latents are so large only if training failed; NaN fails, too.
        if not np.all(np.abs(values) < 2.0**30):
            raise TrainingError("anchor latents are not finite", "train again with lower learning rates")
        return values.astype(np.int64)

    def encode_side(
        self, side: Integers, header: ContextHeader, locations: Integers, entropy: ContextModel
    ) -> tuple[bytes, dict[str, float]]:
        section, bits = encode_latents(side, entropy.density.frequencies)
        return section, {self.side_section: bits}

    def decode_side(self, section: bytes, header: ContextHeader, locations: Integers) -> Integers:
        if np.abs(locations).max(initial=0) >= MAX_COORDINATE:
            raise BitstreamError(f"section locations: an anchor lies {MAX_COORDINATE} or more units out", DAMAGED)
        return decode_latents(section, len(locations), header.entropy.latent_dim)

    def walk(self, task: CodingTask[ContextHeader, list[FixedPredictor]]) -> dict[str, float]:
        walk = _Walk(task)
        walk.code()
        return walk.figures()


class _Walk:
    """All anchors in coding order, for encoder and decoder."""

    def __init__(self, task: CodingTask[ContextHeader, list[FixedPredictor]]) -> None:
        self._task = task
        self._levels = build_levels(task.locations, task.header.scales_by_level)
        self._steps = np.zeros((len(task.locations), task.header.entropy.context_dim), np.int16)

    def figures(self) -> dict[str, float]:
        """Return numbers of anchors, for tables."""
        each = [len(rows) for rows in self._levels.coarse_to_fine()]
        return {"num_anchors": sum(each), "num_anchors_coarsest": each[0]}

    def code(self) -> None:
        """Code all attributes."""
        task = self._task
        parts = zip(task.coder, self._levels.coarse_to_fine(), strict=True)
        for level, (predictor, members) in enumerate(parts):
            for part in chunks(len(members)):
                rows = members[part]
                context = self._context(predictor, rows) if level else None
                inputs = inputs_of(self._located(rows), context, self._tensor(task.side[rows] << ACTIVATION_BITS))
                prediction = predictor.code(task.stream, rows, inputs, task.masks[rows])
                self._steps[rows] = prediction.step_index[:, : self._steps.shape[1]]

    def _located(self, rows: Integers) -> Tensor:
        """Convert locations to network inputs, ``[n, 3] float64`` integers."""
        header = self._task.header
        away = (self._task.locations[rows] - np.array(header.centre)) * np.array(header.units)
        limit = LOCATION_LIMIT << ACTIVATION_BITS
        return self._tensor(((away + (1 << (UNIT_BITS - 1))) >> UNIT_BITS).clip(-limit, limit))

    def _context(self, predictor: FixedPredictor, rows: Integers) -> Tensor:
        """Return decoded features and scalings of the anchors' coarse anchors, ``[n, D + 6] float64`` integers."""
        coarse = self._levels.representative[rows]
        symbols = np.concatenate([self._task.stream.symbols[name][coarse] for name in ATTRIBUTES[:2]], axis=1)
        steps = self._steps[coarse].astype(np.int64)
        return scaled_symbols(symbols, steps, predictor.exponents[: symbols.shape[1]], self._task.device)

    def _tensor(self, values: Integers) -> Tensor:
        return torch.from_numpy(values).double().to(self._task.device)


CODEC = ContextCodec()
