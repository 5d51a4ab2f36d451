"""Scaffold-GS as a method of the benchmark: it connects anchor training, the codec and the shared renderer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.scaffold_gs.codec import METHOD, decode_anchors, encode_anchors
from baselines.scaffold_gs.params import ScaffoldGsParams
from hemgs.anchors.rendering import FixedAnchors, anchors_to_cloud, camera_center, render_anchors, viewpoints
from hemgs.anchors.training import AttributeModel, train_anchors
from hemgs.config.params import params_of
from hemgs.core.bundle import Bundle
from hemgs.core.events import EventLog
from hemgs.core.types import Camera, MethodSpec, Rate, Scene, SectionTable
from hemgs.protocol import Model, Renderable
from hemgs.splats.cloud import GaussianCloud


class ScaffoldGs:
    """Scaffold-GS; ``README.md`` in this folder lists source, licence and deviations."""

    spec: ClassVar[MethodSpec] = MethodSpec(
        id=METHOD,
        label="Scaffold-GS",
        kind="single",
        attributes=("locations", "features", "scalings", "offsets", "networks"),
    )
    Params: ClassVar[type] = ScaffoldGsParams

    def train(
        self,
        scene: Scene,
        params: Mapping[str, Any],
        workdir: Path,
        events: EventLog,
        *,
        rate: Rate,
        seed: int,
        device: torch.device,
    ) -> Model:
        """See :class:`hemgs.protocol.Method`; ``rate`` has no effect."""
        chosen = params_of(ScaffoldGsParams, params)
        anchors = train_anchors(
            scene, chosen, AttributeModel(), workdir, events, seed, device, identity={"method": METHOD}
        )
        return FixedAnchors(anchors.positions, anchors.attributes(), anchors.heads, viewpoints(scene)).to_bundle()

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        """See :class:`hemgs.protocol.Method`; there is one rate, and nothing to compute on a device."""
        return encode_anchors(FixedAnchors.from_bundle(model), path)

    def decode(self, path: Path, *, device: torch.device) -> Renderable:
        """See :class:`hemgs.protocol.Method`."""
        bundle = decode_anchors(path).to_bundle()
        return Bundle({name: tensor.to(device) for name, tensor in bundle.tensors.items()}, bundle.meta)

    def render(self, renderable: Renderable, camera: Camera, background: tuple[float, float, float]) -> Tensor:
        """See :class:`hemgs.protocol.Method`."""
        return render_anchors(FixedAnchors.from_bundle(renderable), camera, background).clamp(0.0, 1.0)

    def to_splats(self, renderable: Renderable, camera: Camera | None = None) -> GaussianCloud:
        """Return the Gaussians that ``camera`` sees; without one, averaged over the viewpoints stored in the file."""
        anchors = FixedAnchors.from_bundle(renderable)
        centers = None if camera is None else camera_center(camera, anchors.positions.device)[None]
        return anchors_to_cloud(anchors, centers)
