"""Settings of methods that train anchors together with an entropy model.

Owns names, defaults and their validation. Methods extend one of the two classes with their own fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hemgs.anchor_codec.settings import (
    HALF,
    HEAD_BITS,
    MAX_WIDTH,
    SETTINGS_FIX,
    EntropySizes,
    GridPhaseSettings,
    HashGridSettings,
    PhaseSettings,
    Storage,
)
from hemgs.anchors.params import AnchorParams
from hemgs.coding.names import ADAPTIVE, OCTREE, RAW16, STATIC
from hemgs.config.fields import one_of
from hemgs.config.params import Amount, Count, PositiveAmount, PositiveShare
from hemgs.core.errors import ConfigError
from hemgs.training.schedule import scaled


@dataclass(frozen=True)
class CodecParams(AnchorParams):
    """Training of anchors with their price in the loss. Iteration numbers are for a run of 30,000 and scale with
    ``iterations``; defaults are those of HAC (arXiv 2403.14530, released code), but for the warm-up.

    Attributes:
        noise_from: attributes are noisy from here on.
        growth_pause: iterations without growing after that.
        entropy_from: the entropy model takes part from here on.
        rate_warmup: iterations over which the rate's weight rises from a tenth to one.
        step_features, step_scalings, step_offsets: quantisation steps before prediction.
        sample_share: share of the anchors that are priced in a step; see :class:`PhaseSettings`.
        mask_weight: weight of the mean mask probability in the loss; it has no effect with ``masks_in_rate``.
        masks_in_rate: whether masks are learned from the bits that they save, as in HAC++ (arXiv 2501.12255).
        lr_networks, lr_networks_end: learning rates of the entropy networks at the first iteration (in HEMGS: the first
            with a price) and at the last.
        location_codec: ``raw16`` (16 bits a coordinate, as the papers store them) or ``octree`` (7 to 20 bits for all
            three).
        mask_codec: ``static`` (one probability for each offset index) or ``adaptive`` (contexts).
        head_bits: bits of the rendering networks' weights in files: 16 (float16) or 8 (integers, a scale per output).
    """

    noise_from: Count = 3_000
    growth_pause: Count = 1_000
    entropy_from: Count = 10_000
    rate_warmup: Count = 1_000
    step_features: PositiveAmount = 1.0
    step_scalings: PositiveAmount = 0.001
    step_offsets: PositiveAmount = 0.2
    sample_share: PositiveShare = 0.05
    mask_weight: Amount = 5e-4
    masks_in_rate: bool = False
    lr_networks: Amount = 5e-3
    lr_networks_end: Amount = 1e-5
    location_codec: Annotated[str, *one_of((RAW16, OCTREE))] = RAW16
    mask_codec: Annotated[str, *one_of((STATIC, ADAPTIVE))] = STATIC
    head_bits: Annotated[int, *one_of(HEAD_BITS)] = HALF
    head_hidden_dim: Annotated[int, Field(ge=0, le=MAX_WIDTH)] = 0

    @property
    def storage(self) -> Storage:
        """Form of the files' common sections."""
        return Storage(self.location_codec, self.mask_codec, self.head_bits)

    @property
    def phases(self) -> PhaseSettings:
        """Milestones of this run's length, for :class:`PhaseSettings`."""
        return PhaseSettings(
            noise_start=scaled(self.noise_from, self.iterations) + 1,
            growth_pause=scaled(self.growth_pause, self.iterations),
            entropy_start=scaled(self.entropy_from, self.iterations) + 1,
            rate_warmup=scaled(self.rate_warmup, self.iterations),
            side_free=0,
            sample_share=self.sample_share,
            mask_weight=self.mask_weight,
            network_lr=(self.lr_networks, self.lr_networks_end),
            masks_in_rate=self.masks_in_rate,
            storage=self.storage,
        )


@dataclass(frozen=True)
class HashGridParams(CodecParams):
    """Settings of codecs with a binary hash grid; defaults are those of HAC, but for ``grid_free``.

    Attributes:
        grid_free: iterations from ``entropy_from`` on in which the hash grid costs nothing; its price rises over as
            many more.
        lr_grid, lr_grid_end: learning rates of the hash grid.
        grid_resolutions_3d, grid_resolutions_2d: vertices per axis by level, separated by blanks.
        grid_log2_entries_3d, grid_log2_entries_2d: caps of the tables of a level.
        grid_features: signs per entry.
    """

    grid_free: Count = 4_000
    lr_grid: Amount = 5e-3
    lr_grid_end: Amount = 1e-5
    grid_resolutions_3d: str = "18 24 33 44 59 80 108 148 201 275 376 514"
    grid_resolutions_2d: str = "130 258 514 1026"
    grid_log2_entries_3d: Count = 13
    grid_log2_entries_2d: Count = 15
    grid_features: Count = 4

    @property
    def grid(self) -> HashGridSettings:
        """Sizes of the grid."""
        return HashGridSettings(
            tuple(int(number) for number in numbers("grid_resolutions_3d", self.grid_resolutions_3d)),
            tuple(int(number) for number in numbers("grid_resolutions_2d", self.grid_resolutions_2d)),
            self.grid_log2_entries_3d,
            self.grid_log2_entries_2d,
            self.grid_features,
        )

    @property
    def phases(self) -> GridPhaseSettings:
        own = {"side_free": scaled(self.grid_free, self.iterations), "grid_lr": (self.lr_grid, self.lr_grid_end)}
        return GridPhaseSettings(**{**vars(super().phases), **own})


def check_sizes(entropy: EntropySizes) -> None:
    """Raise ConfigError for an entropy model with sizes that no decoder accepts."""
    try:
        entropy.check()
    except ValueError as fault:
        raise ConfigError(str(fault), SETTINGS_FIX) from fault


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Parse positive numbers separated by blanks.

    Raises:
        ConfigError: the text contains anything else.
    """
    try:
        found = tuple(float(word) for word in text.split())
    except ValueError:
        found = ()
    if not found or any(not number > 0 for number in found):
        raise ConfigError(f"{name}: {text!r}", "give positive numbers separated by blanks, such as '0.001 0.004'")
    return found
