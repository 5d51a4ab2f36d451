"""A method on plain Gaussians that overrides every hook. It is useful for tests, not for pictures.

Positions are trained in logarithmic space, and a network makes higher bands of rounded latents. Log-scales snap to
codes, and masks gate Gaussians. Pictures grow from coarse to fine. Rows are sorted and pruned out of turn.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.shared.raw_floats import FIX, open_sections, read_sections, write_sections
from hemgs.config.params import Amount, Count, Positive, Share
from hemgs.core.errors import BitstreamError
from hemgs.core.types import Camera, MethodSpec, Rate, Scene, SectionTable
from hemgs.protocol import Model
from hemgs.splats.cloud import GaussianCloud, Gaussians
from hemgs.splats.densify import lowered
from hemgs.splats.method import SplatMethod
from hemgs.splats.model import SplatModel, smaller_view
from hemgs.splats.params import SplatParams
from hemgs.training.networks import ParameterGroup
from hemgs.training.rows import RowParameters
from hemgs.training.schedule import Milestones

_HEADER = struct.Struct("<IB")
NUM_LATENTS = 4


@dataclass(frozen=True)
class ToyParams(SplatParams):
    """Settings; iteration numbers are those for 30,000."""

    num_codes: Positive = 8
    codes_from: Count = 10_000
    cluster_every: Positive = 3_000
    sort_every: Positive = 4_000
    fine_from: Count = 15_000
    mask_weight: Amount = 0.01
    min_mask: Share = 0.3


class ToyModel(SplatModel):
    """The model of the rows; ``calls`` counts the calls of every hook."""

    params: ToyParams

    def __init__(self, params: ToyParams) -> None:
        super().__init__(params)
        self._milestones = Milestones(params.iterations)
        self.decoder = nn.Linear(NUM_LATENTS, 3 * ((params.sh_degree + 1) ** 2 - 1))
        self.codes = torch.zeros(params.num_codes, 3)
        self.quantising = False
        self.calls: dict[str, int] = {}

    def start(self, cloud: GaussianCloud, scene: Scene) -> dict[str, Tensor]:
        self._count("start")
        rows = super().start(cloud, scene)
        del rows["sh_rest"]
        device = cloud.means.device
        self.decoder.to(device)
        self.codes = self.codes.to(device)
        rows["means"] = self.stored_means(cloud.means)
        rows["sh_latents"] = torch.zeros(cloud.num_gaussians, NUM_LATENTS, device=device)
        rows["mask_logits"] = torch.ones(cloud.num_gaussians, device=device)
        return rows

    def parameter_groups(self) -> list[ParameterGroup]:
        self._count("parameter_groups")
        return [ParameterGroup("decoder", list(self.decoder.parameters()), 1e-2, 1e-3)]

    def learning_rates(self, iteration: int) -> dict[str, float]:
        self._count("learning_rates")
        norm = float(self.decoder.weight.detach().norm())
        own = {"sh_latents": 0.1 / norm, "mask_logits": 0.05, "decoder": 1e-2 * min(1.0, iteration / 10)}
        return super().learning_rates(iteration) | own

    def view(
        self, iteration: int, camera: Camera, image: Tensor, mask: Tensor | None
    ) -> tuple[Camera, Tensor, Tensor | None]:
        self._count("view")
        part = min(1.0, iteration / self._milestones.at(self.params.fine_from))
        return smaller_view(camera, image, mask, 0.5 + 0.5 * part)

    def cloud(self, rows: RowParameters) -> GaussianCloud:
        self._count("cloud")
        stored, log_scales, latents = rows["means"], rows["log_scales"], rows["sh_latents"]
        rest = self.decoder(through(latents, latents.round())).reshape(rows.num_rows, -1, 3)
        if self.quantising:
            log_scales = through(log_scales, self.codes[rows.buffers["codes"]])
        return GaussianCloud(
            means=stored.sign() * torch.expm1(stored.abs()),
            log_scales=log_scales,
            quats=rows["quats"],
            opacity_logits=rows["opacity_logits"],
            sh=torch.cat([rows["sh"], rest], dim=1),
        )

    def gaussians(self, rows: RowParameters, iteration: int, camera: Camera, sh_degree: int) -> Gaussians:
        self._count("gaussians")
        plain, masks = super().gaussians(rows, iteration, camera, sh_degree), rows["mask_logits"].sigmoid()
        gates = through(masks, (masks > self.params.min_mask).float())
        return replace(plain, scales=gates[:, None] * plain.scales, opacities=gates * plain.opacities)

    def extra_loss(self, rows: RowParameters, iteration: int, gaussians: Gaussians, camera: Camera) -> Tensor:
        self._count("extra_loss")
        return self.params.mask_weight * rows["mask_logits"].sigmoid().mean()

    def stored_means(self, means: Tensor) -> Tensor:
        self._count("stored_means")
        return means.sign() * torch.log1p(means.abs())

    def pruned(self, rows: RowParameters, iteration: int) -> Tensor:
        self._count("pruned")
        return rows["mask_logits"].sigmoid() <= self.params.min_mask

    def reset_opacities(self, rows: RowParameters) -> None:
        self._count("reset_opacities")
        rows.replace("opacity_logits", lowered(rows["opacity_logits"]) - 0.1)

    def after_step(self, rows: RowParameters, iteration: int) -> None:
        self._count("after_step")
        due = self._milestones.is_due
        if due(iteration, self.params.sort_every):
            rows.keep(torch.argsort(rows["means"][:, 0], stable=True))
        if self.quantising and due(iteration, self.params.sort_every):
            rows.keep(rows["mask_logits"].sigmoid() > self.params.min_mask)
        if iteration >= self._milestones.at(self.params.codes_from) and due(iteration, self.params.cluster_every):
            self._cluster(rows)

    def state(self) -> dict[str, Tensor]:
        self._count("state")
        return {"codes": self.codes, "quantising": torch.tensor(self.quantising)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._count("restore")
        self.codes, self.quantising = tensors["codes"].to(self.codes), bool(tensors["quantising"])

    def estimated_bytes(self, rows: RowParameters) -> int:
        self._count("estimated_bytes")
        return 50 * rows.num_rows

    def _cluster(self, rows: RowParameters) -> None:
        """One step of Lloyd's algorithm; the first codes are rows drawn at random."""
        values = rows["log_scales"]
        if not self.quantising:
            self.codes = values[torch.randint(rows.num_rows, (self.params.num_codes,))].clone()
        nearest = torch.cdist(values, self.codes).argmin(dim=1)
        counts = torch.bincount(nearest, minlength=len(self.codes)).clamp(min=1)
        self.codes = torch.zeros_like(self.codes).index_add_(0, nearest, values) / counts[:, None]
        rows.buffers["codes"] = nearest
        self.quantising = True

    def _count(self, hook: str) -> None:
        self.calls[hook] = self.calls.get(hook, 0) + 1


class ToySplats(SplatMethod[ToyParams]):
    """The toy as a method: a training of its own, and files of raw values."""

    spec: ClassVar[MethodSpec] = MethodSpec("toy_splats", "Toy", "single", attributes=("locations", "colors"))
    Params: ClassVar[type] = ToyParams

    def model(self, settings: ToyParams, rate: Rate) -> SplatModel:
        return ToyModel(settings)

    def write(self, path: Path, model: Model, settings: ToyParams, rate: Rate) -> SectionTable:
        cloud = GaussianCloud.from_bundle(model)
        header = _HEADER.pack(cloud.num_gaussians, cloud.sh_degree)
        return write_sections(path, self.spec.id, header, cloud.to_bundle().tensors)

    def read(self, path: Path) -> GaussianCloud:
        header, container = open_sections(path, self.spec.id)
        if len(header) != _HEADER.size:
            raise BitstreamError(f"{path}: section settings has {len(header)} bytes, not {_HEADER.size}", FIX)
        num, degree = _HEADER.unpack(header)
        if num == 0 or degree > 3:
            raise BitstreamError(f"{path}: {num} Gaussians of degree {degree}", FIX)
        shapes: dict[str, tuple[int, ...]] = {
            "means": (num, 3),
            "log_scales": (num, 3),
            "quats": (num, 4),
            "opacity_logits": (num,),
            "sh": (num, (degree + 1) ** 2, 3),
        }
        return GaussianCloud(**read_sections(path, container, shapes))


@dataclass(frozen=True)
class ToyPostParams(ToyParams):
    """Settings of a training that adds no Gaussians."""

    iterations: Positive = 20
    densify_until: Count = 0


class ToyPost(ToySplats):
    """Continues the training of another method's Gaussians, with the files of the toy."""

    spec: ClassVar[MethodSpec] = MethodSpec("toy_post", "Toy, after", "post", attributes=("locations", "colors"))
    Params: ClassVar[type] = ToyPostParams

    def model(self, settings: ToyParams, rate: Rate) -> SplatModel:
        return SplatModel(settings)


def through(values: Tensor, replaced: Tensor) -> Tensor:
    """``replaced``, with the gradient passed on to ``values``."""
    return values + (replaced - values).detach()
