"""Scaffold-GS as a method of the benchmark: it connects anchor training, the codec and the shared renderer."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from baselines.scaffold_gs.codec import METHOD, check_file, decode_anchors, encode_anchors
from baselines.scaffold_gs.params import SPECS, ScaffoldGsParams
from hemgs.anchors.attribute_model import AttributeModel
from hemgs.anchors.rendering import FixedAnchors, viewpoints
from hemgs.anchors.training import train_anchors
from hemgs.config.params import params_of
from hemgs.core.types import MethodSpec, Rate, SectionTable
from hemgs.protocol import Model, TrainingTask


class ScaffoldGs:
    """Scaffold-GS; ``README.md`` in this folder lists source, licence and deviations."""

    spec: ClassVar[MethodSpec] = SPECS["ScaffoldGs"]
    Params: ClassVar[type] = ScaffoldGsParams
    Decoded = FixedAnchors

    def train(self, task: TrainingTask) -> Model:
        """See :class:`hemgs.protocol.Method`; the rate has no effect."""
        settings = params_of(ScaffoldGsParams, task.params)
        anchors = train_anchors(task, settings, AttributeModel(), {"method": METHOD})
        return FixedAnchors(anchors.positions, anchors.attributes(), anchors.heads, viewpoints(task.scene)).to_bundle()

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        """See :class:`hemgs.protocol.Method`; there is one rate, and nothing to compute on a device."""
        return encode_anchors(FixedAnchors.from_bundle(model), path)

    def decode(self, path: Path, *, device: torch.device) -> FixedAnchors:
        """See :class:`hemgs.protocol.Method`."""
        return decode_anchors(path).to(device)

    def check_file(self, path: Path) -> None:
        """See :class:`hemgs.protocol.CanCheckFile`."""
        check_file(path)
