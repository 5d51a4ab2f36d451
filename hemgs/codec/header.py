"""The settings section of a HEMGS bitstream, which the decoder reads before the first symbol."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

from hemgs.anchor_codec.grid_codec import GridHeader
from hemgs.anchor_codec.header import FIX
from hemgs.codec.rate_predictor import fixed_rate_input
from hemgs.codec.settings import ContextWindow, EntropySettings
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.pointnet.features import scene_agnostic_digest


@dataclass(frozen=True, kw_only=True)
class HemgsHeader(GridHeader):
    """Settings of one HEMGS bitstream.

    Attributes:
        entropy: sizes of the entropy model.
        scene_agnostic_sha256: SHA-256 of the frozen network's weights; empty without a frozen network.
    """

    Settings: ClassVar[type] = EntropySettings
    entropy: EntropySettings
    scene_agnostic_sha256: str = ""

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        window = ContextWindow(**raw["entropy"].pop("window"))
        return super().take_parts({"entropy": {"window": window, **raw.pop("entropy")}})

    def check(self) -> None:
        super().check()
        if self.trade_off.interval is None:
            raise ValueError("the interval of lmbda is missing")
        if type(self.scene_agnostic_sha256) is not str:
            raise ValueError("scene_agnostic_sha256 is not a text")

    @property
    def sparse(self) -> bool:
        return self.entropy.sparse_grid

    @functools.cached_property
    def rate_input(self) -> int:
        """λ as the input of the integer networks, in units of ``2^-ACTIVATION_BITS``."""
        lmbda, interval = self.trade_off.lmbda, self.trade_off.interval
        assert lmbda is not None and interval is not None  # of :meth:`check`
        return fixed_rate_input(lmbda, interval)

    def check_assets(self) -> None:
        """Raise BitstreamError if the frozen network of this installation is not that of the file."""
        asset = self.entropy.scene_agnostic
        try:
            digest = scene_agnostic_digest(asset) if asset else ""
        except ConfigError as fault:
            raise BitstreamError(f"section settings: {fault.message}", FIX) from fault
        if digest != self.scene_agnostic_sha256:
            raise BitstreamError(
                f"the file was made with weights {self.scene_agnostic_sha256[:12]!r} of {asset!r}, not {digest[:12]!r}",
                "decode it with the version of this package that made it, or encode the model again",
            )
