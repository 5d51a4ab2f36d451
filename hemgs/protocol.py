"""What a method is: the three verbs that the benchmark calls, and what decoding returns. Nothing about any one method.

A method is a class without constructor arguments. Its defaults live in a frozen dataclass ``Params`` whose fields
each have a default; YAML and the command line only override them, and unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch

from hemgs.core.bundle import Bundle
from hemgs.core.events import EventLog
from hemgs.core.types import Camera, LmbdaInterval, MethodSpec, Rate, Scene, SectionTable
from hemgs.splats.cloud import GaussianCloud

Model = Bundle


class Renderable(Protocol):
    """A decoded scene, ready to be drawn: whatever does not depend on the view was built once, when it was decoded."""

    def render(self, camera: Camera, background: tuple[float, float, float]) -> torch.Tensor:
        """Draw one view: ``[H, W, 3] float32`` in [0, 1], on the scene's device. Torch's random state stays as it is.

        Args:
            camera: anywhere.
            background: RGB in [0, 1].
        """
        ...

    def to_splats(self, camera: Camera | None = None) -> GaussianCloud:
        """Return plain Gaussians for a standard PLY; view-dependent parts are baked for ``camera`` (or a mean one)."""
        ...

    def to_bundle(self) -> Bundle:
        """Return everything as tensors and metadata, for :meth:`from_bundle`; ``num_gaussians`` is in the metadata."""
        ...

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Build the scene of :meth:`to_bundle` on the device of its tensors.

        Raises:
            HemgsError: the bundle holds something else.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """The contract that ``tests/contract`` runs every method through."""

    spec: ClassVar[MethodSpec]
    Params: ClassVar[type]  #: frozen dataclass of settings, all with defaults
    Decoded: ClassVar[type[Renderable]]  #: what :meth:`decode` returns

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
        """Fits the scene. Resumes by itself from checkpoints in ``workdir``.

        ``rate`` matters to methods of kind ``per_rate`` only. The result must hold all that ``encode`` needs.
        """
        ...

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        """Write one bitstream; equal input gives equal bytes. The method has no access to the scene."""
        ...

    def decode(self, path: Path, *, device: torch.device) -> Renderable:
        """Read a bitstream; open no other file than it and the declared assets.

        Raises:
            BitstreamError: cut, altered, of another version or method.
        """
        ...


def interval_of(spec: MethodSpec, model: Model) -> LmbdaInterval | None:
    """Return the λ that a trained model serves: what it was trained for, or else what its method says."""
    stored = model.meta.get("lmbda_interval")
    return spec.lmbda_interval if stored is None else LmbdaInterval(*stored)


class PostMethod(Protocol):
    """How a method of kind ``post`` trains; all else is as in :class:`Method`."""

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
        base: GaussianCloud,
    ) -> Model:
        """As :meth:`Method.train`, from Gaussians that another method has trained on the same scene.

        ``base`` is on ``device``. A checkpoint of a training from other Gaussians must not be continued.
        """
        ...
