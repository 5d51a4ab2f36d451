"""The settings section of a HEMGS bitstream: everything the decoder must know before the first symbol."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

from hemgs.anchor_codec.grid_codec import GridHeader
from hemgs.anchor_codec.header import FIX, MAX_WIDTH, check_integer
from hemgs.codec.model import EntropySettings
from hemgs.codec.neighbours import ORDERS, ContextWindow
from hemgs.codec.rate_predictor import MAX_OCTAVES, fixed_rate_input
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.pointnet.features import scene_agnostic_digest

#: Limits on the window of neighbours that a file may ask for.
MAX_WINDOW, MAX_MULTIPLIER = 255, 64


@dataclass(frozen=True, kw_only=True)
class HemgsHeader(GridHeader):
    """Settings of one HEMGS bitstream.

    Attributes:
        entropy: sizes of the entropy model.
        scene_agnostic_sha256: of the frozen network's weights; empty without one.
    """

    Settings: ClassVar[type] = EntropySettings
    WIDTHS: ClassVar[tuple[str, ...]] = (
        *("feature_prior", "geometry_prior", "feature_hidden", "geometry_hidden"),
        *("feature_step_hidden", "geometry_step_hidden"),
    )
    entropy: EntropySettings
    scene_agnostic_sha256: str = ""

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        window = ContextWindow(**raw["entropy"].pop("window"))
        return super().take_parts({"entropy": {"window": window, **raw.pop("entropy")}})

    @classmethod
    def check_entropy(cls, entropy: EntropySettings) -> None:
        super().check_entropy(entropy)
        if type(entropy.rate_octaves) is not float or not 0 < entropy.rate_octaves <= MAX_OCTAVES:
            raise ValueError(f"rate_octaves is {entropy.rate_octaves!r}, not a number above 0, up to {MAX_OCTAVES:g}")
        for name in ("float_networks", "sparse_grid"):
            if type(getattr(entropy, name)) is not bool:
                raise ValueError(f"{name} is {getattr(entropy, name)!r}, not true or false")
        for name in ("feature_context", "geometry_context"):
            check_integer(name, getattr(entropy, name), 0, MAX_WIDTH)
        check_integer("feature_chunks", entropy.feature_chunks, 1, entropy.feature_dim)
        _check_window(entropy.window)
        if type(entropy.scene_agnostic) is not str:
            raise ValueError("scene_agnostic is not a name")

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
        """Raise BitstreamError if this installation's frozen network is not that of the file."""
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


def _check_window(window: ContextWindow) -> None:
    if window.order not in ORDERS:
        raise ValueError(f"order is {window.order!r}, not one of {', '.join(ORDERS)}")
    check_integer("context_window", window.size, 3, MAX_WINDOW)
    check_integer("context_neighbours", window.max_neighbours, 0, MAX_WIDTH)
    check_integer("context_multiplier", window.multiplier, 1, MAX_MULTIPLIER)
