"""HAC's bitstream: one file that decodes from itself alone.

Owns the settings section. Does not own the sections and the walk over anchors, which are those of HAC++ too
(``baselines.shared.grid_file``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.hac.model import HacModel, HacSettings
from baselines.shared.grid_codec import GridHeader
from baselines.shared.grid_file import SECTIONS, GridFormat
from baselines.shared.predictor import FixedPredictor
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import Container
from hemgs.core.types import SectionTable
from hemgs.entropy.anchor_file import (
    AS_PUBLISHED,
    Places,
    Storage,
    header_fields,
    read_anchor_file,
)
from hemgs.entropy.anchor_header import (
    MAX_OFFSETS,
    MAX_WIDTH,
    check_grid,
    check_integer,
    take_grid,
)
from hemgs.entropy.location_grid import stored_bounds
from hemgs.entropy.prediction import Integers
from hemgs.entropy.steps import BaseSteps, attribute_widths

METHOD = "hac"
_FORMAT = GridFormat(METHOD)


@dataclass(frozen=True, kw_only=True)
class HacHeader(GridHeader):
    """Settings of one bitstream.

    Attributes:
        entropy: sizes of the entropy model.
    """

    entropy: HacSettings

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        entropy = dict(raw.pop("entropy"))
        grid = take_grid(entropy)
        return {"entropy": HacSettings(grid=grid, **entropy)}

    def check(self) -> None:
        super().check()
        check_integer("feature_dim", self.entropy.feature_dim, 1, MAX_WIDTH)
        check_integer("num_offsets", self.entropy.num_offsets, 1, MAX_OFFSETS)
        check_integer("hidden", self.entropy.hidden, 1, MAX_WIDTH)
        check_grid(self.entropy.grid)


def encode_anchors(
    path: Path,
    anchors: AnchorModel,
    entropy: HacModel,
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
        TrainingError: no anchor is left, or an attribute is not finite.
    """
    places = Places.of(anchors, storage)
    low, high = stored_bounds(entropy.low, entropy.high, places.strides)
    header = HacHeader(
        lmbda=float(lmbda),
        low=low,
        high=high,
        base_steps=base_steps,
        entropy=entropy.settings,
        **header_fields(anchors, places, viewpoints),
    )
    predictor = FixedPredictor.export(entropy.predictor)
    return _FORMAT.write(
        path, anchors, places, header, entropy.settings.grid, entropy.grid.signs().cpu().numpy(), predictor
    )


def decode_anchors(path: Path, device: torch.device | str = "cpu") -> FixedAnchors:
    """Reads one bitstream.

    Raises:
        BitstreamError: anything about the file that is not as :func:`encode_anchors` wrote it.
    """
    return read_anchor_file(path, METHOD, SECTIONS, lambda container: _decode(container, device))


def _decode(container: Container, device: torch.device | str) -> FixedAnchors:
    header = HacHeader.from_bytes(container.sections["settings"])
    settings = header.entropy
    dims = settings.feature_dim, settings.num_offsets
    with torch.device("meta"):
        shapes = FixedPredictor.shapes(HacModel(settings).predictor)

    def predictor(integers: list[Integers]) -> FixedPredictor:
        return FixedPredictor.from_integers(integers, attribute_widths(*dims), device)

    return _FORMAT.read(container, header, settings.grid, dims, shapes, predictor, device)
