"""The base class of methods whose model is plain Gaussians.

Owns the verbs of :class:`hemgs.protocol.Method`, as far as such methods share them. Does not own what any method trains
or writes: a method extends :class:`SplatMethod`. One that changes the training also extends
:class:`hemgs.splats.model.SplatModel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import torch

from hemgs.config.params import params_of
from hemgs.core.types import MethodSpec, Rate, SectionTable
from hemgs.protocol import Model, TrainingTask
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.model import SplatModel
from hemgs.splats.params import SplatParams
from hemgs.splats.rendering import RenderableSplats
from hemgs.splats.training import train_splats
from hemgs.training.loop import seed_everything

P = TypeVar("P", bound=SplatParams)


class SplatMethod(ABC, Generic[P]):
    """A method whose decoded scene is plain Gaussians; see :class:`hemgs.protocol.Method`.

    Methods define what is trained (:meth:`model`, 3DGS unless overridden), and how files are written and read. A method
    of kind ``post`` starts from trained Gaussians. It overrides :meth:`train` if it has several stages.
    """

    spec: ClassVar[MethodSpec]
    Params: ClassVar[type]
    Decoded = RenderableSplats

    def model(self, settings: P, rate: Rate) -> SplatModel:
        """Return the model to train; its parameters without rows are drawn from torch's global random state."""
        return SplatModel(settings)

    @abstractmethod
    def write(self, path: Path, model: Model, settings: P, rate: Rate) -> SectionTable:
        """Write one bitstream; ``model`` is a result of :meth:`SplatModel.bundle`."""

    @abstractmethod
    def read(self, path: Path) -> GaussianCloud:
        """Read the Gaussians of a bitstream that :meth:`write` wrote."""

    def train(self, task: TrainingTask) -> Model:
        settings: P = params_of(self.Params, task.params)
        seed_everything(task.seed)
        identity = {"method": self.spec.id, "rate": task.rate.id}
        bundle = train_splats(task, self.model(settings, task.rate), identity)
        bundle.meta |= {"params": dict(task.params)}
        return bundle

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        return self.write(path, model, params_of(self.Params, model.meta["params"]), rate)

    def decode(self, path: Path, *, device: torch.device) -> RenderableSplats:
        return RenderableSplats(self.read(path).to(device))
