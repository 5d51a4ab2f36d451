"""The architectures of the frozen networks as plain data, with the number of channels of their features.

Settings and headers need no more than this, so that they need no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from hemgs.core.errors import ConfigError

#: Fractional bits of activations, weights and coordinates. Folded batch norms have gains up to 30. With these bits, the
#: S3DIS network's features differ from the float network's by 0.2 % to 0.4 % (root mean squares); with 8-bit weights
#: they differ by 3 % to 6 %.
PRECISION_BITS = 12
#: One, as an activation and as a length.
ONE = 1 << PRECISION_BITS


@dataclass(frozen=True)
class Grouping:
    """One scale of a set abstraction.

    Attributes:
        radius: radius of the ball, in units of ``1 / ONE``.
        neighbours: number of points from the ball.
        widths: widths of the layers before the maximum.
    """

    radius: int
    neighbours: int
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Abstraction:
    """Centres by farthest-point sampling, then each scale's neighbours; the outputs of all scales are concatenated."""

    centres: int
    groupings: tuple[Grouping, ...]

    @property
    def width(self) -> int:
        """Channels of the result."""
        return sum(grouping.widths[-1] for grouping in self.groupings)


@dataclass(frozen=True)
class Architecture:
    """A PointNet++ with a feature for each point.

    Attributes:
        inputs: channels of a point in addition to its coordinates.
        abstractions: the set abstractions, the one over the points first.
        propagations: widths of the layers on the way back, the deepest first; as many as abstractions.
        head: widths of the layers after them, ReLU between but not after; the last is the network's output.
    """

    inputs: int
    abstractions: tuple[Abstraction, ...]
    propagations: tuple[tuple[int, ...], ...]
    head: tuple[int, ...]

    def mlp_widths(self) -> list[tuple[int, ...]]:
        """Widths, inputs first, of all multi-layer perceptrons in order of evaluation."""
        levels = [self.inputs] + [level.width for level in self.abstractions]
        result = [
            (below + 3, *grouping.widths)
            for below, level in zip(levels, self.abstractions)
            for grouping in level.groupings
        ]
        width = levels[-1]
        for skip, widths in zip(reversed(levels[:-1]), self.propagations, strict=True):
            result.append((skip + width, *widths))
            width = widths[-1]
        return [*result, (width, *self.head)]


#: Ids of the networks.
S3DIS, BUNDLED = "pointnet2_s3dis_msg", "pointnet2_bundled"
#: arXiv 1706.02413, multi-scale grouping, as trained by the asset's authors; radii of 0.1 m to 0.8 m, unit 1 / ONE m.
S3DIS_ARCHITECTURE = Architecture(
    inputs=6,
    abstractions=(
        Abstraction(1024, (Grouping(410, 16, (32, 32, 64)), Grouping(819, 32, (32, 48, 64)))),
        Abstraction(256, (Grouping(819, 16, (64, 64, 128)), Grouping(1638, 32, (64, 96, 128)))),
        Abstraction(64, (Grouping(1638, 16, (128, 128, 256)), Grouping(3277, 32, (128, 192, 256)))),
    ),
    propagations=((512, 256), (256, 128), (128, 128)),
    head=(32,),
)
#: Two scales, geometry statistics as inputs, 40k parameters; lengths in 1 / ONE of a block's longest side.
BUNDLED_ARCHITECTURE = Architecture(
    inputs=6,
    abstractions=(
        Abstraction(1024, (Grouping(256, 16, (32, 32, 64)),)),
        Abstraction(256, (Grouping(819, 24, (64, 64, 64)),)),
    ),
    propagations=((64, 64), (64, 64)),
    head=(32,),
)
#: Architectures by id.
ARCHITECTURES = {S3DIS: S3DIS_ARCHITECTURE, BUNDLED: BUNDLED_ARCHITECTURE}


def architecture_of(asset: str) -> Architecture:
    """Return the architecture of the network with this id.

    Raises:
        ConfigError: there is no such network.
    """
    if asset not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ConfigError(f"no scene-agnostic network {asset!r}", f"use one of {known}, or ''")
    return ARCHITECTURES[asset]


def scene_agnostic_dim(asset: str) -> int:
    """Return D, the number of a network's feature channels.

    Raises:
        ConfigError: there is no such network.
    """
    return architecture_of(asset).head[-1]
