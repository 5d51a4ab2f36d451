"""Settings that every method shares whose training the common loop runs (``loop``). Plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from hemgs.config.params import Positive, Settings, Share

#: Number of checkpoints that stay: the newest one, and the one before in case the newest is unreadable.
NUM_KEPT = 2


@dataclass(frozen=True)
class TrainingParams(Settings):
    """Length of a training, its loss, and how often it reports. Methods extend it with their own fields.

    Attributes:
        iterations: length of the training.
        ssim_weight: share of 1 - SSIM in the reconstruction loss, the rest is L1 (3DGS, arXiv 2308.04079, section 5).
        log_every, checkpoint_every: steps between progress reports, and between checkpoints.
    """

    iterations: Positive = 30_000
    ssim_weight: Share = 0.2
    log_every: Positive = 10
    checkpoint_every: Positive = 2_000
