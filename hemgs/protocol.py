"""What a method is: the five verbs the benchmark calls, and nothing about any one method.

A method is a class without constructor arguments. Its defaults live in a frozen dataclass ``Params`` whose fields
each have a default; YAML and the command line only override them, and unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch

from hemgs.core.bundle import Bundle
from hemgs.core.events import EventLog
from hemgs.core.types import Camera, MethodSpec, Rate, Scene, SectionTable
from hemgs.splats.cloud import GaussianCloud

Model = Bundle
Renderable = Bundle


@runtime_checkable
class Method(Protocol):
    """The contract that ``tests/contract`` runs every method through."""

    spec: ClassVar[MethodSpec]
    Params: ClassVar[type]  #: frozen dataclass of settings, all with defaults

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
        """Writes one bitstream; deterministic; has no access to the scene."""
        ...

    def decode(self, path: Path, *, device: torch.device) -> Renderable:
        """Reads a bitstream; opens nothing but it and the declared assets.

        Raises:
            BitstreamError: cut, altered, of another version or method.
        """
        ...

    def render(self, renderable: Renderable, camera: Camera, background: tuple[float, float, float]) -> torch.Tensor:
        """One view, ``[H, W, 3] float32``, on the device of the renderable's tensors."""
        ...

    def to_splats(self, renderable: Renderable, camera: Camera | None = None) -> GaussianCloud:
        """Plain Gaussians for a standard PLY; view-dependent parts are baked for ``camera`` (or a mean one)."""
        ...


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
