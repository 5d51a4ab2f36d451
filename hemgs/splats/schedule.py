"""The iterations at which density control acts on plain Gaussians, and the limits of these in very short runs.

A reset lowers all opacities to 0.01. Adam changes a logit by about its learning rate (0.05) a step, so it takes about
184 steps from 0.01 to 0.99. The published interval, scaled to a run of 300 iterations, is 30: opacities stay low, and
pruning removes Gaussians that are needed. A run of less than :data:`SHORTEST_SCALED` iterations therefore has the
intervals of a run of that length. The iterations of longer runs are scaled exactly.

Owns these iterations. Does not own what happens at them (``densify``) or the learning rates.
"""

from __future__ import annotations

from hemgs.splats.params import SplatParams
from hemgs.training.schedule import Milestones

#: Shortest run, in iterations, whose resets of opacities are scaled: 200 iterations apart.
SHORTEST_SCALED = 2_000


class DensitySchedule:
    """Iterations (from 1) at which Gaussians grow, large ones are removed and opacities are lowered.

    Args:
        params: settings of the run.
        white_background: whether an additional early reset is due. On white, stray Gaussians of the background's colour
            add no loss; the released code of 3DGS resets them.
    """

    def __init__(self, params: SplatParams, white_background: bool) -> None:
        milestones = Milestones(params.iterations)
        self._start, self._end = milestones.at(params.densify_from), milestones.at(params.densify_until)
        self._grow_interval = params.densify_interval
        self._white = white_background
        self._is_short = params.iterations < SHORTEST_SCALED
        intervals = Milestones(max(params.iterations, SHORTEST_SCALED))
        self._reset_interval = intervals.at(params.opacity_reset_every)
        self._large_from = intervals.at(params.prune_large_from)
        self._iterations = params.iterations

    def gathers(self, iteration: int) -> bool:
        """Return whether the gradients of this iteration count for the next growth."""
        return iteration < self._end

    def grows(self, iteration: int) -> bool:
        """Return whether Gaussians are cloned, split and pruned after this iteration."""
        return self._start < iteration < self._end and iteration % self._grow_interval == 0

    def prunes_large(self, iteration: int) -> bool:
        """Return whether pruning after this iteration also removes Gaussians that are too large."""
        return iteration > self._large_from

    def resets(self, iteration: int) -> bool:
        """Return whether opacities are lowered after this iteration; a short run needs an interval after it."""
        if iteration >= self._end or (self._is_short and iteration + self._reset_interval > self._iterations):
            return False
        return iteration % self._reset_interval == 0 or (self._white and iteration == self._start)
