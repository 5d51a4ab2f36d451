"""Settings of Scaffold-GS."""

from __future__ import annotations

from dataclasses import dataclass

from hemgs.anchor_codec.header import MAX_OFFSETS, MAX_WIDTH
from hemgs.anchors.params import AnchorParams
from hemgs.core.errors import ConfigError


@dataclass(frozen=True)
class ScaffoldGsParams(AnchorParams):
    """Settings of Scaffold-GS: those of all methods with anchors, and none of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("feature_dim", MAX_WIDTH), ("num_offsets", MAX_OFFSETS), ("head_hidden_dim", MAX_WIDTH)):
            if getattr(self, name) > most:
                raise ConfigError(f"{name}: {getattr(self, name)!r}", f"give at most {most}")
