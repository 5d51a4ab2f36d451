"""A learned density of one number for each channel: the factorised prior of ContextGS's latents.

The model is that of Ballé et al., "Variational image compression with a scale hyperprior" (arXiv 1802.01436, appendix
6.1). Each channel has a cumulative distribution, which is a small network with positive weights and therefore monotone.

Owns the density in training and the frequencies of a bitstream. Does not own the coding of latents (``hyper``), whose
decoder needs only frequencies.
"""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemgs.coding.tables import integer_frequencies

#: Widths between the layers (appendix 6.1).
WIDTHS = (1, 3, 3, 3, 1)
#: About the spread of the density before training. Latents are zero then, and noise is within half a unit. A wider
#: start costs bits until the density has become narrow, for which a short training is too short.
INITIAL_SPREAD = 0.2
#: Floor of probabilities in the price. It is so small that every latent keeps a gradient.
MIN_PROBABILITY = 1e-30
#: Frequencies cannot be scaled from probabilities of zero.
_LEAST_MASS = 1e-12


class FactorizedDensity(nn.Module):
    """Densities of L channels, independent of each other.

    Args:
        channels: L.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        shrink = INITIAL_SPREAD ** (1 / (len(WIDTHS) - 1))
        self.matrices, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in itertools.pairwise(WIDTHS):
            start = math.log(math.expm1(1 / shrink / outputs))
            self.matrices.append(torch.full((channels, outputs, inputs), start))
            self.biases.append(torch.rand(channels, outputs, 1) - 0.5)
        self.factors = nn.ParameterList(torch.zeros(channels, outputs, 1) for outputs in WIDTHS[1:-1])

    def bits(self, values: Tensor) -> Tensor:
        """Return the code length of values with noise, or of integers, ``[n, L]``."""
        return -torch.log2(self.probabilities(values).clamp_min(MIN_PROBABILITY))

    def probabilities(self, values: Tensor) -> Tensor:
        """Return the mass within half a unit of each value, ``[n, L]``."""
        columns = values.T.unsqueeze(1)
        lower, upper = self._logits(columns - 0.5), self._logits(columns + 0.5)
        # On the side where both sigmoids are small, their difference is precise.
        side = -torch.sign(lower + upper).detach()
        return (torch.sigmoid(side * upper) - torch.sigmoid(side * lower)).abs().squeeze(1).T

    def _logits(self, values: Tensor) -> Tensor:
        """Return logits of the cumulative distributions at ``[L, 1, n]``."""
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            values = torch.nn.functional.softplus(matrix) @ values + bias
            if number < len(self.factors):
                values = values + torch.tanh(self.factors[number]) * torch.tanh(values)
        return values

    @torch.no_grad()
    def frequencies(self, channel: int, low: int, high: int) -> NDArray[np.uint16]:
        """Return integer frequencies of ``low..high`` and of all other values, ``[high - low + 2]``; the sum is 65536.

        The CPU computes them, so that the device of the training does not matter.
        """
        values = torch.arange(low, high + 1, dtype=torch.float64, device="cpu")[:, None].expand(-1, self.channels)
        masses = copy.deepcopy(self).cpu().double().probabilities(values)[:, channel].numpy()
        outside = max(1.0 - float(masses.sum()), 0.0)
        return integer_frequencies(np.maximum([*masses, outside], _LEAST_MASS))
