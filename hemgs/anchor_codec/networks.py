"""The two-layer perceptron of all of HEMGS's networks (arXiv 2411.18473, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hemgs.coding.fixed_point import FixedMlp


class Mlp(nn.Module):
    """Linear, ReLU, Linear.

    Args:
        inputs, hidden, outputs: widths.
        quiet: whether outputs start at zero, so that the first steps are those of the base settings.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, quiet: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, outputs)
        if quiet:
            nn.init.zeros_(self.second.weight)
            nn.init.zeros_(self.second.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Evaluate ``[n, inputs]`` to ``[n, outputs]``, float32."""
        return self.second(torch.relu(self.first(inputs)))

    def fixed(self, exact: bool = True) -> FixedMlp:
        """Return the network's form in a bitstream, in integers unless ``exact`` is false."""
        return FixedMlp.from_linear([self.first, self.second], exact=exact)

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of :meth:`FixedMlp.stored`, which a decoder needs."""
        return [tuple(part.shape) for layer in (self.first, self.second) for part in (layer.weight, layer.bias)]
