"""A method that trains anchors once per rate and has an ``AnchorCodec``: what HAC and its successors share.

Owns the way from a training's λ, and from a codec, to the interface of the benchmark. Does not own settings, models or
codecs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from hemgs.anchor_codec.codec import AnchorCodec
from hemgs.anchor_codec.method import CodedAnchors
from hemgs.anchor_codec.params import CodecParams
from hemgs.anchors import AnchorModel
from hemgs.anchors.rendering import FixedAnchors
from hemgs.core.errors import ConfigError
from hemgs.core.types import Rate, SectionTable

P = TypeVar("P", bound=CodecParams)
E = TypeVar("E", bound=nn.Module)


class Rival(CodedAnchors[P, E]):
    """See :class:`CodedAnchors`.

    Attributes:
        codec: of its files.
    """

    codec: ClassVar[AnchorCodec[Any, Any, Any]]

    def lmbda_of(self, rate: Rate) -> float:
        """λ of a training's rate.

        Raises:
            ConfigError: it has none.
        """
        if rate.lmbda is None:
            raise ConfigError(f"{self.spec.id} is trained once per rate", "name one, for example --rate lmbda_0.0020")
        return rate.lmbda

    def write(
        self, path: Path, anchors: AnchorModel, entropy: E, settings: P, lmbda: float, views: torch.Tensor
    ) -> SectionTable:
        return self.codec.encode(path, anchors, entropy, settings.base_steps, lmbda, views, settings.storage)

    def read(self, path: Path, device: torch.device) -> FixedAnchors:
        return self.codec.decode(path, device)
