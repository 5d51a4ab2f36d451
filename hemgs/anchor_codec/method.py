"""The base class of methods that train anchors together with an entropy model: HEMGS and the HAC family.

Owns the way from training to a model folder to a bitstream. Does not own what any of them predicts: methods extend
:class:`CodedAnchors`, a class of settings of :mod:`hemgs.anchor_codec.params`, and a codec of
:mod:`hemgs.anchor_codec.codec`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from hemgs.anchor_codec.codec import AnchorCodec
from hemgs.anchor_codec.params import CodecParams
from hemgs.anchor_codec.phases import PhasedAttributes
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors.model import AnchorModel
from hemgs.anchors.rendering import FixedAnchors, viewpoints
from hemgs.anchors.training import train_anchors
from hemgs.config.params import params_of
from hemgs.core.bundle import Bundle, tensors_under
from hemgs.core.errors import ConfigError
from hemgs.core.types import MethodSpec, Rate, SectionTable, TradeOff
from hemgs.protocol import Model, TrainingTask, interval_of

#: Camera centres kept in a file for exports to plain Gaussians.
NUM_VIEWPOINTS = 4
_ENTROPY = "entropy."


P = TypeVar("P", bound=CodecParams)
E = TypeVar("E", bound=nn.Module)


class CodedAnchors(ABC, Generic[P, E]):
    """A method whose model is anchors and an entropy model; see :class:`hemgs.protocol.Method`.

    Methods build the entropy model (:meth:`blank`), and define its part in training (:meth:`attributes`).

    Attributes:
        codec: writes and reads files.
    """

    spec: ClassVar[MethodSpec]
    Params: ClassVar[type]
    codec: ClassVar[AnchorCodec[Any, Any, Any]]
    Decoded = FixedAnchors

    @abstractmethod
    def blank(self, settings: P) -> E:
        """Build the untrained entropy model from torch's global random state."""

    def for_rate(self, settings: P, rate: Rate) -> P:
        """Return the settings of a training for one rate, if the rate decides any of them."""
        return settings

    @abstractmethod
    def attributes(self, settings: P, entropy: E, rate: Rate) -> PhasedAttributes:
        """Return the attribute model that turns a training of anchors into one of this method."""

    def lmbda_of(self, rate: Rate) -> float:
        """Return λ of a training for one rate.

        Raises:
            ConfigError: the rate has none.
        """
        if rate.lmbda is None:
            raise ConfigError(f"{self.spec.id} is trained once per rate", "name one, for example --rate lmbda_0.0020")
        return rate.lmbda

    def train(self, task: TrainingTask) -> Model:
        settings = self.for_rate(params_of(self.Params, task.params), task.rate)
        torch.manual_seed(task.seed)
        entropy = self.blank(settings)
        identity = {"method": self.spec.id}
        if self.spec.kind == "per_rate":
            identity["rate"] = task.rate.id
        anchors = train_anchors(task, settings, self.attributes(settings, entropy, task.rate), identity)
        bundle = anchors.to_bundle()
        bundle.tensors |= {_ENTROPY + name: tensor.detach() for name, tensor in entropy.state_dict().items()}
        bundle.tensors["viewpoints"] = viewpoints(task.scene, NUM_VIEWPOINTS)
        bundle.meta["params"] = dict(task.params)
        if self.spec.lmbda_interval is not None:
            bundle.meta["lmbda_interval"] = list(astuple(self.spec.lmbda_interval))
        return bundle

    def encode(self, model: Model, rate: Rate, path: Path, *, device: torch.device) -> SectionTable:
        if rate.lmbda is None:
            raise ConfigError("rate 'single' is for methods without a rate knob", "give λ, for example --lmbda 0.002")
        settings: P = params_of(self.Params, model.meta["params"])
        anchors, weights = stored_model(model, device)
        try:
            entropy = filled(lambda: self.blank(settings), weights)
        except RuntimeError as fault:
            raise ConfigError(
                "the model's entropy networks are not those of its settings: an earlier version trained it",
                "train it again, or encode it with the version that trained it",
            ) from fault
        interval = interval_of(self.spec, model)
        if interval is not None:
            interval.check(rate.lmbda)
        return self.codec.encode(
            path,
            anchors,
            entropy,
            BaseSteps.of(settings),
            TradeOff(rate.lmbda, interval),
            model.tensors["viewpoints"],
            settings.storage,
        )

    def decode(self, path: Path, *, device: torch.device) -> FixedAnchors:
        return self.codec.decode(path, device)

    def check_file(self, path: Path) -> None:
        """See :class:`hemgs.protocol.CanCheckFile`."""
        self.codec.check_file(path)


def filled(blank: Callable[[], E], weights: Mapping[str, torch.Tensor]) -> E:
    """Return a network with copies of its stored tensors, of their types and on their device.

    No tensor is made in between, since torch's defaults would decide its type and device.

    Raises:
        RuntimeError: weights are missing or of another shape.
    """
    with torch.device("meta"):
        network = blank()
    network.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
    return network


def stored_model(model: Model, device: torch.device) -> tuple[AnchorModel, dict[str, torch.Tensor]]:
    """Anchors of a trained model, and the weights of its entropy model by name, on ``device``."""
    tensors = {name: tensor.to(device) for name, tensor in model.tensors.items()}
    return AnchorModel.from_bundle(Bundle(tensors, model.meta)), tensors_under(tensors, _ENTROPY)
