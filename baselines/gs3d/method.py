"""3DGS as a method of the benchmark: glue between its model, its codec and the shared renderer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.gs3d.codec import METHOD, decode_cloud, encode_cloud
from hemgs.core.bundle import Bundle
from hemgs.core.events import EventLog
from hemgs.core.params import params_of
from hemgs.core.types import Camera, MethodSpec, Rate, Scene, SectionTable
from hemgs.protocol import Model, Renderable
from hemgs.render import render_view
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.training import GaussianTrainee, Gs3dParams
from hemgs.training.loop import LoopSettings, fit


class Gs3d:
    """Vanilla 3DGS; see ``README.md`` beside this file for source, licence and deviations."""

    spec: ClassVar[MethodSpec] = MethodSpec(
        id=METHOD,
        label="3DGS",
        kind="single",
        attributes=("locations", "colors", "opacities", "scalings", "rotations"),
    )
    Params: ClassVar[type] = Gs3dParams

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
        """See :class:`hemgs.protocol.Method`; ``rate`` plays no part."""
        chosen = params_of(Gs3dParams, params)
        trainee = GaussianTrainee(scene, chosen, device)
        settings = LoopSettings(
            iterations=chosen.iterations,
            seed=seed,
            checkpoint_every=chosen.checkpoint_every,
            log_every=chosen.log_every,
            identity={"method": METHOD, **asdict(chosen), "checkpoint_every": None, "log_every": None},
        )
        fit(trainee, scene, settings, workdir, events, device)
        return _as_bundle(trainee.cloud())

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        """See :class:`hemgs.protocol.Method`; there is one rate, and nothing to compute on a device."""
        return encode_cloud(_as_cloud(model), path)

    def decode(self, path: Path, *, device: torch.device) -> Renderable:
        """See :class:`hemgs.protocol.Method`."""
        return _as_bundle(decode_cloud(path).to(device))

    def render(self, renderable: Renderable, camera: Camera, background: tuple[float, float, float]) -> Tensor:
        """See :class:`hemgs.protocol.Method`."""
        cloud = _as_cloud(renderable)
        with torch.no_grad():
            view = render_view(
                cloud.means,
                cloud.quats,
                cloud.log_scales.exp(),
                cloud.opacity_logits.sigmoid(),
                cloud.sh,
                camera,
                background,
                sh_degree=cloud.sh_degree,
            )
            image: Tensor = view.image.clamp(0.0, 1.0)
        return image

    def to_splats(self, renderable: Renderable, camera: Camera | None = None) -> GaussianCloud:
        """The Gaussians themselves, exactly; no part depends on ``camera``."""
        return _as_cloud(renderable)


def _as_bundle(cloud: GaussianCloud) -> Bundle:
    return Bundle(dict(vars(cloud)), {"method": METHOD, "num_gaussians": cloud.num_gaussians})


def _as_cloud(bundle: Bundle) -> GaussianCloud:
    return GaussianCloud(**{field.name: bundle.tensors[field.name] for field in fields(GaussianCloud)})
