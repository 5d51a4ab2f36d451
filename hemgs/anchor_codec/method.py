"""Methods that train anchors together with an entropy model, as HEMGS and the HAC family do: what they share.

Owns the settings that they share and the way from training to a model folder to a bitstream. Does not own what any of
them predicts: methods extend :class:`CodedAnchors` and one of the two classes of settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from hemgs.anchor_codec.file import Storage
from hemgs.anchor_codec.hash_grid import HashGridSettings
from hemgs.anchor_codec.header import MAX_WIDTH, SETTINGS_FIX, AnchorHeader
from hemgs.anchor_codec.phases import GridPhaseSettings, PhasedAttributes, PhaseSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchor_codec.stored_networks import HALF, HEAD_BITS
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors, anchors_to_cloud, camera_center, render_anchors, viewpoints
from hemgs.anchors.settings import AnchorParams
from hemgs.anchors.training import train_anchors
from hemgs.coding.locations import OCTREE, RAW16
from hemgs.coding.masks import ADAPTIVE, STATIC
from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.params import params_of
from hemgs.core.types import Camera, MethodSpec, Rate, Scene, SectionTable
from hemgs.protocol import Model, Renderable
from hemgs.splats.cloud import GaussianCloud
from hemgs.training.schedule import scaled

#: Camera centres kept in a file for exports to plain Gaussians.
NUM_VIEWPOINTS = 4
_ENTROPY = "entropy."


@dataclass(frozen=True)
class CodecParams(AnchorParams):
    """Training of anchors with their price in the loss. Iteration numbers are for a run of 30,000 and scale with
    ``iterations``; defaults are those of HAC (arXiv 2403.14530, released code), but for the warm-up.

    Attributes:
        noise_from: attributes are noisy from here on.
        growth_pause: iterations without growing after that.
        entropy_from: the entropy model takes part from here on.
        rate_warmup: iterations over which the rate's weight rises from a tenth to one.
        step_features, step_scalings, step_offsets: quantisation steps before prediction.
        sample_share: share of the anchors that are priced in a step; see :class:`PhaseSettings`.
        mask_weight: weight of the mean mask probability in the loss; without effect with ``masks_in_rate``.
        masks_in_rate: masks are learned from the bits that they save, as in HAC++ (arXiv 2501.12255).
        lr_networks, lr_networks_end: learning rates of the entropy networks at the first iteration (in HEMGS: the first
            with a price) and at the last.
        location_codec: ``raw16`` (16 bits a coordinate, as the papers store them) or ``octree`` (7 to 20 bits for all
            three).
        mask_codec: ``static`` (one probability for each offset index) or ``adaptive`` (contexts).
        head_bits: of the rendering networks' weights in files: 16 (float16) or 8 (integers with a scale per output).
    """

    noise_from: int = 3_000
    growth_pause: int = 1_000
    entropy_from: int = 10_000
    rate_warmup: int = 1_000
    step_features: float = 1.0
    step_scalings: float = 0.001
    step_offsets: float = 0.2
    sample_share: float = 0.05
    mask_weight: float = 5e-4
    masks_in_rate: bool = False
    lr_networks: float = 5e-3
    lr_networks_end: float = 1e-5
    location_codec: str = RAW16
    mask_codec: str = STATIC
    head_bits: int = HALF

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("step_features", "step_scalings", "step_offsets", "sample_share"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}: {getattr(self, name)!r}", "give a number above 0")
        for name, known in (("location_codec", (RAW16, OCTREE)), ("mask_codec", (STATIC, ADAPTIVE))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}: {getattr(self, name)!r}", f"choose from {', '.join(known)}")
        if self.head_hidden_dim > MAX_WIDTH:
            raise ConfigError(f"head_hidden_dim: {self.head_hidden_dim!r}", f"give at most {MAX_WIDTH}")
        if self.head_bits not in HEAD_BITS:
            raise ConfigError(f"head_bits: {self.head_bits!r}", f"choose from {', '.join(map(str, HEAD_BITS))}")

    @property
    def storage(self) -> Storage:
        """How files are written."""
        return Storage(self.location_codec, self.mask_codec, self.head_bits)

    @property
    def base_steps(self) -> BaseSteps:
        """Quantisation steps before prediction."""
        return BaseSteps(self.step_features, self.step_scalings, self.step_offsets)

    @property
    def phases(self) -> PhaseSettings:
        """Milestones of this run's length, for :class:`PhaseSettings`."""
        return PhaseSettings(
            noise_start=scaled(self.noise_from, self.iterations) + 1,
            growth_pause=scaled(self.growth_pause, self.iterations),
            entropy_start=scaled(self.entropy_from, self.iterations) + 1,
            rate_warmup=scaled(self.rate_warmup, self.iterations),
            side_free=0,
            sample_share=self.sample_share,
            mask_weight=self.mask_weight,
            network_lr=(self.lr_networks, self.lr_networks_end),
            masks_in_rate=self.masks_in_rate,
            storage=self.storage,
        )


@dataclass(frozen=True)
class HashGridParams(CodecParams):
    """Settings of codecs with a binary hash grid; defaults are those of HAC, but for ``grid_free``.

    Attributes:
        grid_free: iterations from ``entropy_from`` on in which the hash grid costs nothing; its price rises over as
            many more.
        lr_grid, lr_grid_end: learning rates of the hash grid.
        grid_resolutions_3d, grid_resolutions_2d: vertices per axis by level, separated by blanks.
        grid_log2_entries_3d, grid_log2_entries_2d: caps of the tables of a level.
        grid_features: signs per entry.
    """

    grid_free: int = 4_000
    lr_grid: float = 5e-3
    lr_grid_end: float = 1e-5
    grid_resolutions_3d: str = "18 24 33 44 59 80 108 148 201 275 376 514"
    grid_resolutions_2d: str = "130 258 514 1026"
    grid_log2_entries_3d: int = 13
    grid_log2_entries_2d: int = 15
    grid_features: int = 4

    @property
    def grid(self) -> HashGridSettings:
        """Sizes of the grid."""
        return HashGridSettings(
            tuple(int(number) for number in numbers("grid_resolutions_3d", self.grid_resolutions_3d)),
            tuple(int(number) for number in numbers("grid_resolutions_2d", self.grid_resolutions_2d)),
            self.grid_log2_entries_3d,
            self.grid_log2_entries_2d,
            self.grid_features,
        )

    @property
    def phases(self) -> GridPhaseSettings:
        own = {"side_free": scaled(self.grid_free, self.iterations), "grid_lr": (self.lr_grid, self.lr_grid_end)}
        return GridPhaseSettings(**{**vars(super().phases), **own})


P = TypeVar("P", bound=CodecParams)
E = TypeVar("E", bound=nn.Module)


class CodedAnchors(ABC, Generic[P, E]):
    """A method whose model is anchors and an entropy model; see :class:`hemgs.protocol.Method`.

    Methods say how the entropy model is built (:meth:`blank`), how it takes part in training (:meth:`attributes`), and
    how files are written and read.
    """

    spec: ClassVar[MethodSpec]
    Params: ClassVar[type]

    @abstractmethod
    def blank(self, settings: P) -> E:
        """The entropy model, untrained, from torch's global random state."""

    def for_rate(self, settings: P, rate: Rate) -> P:
        """Settings of a training for one rate, where that decides any of them."""
        return settings

    @abstractmethod
    def attributes(self, settings: P, entropy: E, rate: Rate) -> PhasedAttributes:
        """What makes a training of anchors a training of this method."""

    @abstractmethod
    def write(
        self, path: Path, anchors: AnchorModel, entropy: E, settings: P, lmbda: float, views: torch.Tensor
    ) -> SectionTable:
        """Writes one bitstream; ``views`` are camera centres ``[V, 3]`` for exports to plain Gaussians."""

    @abstractmethod
    def read(self, path: Path, device: torch.device) -> FixedAnchors:
        """Reads one."""

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
        settings = self.for_rate(params_of(self.Params, params), rate)
        torch.manual_seed(seed)
        entropy = self.blank(settings)
        identity = {"method": self.spec.id}
        if self.spec.kind == "per_rate":
            identity["rate"] = rate.id
        anchors = train_anchors(
            scene, settings, self.attributes(settings, entropy, rate), workdir, events, seed, device, identity
        )
        bundle = anchors.to_bundle()
        bundle.tensors |= {_ENTROPY + name: tensor.detach() for name, tensor in entropy.state_dict().items()}
        bundle.tensors["viewpoints"] = viewpoints(scene, NUM_VIEWPOINTS)
        bundle.meta["params"] = dict(params)
        return bundle

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        if rate.lmbda is None:
            raise ConfigError("rate 'single' is for methods without a rate knob", "give λ, for example --lmbda 0.002")
        settings: P = params_of(self.Params, model.meta["params"])
        anchors, weights = stored_model(model, device)
        entropy = self.blank(settings).to(device)
        try:
            entropy.load_state_dict(weights)
        except RuntimeError as fault:
            raise ConfigError(
                "the model's entropy networks are not those of its settings: an earlier version trained it",
                "train it again, or encode it with the version that trained it",
            ) from fault
        return self.write(path, anchors, entropy, settings, rate.lmbda, model.tensors["viewpoints"])

    def decode(self, path: Path, *, device: torch.device) -> Renderable:
        return self.read(path, device).to_bundle()

    def render(self, renderable: Renderable, camera: Camera, background: tuple[float, float, float]) -> torch.Tensor:
        return render_anchors(FixedAnchors.from_bundle(renderable), camera, background)

    def to_splats(self, renderable: Renderable, camera: Camera | None = None) -> GaussianCloud:
        anchors = FixedAnchors.from_bundle(renderable)
        centers = None if camera is None else camera_center(camera, anchors.positions.device)[None]
        return anchors_to_cloud(anchors, centers)


def stored_model(model: Model, device: torch.device) -> tuple[AnchorModel, dict[str, torch.Tensor]]:
    """Anchors of a trained model, and the weights of its entropy model by name, on ``device``."""
    tensors = {name: tensor.to(device) for name, tensor in model.tensors.items()}
    weights = {name.removeprefix(_ENTROPY): value for name, value in tensors.items() if name.startswith(_ENTROPY)}
    return AnchorModel.from_bundle(Bundle(tensors, model.meta)), weights


def check_sizes(header: type[AnchorHeader], entropy: Any) -> None:
    """Raises ConfigError for an entropy model of which no file can be written that a decoder takes.

    Args:
        header: settings section of the method's files.
        entropy: sizes of the entropy model.
    """
    try:
        header.check_entropy(entropy)
    except ValueError as fault:
        raise ConfigError(str(fault), SETTINGS_FIX) from fault


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Positive numbers separated by blanks.

    Raises:
        ConfigError: anything else.
    """
    try:
        found = tuple(float(word) for word in text.split())
    except ValueError:
        found = ()
    if not found or any(not number > 0 for number in found):
        raise ConfigError(f"{name}: {text!r}", "give positive numbers separated by blanks, such as '0.001 0.004'")
    return found
