"""Settings of Scaffold-GS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hemgs.anchor_codec.settings import MAX_OFFSETS, MAX_WIDTH
from hemgs.anchors.params import AnchorParams
from hemgs.core.types import MethodSpec


@dataclass(frozen=True)
class ScaffoldGsParams(AnchorParams):
    """Settings of Scaffold-GS: those of all methods with anchors, and none of its own. Files limit some of them."""

    feature_dim: Annotated[int, Field(ge=1, le=MAX_WIDTH)] = 50
    num_offsets: Annotated[int, Field(ge=1, le=MAX_OFFSETS)] = 10
    head_hidden_dim: Annotated[int, Field(ge=0, le=MAX_WIDTH)] = 0


Params = ScaffoldGsParams
SPECS = {
    "ScaffoldGs": MethodSpec(
        id="scaffold_gs",
        label="Scaffold-GS",
        kind="single",
        attributes=("locations", "features", "scalings", "offsets", "networks"),
    )
}
