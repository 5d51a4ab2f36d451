"""Learning rates and milestones as functions of the iteration.

Published schedules are written for 30,000 iterations. A shorter run keeps their proportions; a longer one keeps the
milestones where they are and goes on with what comes last, as HEMGS's 60,000 iterations do beside HAC's 30,000. Owns
that scaling and nothing of what happens at a milestone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Length of the run for which schedules are published (3DGS, arXiv 2308.04079; Scaffold-GS, arXiv 2312.00109).
PUBLISHED_ITERATIONS = 30_000


def log_linear(lr0: float, lr1: float, step: int, total: int) -> float:
    """Learning rate at ``step`` of ``total``, from ``lr0`` to ``lr1`` on a straight line in the logarithm.

    Args:
        lr0, lr1: learning rates at step 0 and at step ``total``; a rate of 0 at either end is 0 throughout.
        step: iteration; beyond ``total`` the rate stays at ``lr1``.
        total: iterations of the run, at least 1.
    """
    if lr0 <= 0.0 or lr1 <= 0.0:
        return 0.0
    part = min(max(step / total, 0.0), 1.0)
    return math.exp((1.0 - part) * math.log(lr0) + part * math.log(lr1))


def scaled(iteration_at_30k: int, iterations: int) -> int:
    """A published iteration number (or interval) in a run of ``iterations``, at least 1; exact from 30,000 on."""
    return max(1, round(iteration_at_30k * min(iterations, PUBLISHED_ITERATIONS) / PUBLISHED_ITERATIONS))


@dataclass(frozen=True)
class Milestones:
    """Published iteration numbers, as they fall in a run of ``iterations``.

    Attributes:
        iterations: length of the run, at least 1.
    """

    iterations: int

    def at(self, published: int) -> int:
        """The iteration that corresponds to iteration ``published`` of 30,000; see :func:`scaled`."""
        return scaled(published, self.iterations)

    def every(self, published: int, minimum: int = 1) -> int:
        """The interval that corresponds to ``published`` iterations of 30,000.

        ``minimum`` keeps statistics that are gathered over an interval meaningful in short runs; it never makes an
        interval longer than the published one.
        """
        return max(self.at(published), min(minimum, published))

    def is_due(self, iteration: int, published: int, minimum: int = 1) -> bool:
        """Whether ``iteration`` (1-based) is a multiple of :meth:`every`."""
        return iteration % self.every(published, minimum) == 0
