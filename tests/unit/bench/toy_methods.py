"""Methods that fit one colour: small enough to test everything around a method in milliseconds.

``Toy*`` keep the contract; each of the others breaks one part of it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from hemgs.coding.container import read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.config.params import params_of
from hemgs.core.bundle import Bundle
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.types import Camera, LmbdaInterval, MethodSpec, Rate, SectionTable
from hemgs.protocol import TrainingTask
from hemgs.splats.cloud import GaussianCloud
from hemgs.training.loop import LoopSettings, fit

_SETTINGS = struct.Struct("<d")
_LEVELS = 1 << 12
#: Bytes of filling at λ = 1, which simulate the saving of a coarser step.
_FILL = 2.0


@dataclass(frozen=True)
class ToyParams:
    """Settings of the toy.

    Attributes:
        iterations: steps.
        gain: change in one step; above 0.
        shade: a text, to
            have one.
        log_every, checkpoint_every: as in all methods.
    """

    iterations: int = 20
    gain: float = 0.25
    shade: str = "none"
    strict: bool = True
    log_every: int = 5
    checkpoint_every: int = 6

    def __post_init__(self) -> None:
        if self.gain <= 0:
            raise ConfigError(f"gain: {self.gain}", "give a number above 0")
        if self.iterations < 1:
            raise ValueError(f"iterations: {self.iterations}")


class _Trainee:
    def __init__(self, gain: float) -> None:
        self.color = torch.rand(3)
        self.gain = gain

    def step(
        self, iteration: int, camera: Camera, image: Tensor, background: Tensor, mask: Tensor | None = None
    ) -> dict[str, float]:
        error = image.mean(dim=(0, 1)) - self.color + 0.01 * torch.randn(3)
        self.color = self.color + self.gain * error
        return {"loss": float(error.abs().sum())}

    def state(self) -> Bundle:
        return Bundle({"color": self.color}, {})

    def restore(self, bundle: Bundle) -> None:
        self.color = bundle.tensors["color"].clone()

    def estimated_bytes(self) -> int | None:
        return 64


INTERVAL = LmbdaInterval(0.001, 0.004)
SWEEP = tuple(round(0.001 + 0.0002 * index, 4) for index in range(16))


def all_rates(method: str, label: str) -> MethodSpec:
    """The declaration of a toy method with one model for every rate."""
    return MethodSpec(method, label, "all_rates", attributes=("colors",), lmbda_interval=INTERVAL, sweep=SWEEP)


class ToyScene:
    """One colour everywhere."""

    def __init__(self, color: Tensor) -> None:
        self.color = color

    def render(self, camera: Camera, background: tuple[float, float, float]) -> Tensor:
        return self.color.expand(camera.height, camera.width, 3)

    def to_splats(self, camera: Camera | None = None) -> GaussianCloud:
        return GaussianCloud(
            torch.zeros(1, 3), torch.zeros(1, 3), torch.eye(4)[:1], torch.zeros(1), (self.color - 0.5)[None, None]
        )

    def to_bundle(self) -> Bundle:
        return Bundle({"color": self.color}, {"num_gaussians": 1})

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        return cls(bundle.tensors["color"])


class ToyAll:
    """One model for every rate."""

    spec: ClassVar[MethodSpec] = all_rates("toy_all", "Toy")
    Decoded: ClassVar[type[ToyScene]] = ToyScene
    Params: ClassVar[type] = ToyParams

    def train(self, task: TrainingTask) -> Bundle:
        settings = params_of(ToyParams, task.params)
        trainee = _Trainee(settings.gain)
        loop = LoopSettings(
            settings.iterations,
            task.seed,
            settings.checkpoint_every,
            settings.log_every,
            {"method": self.spec.id, "rate": task.rate.id, **asdict(settings)},
        )
        fit(trainee, task.scene, loop, task.workdir, task.events, task.device)
        return Bundle({"color": trainee.color}, {"num_gaussians": 1, "lmbda": task.rate.lmbda})

    def encode(self, model: Bundle, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        symbols = torch.round(model.tensors["color"].clamp(0, 1) * _LEVELS).to(torch.int64).cpu().numpy()
        digest = SymbolDigest()
        digest.update("colors", symbols)
        lmbda = rate.lmbda or 0.001
        sections = {
            "settings": _SETTINGS.pack(lmbda),
            "colors": symbols.astype("<i4").tobytes(),
            "extra_part": bytes(int(_FILL / lmbda)),
        }
        sizes = write_container(path, self.spec.id, sections, digest.digest())
        return SectionTable(sizes, {"colors": 8.0 * sizes["colors"]}, {"context_mean": 1.5, "num_wavefronts": 3})

    def decode(self, path: Path, *, device: torch.device) -> ToyScene:
        container = read_container(path)
        if container.method != self.spec.id:
            raise BitstreamError(f"{path}: written by {container.method}", "decode it with its method")
        colors = container.sections.get("colors", b"")
        settings = container.sections.get("settings", b"")
        if len(colors) != 12 or len(settings) != _SETTINGS.size or "extra_part" not in container.sections:
            raise BitstreamError(f"{path}: sections are not those of a toy", "encode it again")
        symbols = torch.frombuffer(bytearray(colors), dtype=torch.int32).to(torch.int64)
        digest = SymbolDigest()
        digest.update("colors", symbols.numpy())
        digest.verify(container.symbols_digest, path)
        return self.Decoded(symbols.to(torch.float32) / _LEVELS)


class ToySingle(ToyAll):
    """No rate knob."""

    spec: ClassVar[MethodSpec] = MethodSpec("toy_single", "Toy, plain", "single", attributes=("colors",))


class ToyPerRate(ToyAll):
    """One model per rate."""

    spec: ClassVar[MethodSpec] = MethodSpec("toy_per_rate", "Toy, each", "per_rate", attributes=("colors",))


class Boundless(ToyAll):
    """Does not declare the λ that it serves."""

    spec: ClassVar[MethodSpec] = MethodSpec("boundless", "Boundless", "all_rates", attributes=("colors",))


class Unsteady(ToyAll):
    """Encodes differently each time."""

    spec: ClassVar[MethodSpec] = all_rates("unsteady", "Unsteady")

    def encode(self, model: Bundle, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        noisy = Bundle({"color": torch.rand(3)}, model.meta)
        return super().encode(noisy, rate, path, device=device)


class Miscounting(ToyAll):
    """Reports sections that its file does not have."""

    spec: ClassVar[MethodSpec] = all_rates("miscounting", "Miscounting")

    def encode(self, model: Bundle, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        table = super().encode(model, rate, path, device=device)
        return SectionTable({**table.sections, "colors": table.sections["colors"] - 1}, table.estimated_bits)


class Trusting(ToyAll):
    """Decodes without checks: damaged files end in any exception, or in a wrong picture."""

    spec: ClassVar[MethodSpec] = all_rates("trusting", "Trusting")

    def decode(self, path: Path, *, device: torch.device) -> ToyScene:
        colors = read_container(path).sections["colors"]
        symbols = torch.frombuffer(bytearray(colors), dtype=torch.int32)
        return self.Decoded(symbols.to(torch.float32) / _LEVELS)


class Peeking(ToyAll):
    """Reads the training's record while decoding."""

    spec: ClassVar[MethodSpec] = all_rates("peeking", "Peeking")

    def decode(self, path: Path, *, device: torch.device) -> ToyScene:
        for record in path.parents[1].glob("encode.json"):
            json.loads(record.read_text())
        return super().decode(path, device=device)


class Flat(ToyAll):
    """λ changes nothing."""

    spec: ClassVar[MethodSpec] = all_rates("flat", "Flat")

    def encode(self, model: Bundle, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        return super().encode(model, Rate.of(0.001), path, device=device)


class Boasting(ToyAll):
    """Estimates half of the bits."""

    spec: ClassVar[MethodSpec] = all_rates("boasting", "Boasting")

    def encode(self, model: Bundle, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        table = super().encode(model, rate, path, device=device)
        return SectionTable(table.sections, {"extra_part": 4.0 * table.sections["extra_part"]})


class Impostor(ToyAll):
    """Names another method in its files."""

    spec: ClassVar[MethodSpec] = all_rates("impostor", "Impostor")

    def encode(self, model: Bundle, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        return ToyAll().encode(model, rate, path, device=device)

    def decode(self, path: Path, *, device: torch.device) -> ToyScene:
        return ToyAll().decode(path, device=device)


class Namesake(ToyAll):
    """Has the id of an installed method, which cannot decode its files."""

    spec: ClassVar[MethodSpec] = all_rates("hac", "Namesake")


class MoodyScene(ToyScene):
    """A view depends on the one drawn before."""

    _drawn = 0

    def render(self, camera: Camera, background: tuple[float, float, float]) -> Tensor:
        MoodyScene._drawn += 1
        return super().render(camera, background) + MoodyScene._drawn * 1e-3


class Moody(ToyAll):
    """Decodes to a scene that draws differently each time."""

    spec: ClassVar[MethodSpec] = all_rates("moody", "Moody")
    Decoded = MoodyScene


class DrawingScene(ToyScene):
    """Draws random numbers while it draws a view."""

    def render(self, camera: Camera, background: tuple[float, float, float]) -> Tensor:
        torch.rand(1)
        return super().render(camera, background)


class Drawing(ToyAll):
    """Advances the caller's random state."""

    spec: ClassVar[MethodSpec] = all_rates("drawing", "Drawing")
    Decoded = DrawingScene


class Untyped(ToyAll):
    """Decodes to tensors whose type is torch's default."""

    spec: ClassVar[MethodSpec] = all_rates("untyped", "Untyped")

    def decode(self, path: Path, *, device: torch.device) -> ToyScene:
        return ToyScene(super().decode(path, device=device).color.to(torch.get_default_dtype()))


class Forgetful(ToyAll):
    """Does not keep checkpoints."""

    spec: ClassVar[MethodSpec] = all_rates("forgetful", "Forgetful")

    def train(self, task: TrainingTask) -> Bundle:
        return super().train(replace(task, params={**task.params, "checkpoint_every": 10_000}))


class Crashing(ToyAll):
    """Fails to decode all but its smallest files."""

    spec: ClassVar[MethodSpec] = all_rates("crashing", "Crashing")

    def decode(self, path: Path, *, device: torch.device) -> ToyScene:
        if path.stem == "lmbda_0.0020":
            raise BitstreamError(f"{path}: not today", "try again")
        return super().decode(path, device=device)


class Fading(ToyAll):
    """The larger λ, the further a decoded colour is from the trained one."""

    spec: ClassVar[MethodSpec] = all_rates("fading", "Fading")

    def decode(self, path: Path, *, device: torch.device) -> ToyScene:
        decoded = super().decode(path, device=device)
        (lmbda,) = _SETTINGS.unpack(read_container(path).sections["settings"])
        return self.Decoded(decoded.color + 50.0 * self.faded(lmbda))

    def faded(self, lmbda: float) -> float:
        """How far, as a λ."""
        return lmbda


class Wavering(Fading):
    """As fading, but the colours of a narrow band of λ are near."""

    spec: ClassVar[MethodSpec] = all_rates("wavering", "Wavering")

    def faded(self, lmbda: float) -> float:
        return 0.001 if 0.0019 < lmbda < 0.0021 else lmbda
