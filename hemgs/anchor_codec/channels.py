"""Channels of one anchor as context of each other: decoded chunks predict the next one (HAC++, arXiv 2501.12255).

The channels of a group are coded in chunks. A small network corrects a chunk's distribution, which is that of the
group. Its inputs are the distances of earlier chunks' channels from their means without this context. For Gaussians
with dependent channels, conditional means and variances are functions of these distances. The networks exist in float
for training and in exact integers for coding.

Owns the networks and their inputs. Does not own the distribution that they correct, or the order of coding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hemgs.anchor_codec.networks import Mlp
from hemgs.coding.fixed_point import FixedMlp

#: Width of the hidden layer of a chunk's network.
HIDDEN = 24


def chunk_columns(channels: int, chunks: int) -> list[slice]:
    """Divide ``channels`` into ``chunks`` runs of nearly equal length, in order."""
    ends = [channels * number // chunks for number in range(chunks + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


class ChannelContext(nn.Module):
    """Corrections of all chunks but the first, which is not corrected. They start at zero.

    Args:
        channels: C.
        chunks: 2 to C.
    """

    def __init__(self, channels: int, chunks: int) -> None:
        super().__init__()
        self.columns = chunk_columns(channels, chunks)
        self.networks = nn.ModuleList(
            Mlp(part.start, HIDDEN, 2 * (part.stop - part.start), quiet=True) for part in self.columns[1:]
        )

    def mlps(self) -> list[Mlp]:
        """Return the chunks' networks, in order."""
        return [network for network in self.networks if isinstance(network, Mlp)]

    def corrections(self, surprise: Tensor) -> tuple[Tensor, Tensor]:
        """Return corrections to add to means and log-scales, ``[n, C]`` each.

        Args:
            surprise: ``[n, C]``, values minus their means without this context, scaled to around one.
        """
        first = surprise.new_zeros(len(surprise), self.columns[0].stop)
        pairs = [network(surprise[:, : part.start]).chunk(2, dim=1) for part, network in self._later()]
        means, log2_scales = zip((first, first), *pairs, strict=True)
        return torch.cat(means, dim=1), torch.cat(log2_scales, dim=1)

    def _later(self) -> list[tuple[slice, nn.Module]]:
        return list(zip(self.columns[1:], self.networks, strict=True))


class FixedChannels:
    """:class:`ChannelContext` in integers, which are ``float64`` with ``ACTIVATION_BITS`` fractional bits.

    Args:
        networks: networks of all chunks but the first; none without this context.
        channels: C.
    """

    def __init__(self, networks: Sequence[FixedMlp], channels: int) -> None:
        self.networks = list(networks)
        self.columns = chunk_columns(channels, len(self.networks) + 1)

    def correction(self, chunk: int, surprise: Tensor) -> tuple[Tensor, Tensor]:
        """Return corrections to add to means and log-scales of a chunk's channels, ``[n, c]`` each.

        Args:
            chunk: number of the chunk, 1 or more.
            surprise: ``[n, start]`` of all channels before the chunk; see :meth:`ChannelContext.corrections`.
        """
        mean, log2_scale = self.networks[chunk - 1](surprise).chunk(2, dim=1)
        return mean, log2_scale
