"""The settings section of a HEMGS bitstream: everything the decoder must know before the first symbol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hemgs.anchor_codec.header import (
    FIX,
    MAX_WIDTH,
    AnchorHeader,
    check_bounds,
    check_grid,
    check_integer,
    take_grid,
)
from hemgs.codec.model import EntropySettings
from hemgs.codec.neighbours import ORDERS, ContextWindow
from hemgs.codec.rate_predictor import MAX_OCTAVES
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.pointnet.features import scene_agnostic_digest

#: Limits on the window of neighbours that a file may ask for.
MAX_WINDOW, MAX_MULTIPLIER = 255, 64
#: Fields of the entropy model's sizes that are widths of networks.
_WIDTHS = (
    *("feature_prior", "geometry_prior", "feature_hidden", "geometry_hidden"),
    *("feature_step_hidden", "geometry_step_hidden", "feature_context", "geometry_context"),
)


@dataclass(frozen=True, kw_only=True)
class Header(AnchorHeader):
    """Settings of one HEMGS bitstream.

    Attributes:
        rate: λ as the integer networks see it, units of ``2^-ACTIVATION_BITS``.
        low, high: bounds of the hash grid in stored location units.
        entropy: sizes of the entropy model.
        scene_agnostic_sha256: of the frozen network's weights; empty without one.
    """

    rate: int
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    entropy: EntropySettings
    scene_agnostic_sha256: str = ""

    @classmethod
    def take_parts(cls, raw: dict[str, Any]) -> dict[str, Any]:
        entropy = dict(raw.pop("entropy"))
        grid = take_grid(entropy)
        # Files from before there was a context have none.
        window = ContextWindow(**entropy.pop("window", {}))
        return {"entropy": EntropySettings(grid=grid, window=window, **entropy)}

    @classmethod
    def check_entropy(cls, entropy: EntropySettings) -> None:
        super().check_entropy(entropy)
        if type(entropy.rate_octaves) is not float or not 0 < entropy.rate_octaves <= MAX_OCTAVES:
            raise ValueError(f"rate_octaves is {entropy.rate_octaves!r}, not a number above 0, up to {MAX_OCTAVES:g}")
        for name in ("float_networks", "sparse_grid"):
            if type(getattr(entropy, name)) is not bool:
                raise ValueError(f"{name} is {getattr(entropy, name)!r}, not true or false")
        for name in _WIDTHS:
            check_integer(name, getattr(entropy, name), 0 if name.endswith("_context") else 1, MAX_WIDTH)
        check_integer("feature_chunks", entropy.feature_chunks, 1, entropy.feature_dim)
        check_grid(entropy.grid)
        _check_window(entropy.window)
        if type(entropy.scene_agnostic) is not str:
            raise ValueError("scene_agnostic is not a name")

    def check(self) -> None:
        super().check()
        check_integer("rate", self.rate, 0, 1 << ACTIVATION_BITS)
        check_bounds(self.low, self.high)
        self.check_entropy(self.entropy)
        if type(self.scene_agnostic_sha256) is not str:
            raise ValueError("scene_agnostic_sha256 is not a text")

    def check_assets(self) -> None:
        """Raises BitstreamError if this installation's frozen network is not the one that the file was made with."""
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
