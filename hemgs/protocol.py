"""The protocol of methods: the verbs that the benchmark calls, and the result of decoding.

A method is a class without constructor arguments. Its settings are a frozen dataclass ``Params`` whose fields all have
defaults. YAML and the command line only override them, and unknown keys are errors.

Owns no particular method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch

from hemgs.core.bundle import Bundle
from hemgs.core.events import EventLog
from hemgs.core.records import Value
from hemgs.core.types import Camera, LmbdaInterval, MethodSpec, Rate, Scene, SectionTable
from hemgs.splats.cloud import GaussianCloud

Model = Bundle


class Renderable(Protocol):
    """A decoded scene, ready to be drawn. Decoding has built everything that does not depend on the view."""

    def render(self, camera: Camera, background: tuple[float, float, float]) -> torch.Tensor:
        """Draw one view, ``[H, W, 3] float32`` in [0, 1], on the scene's device; do not change torch's random state.

        Args:
            camera: any camera, not only one of the scene.
            background: RGB in [0, 1].
        """
        ...

    def to_splats(self, camera: Camera | None = None) -> GaussianCloud:
        """Return plain Gaussians for a standard PLY.

        Parts that depend on the view take their values for ``camera``; without one, for the average of some cameras.
        """
        ...

    def to_bundle(self) -> Bundle:
        """Return all tensors and metadata for :meth:`from_bundle`; the metadata contain ``num_gaussians``."""
        ...

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Build the scene from the result of :meth:`to_bundle`, on the device of its tensors.

        Raises:
            HemgsError: the bundle contains something else.
        """
        ...


@dataclass(frozen=True)
class TrainingTask:
    """A training: scene, settings, seed, device and folder.

    Attributes:
        scene: the prepared scene.
        params: settings by name; those that are missing have the defaults of the method's ``Params``.
        workdir: folder for checkpoints.
        events: log of the progress.
        rate: the rate to train for; it matters only to methods of kind ``per_rate``.
        seed: seed of all randomness.
        device: device of the training.
        base: Gaussians that another method has trained on the same scene, on ``device``. Only methods of kind ``post``
            have them. Such a method must not continue from a checkpoint that started from other Gaussians.
    """

    scene: Scene
    params: Mapping[str, Any]
    workdir: Path
    events: EventLog
    rate: Rate
    seed: int
    device: torch.device
    base: GaussianCloud | None = None


@runtime_checkable
class Method(Protocol):
    """A compression method; ``tests/contract`` checks every method against this contract."""

    spec: ClassVar[MethodSpec]
    Params: ClassVar[type]  #: frozen dataclass of settings, all with defaults
    Decoded: ClassVar[type[Renderable]]  #: class of the result of :meth:`decode`

    def train(self, task: TrainingTask) -> Model:
        """Fit the scene; continue from a checkpoint in ``task.workdir`` if there is one of the same task.

        The result must contain all that ``encode`` needs.
        """
        ...

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        """Write one bitstream; equal input gives equal bytes. The method has no access to the scene."""
        ...

    def decode(self, path: Path, *, device: torch.device) -> Renderable:
        """Read a bitstream; open no files except it and the declared assets.

        Raises:
            BitstreamError: the file is incomplete or altered, or belongs to another version or method.
        """
        ...


def interval_of(spec: MethodSpec, model: Model) -> LmbdaInterval | None:
    """Return the interval of λ that a trained model serves; without one of its own, that of its method."""
    stored = model.meta.get("lmbda_interval")
    return spec.lmbda_interval if stored is None else LmbdaInterval(*stored)


@runtime_checkable
class CanCheckFile(Protocol):
    """A method that can say, without decoding, that it would refuse a file."""

    def check_file(self, path: Path) -> None:
        """Check the sections and the settings of a bitstream, at the cost of reading it.

        Raises:
            BitstreamError: ``decode`` refuses the file. It may refuse other files, too.
        """
        ...


@dataclass(frozen=True)
class RefitTask:
    """A refit: entropy models to fit to the symbols of one trained model.

    Attributes:
        variants: names of the method's entropy models; empty for all of them.
        lmbda: rate–distortion trade-off of the symbols.
        iterations: steps of each fit, at least 1.
        seed: seed of fresh networks and of the order of anchors.
    """

    variants: Sequence[str]
    lmbda: float
    iterations: int
    seed: int


@runtime_checkable
class CanRefit(Protocol):
    """A method whose entropy model can be fitted again to the symbols of a trained model."""

    def refit(
        self, model: Model, params: Mapping[str, Any], task: RefitTask, device: torch.device, events: EventLog
    ) -> list[dict[str, Value]]:
        """Compare entropy models.

        Args:
            model: a trained model.
            params: settings of the variants' models.
            task: what to compare.
            device: device of the fits.
            events: log of the progress over all variants.

        Returns:
            Rows of :data:`hemgs.core.records.REFIT_COLUMNS` without the model's identity, the trained entropy model's
            first. That one has neither ``iterations`` nor ``fit_s``.

        Raises:
            ConfigError: a variant does not exist or its settings do not allow it, or λ is outside the trained interval.
            TrainingError: no anchor is left, or a price is no longer finite.
        """
        ...
