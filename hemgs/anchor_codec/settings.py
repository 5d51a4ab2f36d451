"""Sizes, forms and milestones that the settings of anchor codecs consist of, with their limits.

Everything here is plain data, so that settings can be checked where torch is not installed. Owns what the settings of
all anchor codecs share (``params``) and what files contain of it (``header``). Does not own any network or coder.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Self

from hemgs.coding.names import RAW16, STATIC
from hemgs.core.bounded import check_integer

#: Bits of a stored weight of the rendering networks: float16, or integers with a scale for each output.
HALF, BYTE = 16, 8
HEAD_BITS = (HALF, BYTE)
#: Metadata of a field that the first files lack. It is written only where it differs from its default, so that other
#: files keep their bytes.
LATER = {"later": True}
#: Limits of sizes in files, and therefore of a method's settings. They are far above any published size.
MAX_WIDTH, MAX_OFFSETS, MAX_LEVELS, MAX_LOG2_ENTRIES, MAX_RESOLUTION = 1024, 64, 32, 22, 1 << 15
#: Eighteen times the paper's setting. Few bytes can represent many equal signs, so this limits the decoder's memory.
MAX_SIGNS = 1 << 24
SETTINGS_FIX = "give a value in that range; `hemgs describe` lists the settings of a method"
#: Tables of a hash grid are padded to a multiple of this, as tiny-cuda-nn does.
PADDING = 8
#: Axes of the parts of a hash grid: the volume, then the planes xy, xz, yz.
AXES: tuple[tuple[int, ...], ...] = ((0, 1, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Storage:
    """Form of the common sections. The file contains it, so a decoder needs no argument.

    Attributes:
        locations: codec of locations, from ``hemgs.coding.names``.
        masks: codec of masks, from ``hemgs.coding.names``.
        head_bits: bits of a weight of the rendering networks, one of :data:`HEAD_BITS`.
    """

    locations: str = RAW16
    masks: str = STATIC
    head_bits: int = HALF


#: The published form of HEMGS and HAC.
AS_PUBLISHED = Storage()


@dataclass(frozen=True, kw_only=True)
class PhaseSettings:
    """The phases' iterations and weights.

    Attributes:
        noise_start: first iteration with noise.
        growth_pause: iterations after ``noise_start`` in which anchors neither grow nor are pruned.
        entropy_start: first iteration with predicted steps and the rate loss.
        rate_warmup: iterations over which the rate's weight rises from a tenth to one.
        side_free: iterations after ``entropy_start`` in which side information, such as a hash grid, has no price.
            Then its price rises over as many more. While the signs of a grid are undecided, the likelihood hardly
            moves them, and their price alone would make all of them equal.
        sample_share: share of the anchors that are priced in a step: of all of them in HEMGS, ContextGS and with
            ``masks_in_rate``, of the visible ones in HAC.
        mask_weight: weight of the mean mask probability; it has no effect with ``masks_in_rate``.
        network_lr: first and last learning rate of the networks.
        masks_in_rate: whether masks are learned from the rate alone, as in HAC++ (arXiv 2501.12255, section 4.4): they
            weigh the bits (:func:`coded_weights`) of a sample of all anchors (:meth:`PhasedAttributes.sampled_rows`),
            masked ones included, and multiply scales as well as opacities.
        storage: form of the files, for the estimate of their size.
    """

    noise_start: int
    growth_pause: int
    entropy_start: int
    rate_warmup: int
    side_free: int
    sample_share: float
    mask_weight: float
    network_lr: tuple[float, float]
    masks_in_rate: bool = False
    storage: Storage = AS_PUBLISHED


@dataclass(frozen=True, kw_only=True)
class GridPhaseSettings(PhaseSettings):
    """The plan of a codec with a hash grid.

    Attributes:
        grid_lr: first and last learning rate of the hash grid.
    """

    grid_lr: tuple[float, float]


@dataclass(frozen=True)
class HashGridSettings:
    """Sizes of the grid; the defaults are HAC's (1,766,272 signs).

    Attributes:
        resolutions_3d, resolutions_2d: vertices per axis, by level.
        log2_entries_3d, log2_entries_2d: cap of a level's table.
        features: signs per entry.
    """

    resolutions_3d: tuple[int, ...] = (18, 24, 33, 44, 59, 80, 108, 148, 201, 275, 376, 514)
    resolutions_2d: tuple[int, ...] = (130, 258, 514, 1026)
    log2_entries_3d: int = 13
    log2_entries_2d: int = 15
    features: int = 4

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Return all levels in output order, with their places in the common table."""
        found: list[Level] = []
        start = 0
        for axes in AXES:
            volume = len(axes) == 3
            resolutions = self.resolutions_3d if volume else self.resolutions_2d
            cap = 1 << (self.log2_entries_3d if volume else self.log2_entries_2d)
            for resolution in resolutions:
                vertices = resolution ** len(axes)
                entries = min(cap, -(-vertices // PADDING) * PADDING)
                found.append(Level(axes, resolution, start, entries, dense=vertices <= cap))
                start += entries
        return tuple(found)

    @property
    def num_entries(self) -> int:
        """Number of rows of the common table."""
        return sum(level.entries for level in self.levels)

    @property
    def output_dim(self) -> int:
        """Width of a feature."""
        return len(self.levels) * self.features

    def check(self) -> None:
        """Raise ValueError for a hash grid that no encoder writes."""
        check_integer("grid_features", self.features, 1, 16)
        for dimensions in ("3d", "2d"):
            log2_entries = getattr(self, f"log2_entries_{dimensions}")
            check_integer(f"grid_log2_entries_{dimensions}", log2_entries, 3, MAX_LOG2_ENTRIES)
            name, resolutions = f"grid_resolutions_{dimensions}", getattr(self, f"resolutions_{dimensions}")
            if not isinstance(resolutions, tuple) or len(resolutions) > MAX_LEVELS:
                raise ValueError(f"{name} is {resolutions!r}, not up to {MAX_LEVELS} numbers")
            for resolution in resolutions:
                check_integer(name, resolution, 3, MAX_RESOLUTION)
        check_integer(
            "number of grid_resolutions_*", len(self.resolutions_3d) + len(self.resolutions_2d), 1, 2 * MAX_LEVELS
        )
        # Depends on all of these.
        check_integer("number of signs of grid_*", self.num_entries * self.features, 0, MAX_SIGNS)


@dataclass(frozen=True)
class Level:
    """One resolution of one grid: its axes, and the place of its entries."""

    axes: tuple[int, ...]
    resolution: int
    start: int
    entries: int
    dense: bool

    @property
    def rows(self) -> slice:
        """The level's entries in the common table."""
        return slice(self.start, self.start + self.entries)


@dataclass(frozen=True)
class EntropySizes:
    """Sizes of an entropy model, stored in every bitstream. Codecs extend it.

    Attributes:
        feature_dim: D, channels of the anchor feature.
        num_offsets: K.
        WIDTHS: names of the fields that are widths of networks.
    """

    WIDTHS: ClassVar[tuple[str, ...]] = ()
    feature_dim: int = 50
    num_offsets: int = 10

    @classmethod
    def of(cls, params: object, **other: Any) -> Self:
        """Take the sizes from the attributes of ``params`` that have their names, but for those in ``other``."""
        names = {size.name for size in fields(cls)} - set(other)
        return cls(**{name: getattr(params, name) for name in names}, **other)

    def check(self) -> None:
        """Raise ValueError for sizes that no decoder accepts. Messages name a method's settings."""
        check_integer("feature_dim", self.feature_dim, 1, MAX_WIDTH)
        check_integer("num_offsets", self.num_offsets, 1, MAX_OFFSETS)
        for name in self.WIDTHS:
            check_integer(name, getattr(self, name), 1, MAX_WIDTH)


@dataclass(frozen=True)
class GridSizes(EntropySizes):
    """Sizes of an entropy model with a hash grid.

    Attributes:
        grid: the hash grid.
    """

    grid: HashGridSettings = field(default_factory=HashGridSettings)

    def check(self) -> None:
        super().check()
        self.grid.check()
