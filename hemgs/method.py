"""HEMGS (arXiv 2411.18473) as a method of the benchmark: glue between training, entropy model and bitstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors, anchors_to_cloud, camera_center, render_anchors, viewpoints
from hemgs.anchors.settings import AnchorParams
from hemgs.bench.protocol import Model, Renderable
from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.params import params_of
from hemgs.core.types import Camera, MethodSpec, Rate, Scene, SectionTable
from hemgs.entropy.bitstream import decode_anchors, encode_anchors
from hemgs.entropy.hashgrid import HashGridSettings
from hemgs.entropy.model import EntropyModel, EntropySettings
from hemgs.entropy.neighbours import ContextWindow
from hemgs.entropy.offline import TrainedModel
from hemgs.entropy.rate_predictor import MAX_OCTAVES, rate_input
from hemgs.entropy.simulation import BaseSteps, HemgsAttributes, SimulationSettings
from hemgs.pointnet.features import scene_agnostic_dim
from hemgs.splats.cloud import GaussianCloud
from hemgs.training.anchors import train_anchors
from hemgs.training.schedule import scaled

#: Camera centres kept in a file for exports to plain Gaussians.
_NUM_VIEWPOINTS = 4
_ENTROPY = "entropy."


@dataclass(frozen=True)
class HemgsParams(AnchorParams):
    """Settings of HEMGS. Iteration numbers are for a run of 30,000 and scale with ``iterations``, as in HAC
    (arXiv 2403.14530, released code), whose values all defaults are unless the paper of HEMGS names another.

    Attributes:
        lmbdas: trained values of λ, separated by blanks (arXiv 2411.18473, section 4.2).
        noise_from: attributes are noisy from here on.
        growth_pause: iterations without growing after that.
        entropy_from: the entropy model takes part from here on.
        rate_warmup: iterations over which the rate's weight rises from a tenth to one.
        grid_free: iterations from there on in which the hash grid costs nothing; its price rises over as many more.
        step_features, step_scalings, step_offsets: quantisation steps before prediction.
        sample_share: share of the visible anchors that are priced in a step.
        mask_weight: weight of the mean mask probability in the loss.
        lr_networks, lr_networks_end: learning rates of the entropy networks.
        lr_grid, lr_grid_end: learning rates of the hash grid.
        grid_resolutions_3d, grid_resolutions_2d: vertices per axis by level, separated by blanks.
        grid_log2_entries_3d, grid_log2_entries_2d: caps of the tables of a level.
        grid_features: signs per entry.
        feature_prior, geometry_prior: widths of the prior features.
        feature_hidden, geometry_hidden: hidden widths of the distribution networks.
        feature_step_hidden, geometry_step_hidden: hidden widths of the rate predictors.
        rate_octaves: octaves between the steps of the smallest and the largest λ before anything is learned; 1 is the
            high-rate law.
        scene_agnostic: frozen network over anchor locations, ``pointnet2_bundled`` or ``pointnet2_s3dis_msg``; empty
            for none.
        feature_context, geometry_context: widths of the context features; 0 for no autoregressive network.
        context_window: voxels along an edge of the window of neighbours, odd (arXiv 2411.18473, section 4.2).
        context_neighbours: the nearest of them that are used; 0 for all.
        context_multiplier: lattice voxels per voxel of the window; 1 in the paper.
        context_refresh: iterations after which neighbours are found anew.
        rounding_from: from here on, networks see rounded values instead of noisy ones.
    """

    lmbdas: str = "0.001 0.002 0.003 0.004"
    noise_from: int = 3_000
    growth_pause: int = 1_000
    entropy_from: int = 10_000
    rate_warmup: int = 1_000
    grid_free: int = 4_000
    step_features: float = 1.0
    step_scalings: float = 0.001
    step_offsets: float = 0.2
    sample_share: float = 0.05
    mask_weight: float = 5e-4
    lr_networks: float = 5e-3
    lr_networks_end: float = 1e-5
    lr_grid: float = 5e-3
    lr_grid_end: float = 1e-5
    grid_resolutions_3d: str = "18 24 33 44 59 80 108 148 201 275 376 514"
    grid_resolutions_2d: str = "130 258 514 1026"
    grid_log2_entries_3d: int = 13
    grid_log2_entries_2d: int = 15
    grid_features: int = 4
    feature_prior: int = 64
    geometry_prior: int = 40
    feature_hidden: int = 64
    geometry_hidden: int = 40
    feature_step_hidden: int = 32
    geometry_step_hidden: int = 24
    rate_octaves: float = 1.0
    scene_agnostic: str = "pointnet2_bundled"
    feature_context: int = 32
    geometry_context: int = 24
    context_window: int = 25
    context_neighbours: int = 20
    context_multiplier: int = 1
    context_refresh: int = 1_000
    rounding_from: int = 29_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for lmbda in _numbers("lmbdas", self.lmbdas):
            rate_input(lmbda)
        for name in ("step_features", "step_scalings", "step_offsets", "sample_share"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}: {getattr(self, name)!r}", "give a number above 0")
        if self.scene_agnostic:
            scene_agnostic_dim(self.scene_agnostic)
        _ = self.window
        if not 0 < self.rate_octaves <= MAX_OCTAVES:
            raise ConfigError(f"rate_octaves: {self.rate_octaves!r}", f"give a number above 0, at most {MAX_OCTAVES:g}")

    @property
    def base_steps(self) -> BaseSteps:
        """Quantisation steps before prediction."""
        return BaseSteps(self.step_features, self.step_scalings, self.step_offsets)

    @property
    def window(self) -> ContextWindow:
        """Which anchors are neighbours.

        Raises:
            ConfigError: there is no such window.
        """
        try:
            return ContextWindow(self.context_window, self.context_neighbours, self.context_multiplier)
        except ValueError as fault:
            raise ConfigError(
                f"context_window, context_neighbours, context_multiplier: {fault}", "see `hemgs describe`"
            ) from fault

    @property
    def entropy(self) -> EntropySettings:
        """Sizes of the entropy model."""
        grid = HashGridSettings(
            tuple(int(number) for number in _numbers("grid_resolutions_3d", self.grid_resolutions_3d)),
            tuple(int(number) for number in _numbers("grid_resolutions_2d", self.grid_resolutions_2d)),
            self.grid_log2_entries_3d,
            self.grid_log2_entries_2d,
            self.grid_features,
        )
        return EntropySettings(
            self.feature_dim,
            self.num_offsets,
            grid,
            self.feature_prior,
            self.geometry_prior,
            self.feature_hidden,
            self.geometry_hidden,
            self.feature_step_hidden,
            self.geometry_step_hidden,
            self.rate_octaves,
            self.scene_agnostic,
            self.feature_context,
            self.geometry_context,
            self.window,
        )

    @property
    def simulation(self) -> SimulationSettings:
        """Milestones of this run's length."""
        entropy_start = scaled(self.entropy_from, self.iterations) + 1
        return SimulationSettings(
            noise_start=scaled(self.noise_from, self.iterations) + 1,
            growth_pause=scaled(self.growth_pause, self.iterations),
            entropy_start=entropy_start,
            rate_warmup=scaled(self.rate_warmup, self.iterations),
            grid_free=scaled(self.grid_free, self.iterations),
            continuous_start=(entropy_start + self.iterations) // 2,
            rounding_start=scaled(self.rounding_from, self.iterations) + 1,
            table_refresh=max(1, scaled(self.context_refresh, self.iterations)),
            lmbdas=_numbers("lmbdas", self.lmbdas),
            sample_share=self.sample_share,
            mask_weight=self.mask_weight,
            network_lr=(self.lr_networks, self.lr_networks_end),
            grid_lr=(self.lr_grid, self.lr_grid_end),
        )


class Hemgs:
    """See :class:`hemgs.bench.protocol.Method`."""

    spec: ClassVar[MethodSpec] = MethodSpec(
        id="hemgs",
        label="HEMGS",
        kind="all_rates",
        attributes=("locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"),
    )
    Params: ClassVar[type] = HemgsParams

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
        settings = params_of(HemgsParams, params)
        torch.manual_seed(seed)
        entropy = EntropyModel(settings.entropy)
        attribute_model = HemgsAttributes(entropy, settings.base_steps, settings.simulation)
        anchors = train_anchors(
            scene, settings, attribute_model, workdir, events, seed, device, {"method": self.spec.id}
        )
        bundle = anchors.to_bundle()
        bundle.tensors |= {_ENTROPY + name: tensor.detach() for name, tensor in entropy.state_dict().items()}
        bundle.tensors["viewpoints"] = viewpoints(scene, _NUM_VIEWPOINTS)
        bundle.meta["params"] = dict(params)
        return bundle

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        if rate.lmbda is None:
            raise ConfigError("rate 'single' is for methods without a rate knob", "give λ, for example --lmbda 0.002")
        settings = params_of(HemgsParams, model.meta["params"])
        tensors = {name: tensor.to(device) for name, tensor in model.tensors.items()}
        anchors = AnchorModel.from_bundle(Bundle(tensors, model.meta))
        entropy = EntropyModel(settings.entropy).to(device)
        prefix = _ENTROPY
        weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        try:
            entropy.load_state_dict(weights)
        except RuntimeError as fault:
            raise ConfigError(
                "the model's entropy networks are not those of its settings: an earlier version trained it",
                "train it again, or encode it with the version that trained it",
            ) from fault
        return encode_anchors(
            path, self.spec.id, anchors, entropy, settings.base_steps, rate.lmbda, tensors["viewpoints"]
        )

    def trained(self, model: Model, params: Mapping[str, Any], device: torch.device) -> TrainedModel:
        """See :class:`hemgs.bench.lossless.HasEntropyModel`. Models made before networks over neighbours and locations
        existed have none, whatever today's defaults are."""
        tensors = {name: tensor.to(device) for name, tensor in model.tensors.items()}
        weights = {name.removeprefix(_ENTROPY): value for name, value in tensors.items() if name.startswith(_ENTROPY)}
        settings = params_of(HemgsParams, model.meta["params"])
        own = settings.entropy
        if not any("autoregressive" in name for name in weights):
            own = replace(own, feature_context=0, geometry_context=0)
        if weights["features.hyperprior.first.weight"].shape[1] == own.grid.output_dim:
            own = replace(own, scene_agnostic="")
        entropy = EntropyModel(own).to(device)
        entropy.load_state_dict(weights)
        anchors = AnchorModel.from_bundle(Bundle(tensors, model.meta))
        return TrainedModel(anchors, entropy, settings.base_steps, params_of(HemgsParams, params).entropy)

    def decode(self, path: Path, *, device: torch.device) -> Renderable:
        return decode_anchors(path, self.spec.id, device).to_bundle()

    def render(self, renderable: Renderable, camera: Camera, background: tuple[float, float, float]) -> torch.Tensor:
        return render_anchors(FixedAnchors.from_bundle(renderable), camera, background)

    def to_splats(self, renderable: Renderable, camera: Camera | None = None) -> GaussianCloud:
        anchors = FixedAnchors.from_bundle(renderable)
        centers = None if camera is None else camera_center(camera, anchors.positions.device)[None]
        return anchors_to_cloud(anchors, centers)


class HemgsSingleRate(Hemgs):
    """HEMGS trained for one λ at a time: what the variable-rate predictor is compared with (section 4.3)."""

    spec: ClassVar[MethodSpec] = replace(Hemgs.spec, kind="per_rate")

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
        lmbda = {"lmbdas": f"{rate.lmbda:.17g}"} if rate.lmbda is not None else {}
        return super().train(scene, {**params, **lmbda}, workdir, events, rate=rate, seed=seed, device=device)


def _numbers(name: str, text: str) -> tuple[float, ...]:
    """Positive numbers separated by blanks.

    Raises:
        ConfigError: anything else.
    """
    try:
        numbers = tuple(float(word) for word in text.split())
    except ValueError:
        numbers = ()
    if not numbers or any(not number > 0 for number in numbers):
        raise ConfigError(f"{name}: {text!r}", "give positive numbers separated by blanks, such as '0.001 0.004'")
    return numbers
