"""Learning rates and milestones as functions of the iteration.

Published schedules are written for 30,000 iterations. A shorter run keeps their proportions. A longer run keeps the
milestones where they are and continues after the last one, as HEMGS does with 60,000 iterations. Owns that scaling.
Does not own what happens at a milestone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Length of the run for which schedules are published (3DGS, arXiv 2308.04079; Scaffold-GS, arXiv 2312.00109).
PUBLISHED_ITERATIONS = 30_000


def log_linear(lr0: float, lr1: float, step: int, total: int) -> float:
    """Return the learning rate at ``step`` of ``total``, from ``lr0`` to ``lr1`` linearly in the logarithm.

    Args:
        lr0, lr1: learning rates at step 0 and at step ``total``; if one of them is 0, the result is 0.
        step: iteration; beyond ``total`` the rate stays at ``lr1``.
        total: iterations of the run, at least 1.

    >>> log_linear(1.0, 0.01, step=0, total=100), round(log_linear(1.0, 0.01, step=50, total=100), 6)
    (1.0, 0.1)
    """
    if lr0 <= 0.0 or lr1 <= 0.0:
        return 0.0
    part = min(max(step / total, 0.0), 1.0)
    return math.exp((1.0 - part) * math.log(lr0) + part * math.log(lr1))


def scaled(iteration_at_30k: int, iterations: int) -> int:
    """Scale a published iteration number (or interval) to a run of ``iterations``; the result is at least 1.

    >>> scaled(15_000, iterations=3_000), scaled(15_000, iterations=60_000)
    (1500, 15000)
    """
    return max(1, round(iteration_at_30k * min(iterations, PUBLISHED_ITERATIONS) / PUBLISHED_ITERATIONS))


@dataclass(frozen=True)
class Milestones:
    """Published iteration numbers, scaled to a run of ``iterations``.

    Attributes:
        iterations: length of the run, at least 1.
    """

    iterations: int

    def at(self, published: int) -> int:
        """Return the iteration that corresponds to iteration ``published`` of 30,000; see :func:`scaled`."""
        return scaled(published, self.iterations)

    def is_due(self, iteration: int, published: int) -> bool:
        """Return whether ``iteration`` (from 1) is a multiple of the interval ``published``, scaled by :meth:`at`."""
        return iteration % self.at(published) == 0
