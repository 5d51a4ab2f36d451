"""The search for one file of a requested size or quality, from one variable-rate model.

Owns the search over λ and its result. Does not own encoding (``encoding``), decoding (``isolation``) or PSNR
(``viewing``).
"""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import torch

from hemgs.bench.encoding import encode_one
from hemgs.bench.evaluation import scene_to_measure, showcase_views
from hemgs.bench.isolation import decode_alone
from hemgs.bench.rates import rate_of
from hemgs.bench.runs import EncodedRate, TrainRecord
from hemgs.bench.training import load_model
from hemgs.bench.viewing import psnr_of_views
from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.core.files import atomic_path
from hemgs.core.types import LmbdaInterval, Rate, Scene, View
from hemgs.protocol import Method, interval_of

#: The search for a size stops at this relative uncertainty of λ. Sizes then differ by much less than one per cent.
LMBDA_TOLERANCE = 1e-3
#: The search for a quality stops at this relative uncertainty of λ, or at this distance from the requested PSNR.
LMBDA_TOLERANCE_OF_PSNR = 5e-3
PSNR_TOLERANCE_DB = 0.01
#: λ is tried with the digits that are printed, so `--lmbda` with the printed number gives the same file.
_LMBDA_DIGITS = 6


@dataclass(frozen=True)
class Trial:
    """One file of the search.

    Attributes:
        rate, encoded: rate of the file, and its record.
        psnr: mean PSNR over the measured views, dB; ``None`` in a search for a size.
    """

    rate: Rate
    encoded: EncodedRate
    psnr: float | None = None

    @property
    def lmbda(self) -> float:
        """λ."""
        return self.rate.lmbda or 0.0

    @property
    def total_bytes(self) -> int:
        """Length of the file."""
        return self.encoded.total_bytes


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        interval: the searched interval of λ.
        chosen: the written file.
        trials: all files of the search, in order.
        num_views, num_test_views: number of measured views, and of all test views; 0 without a scene.
    """

    interval: LmbdaInterval
    chosen: Trial
    trials: tuple[Trial, ...]
    num_views: int = 0
    num_test_views: int = 0

    @property
    def is_largest(self) -> bool:
        """Whether no smaller λ can be tried."""
        return self.chosen.lmbda <= self.interval.low

    @property
    def is_smallest(self) -> bool:
        """Whether no larger λ can be tried."""
        return self.chosen.lmbda >= self.interval.high

    @property
    def next_larger(self) -> Trial | None:
        """The smallest tried file that is larger than the written one."""
        larger = [trial for trial in self.trials if trial.total_bytes > self.chosen.total_bytes]
        return min(larger, key=lambda trial: trial.total_bytes, default=None)

    @property
    def falls_with_lmbda(self) -> bool:
        """Whether PSNR fell with every larger λ that was tried, as the search assumes."""
        ordered = [trial.psnr or 0.0 for trial in sorted(self.trials, key=lambda trial: trial.lmbda)]
        return all(left >= right for left, right in itertools.pairwise(ordered))


def run_encode_to_size(
    model_dir: Path, out: Path, target_bytes: int, device: torch.device, stream: IO[str] | None = None
) -> Found:
    """Write the bitstream of the smallest λ whose file has at most ``target_bytes``, found by bisection.

    The search covers the interval that the model serves. If the target exceeds the largest file, that file is written.

    Raises:
        ConfigError: the model has one rate only, or even the largest λ gives a larger file.
    """
    record, method, model, interval = _variable_rate_model(model_dir, device, "--target-bytes")
    steps = 2 + _num_steps(interval, LMBDA_TOLERANCE)
    with _Search(record, method, model, interval, device, stream, steps) as search:
        smallest = search.attempt(interval.high)
        if smallest.total_bytes > target_bytes:
            raise ConfigError(
                f"--target-bytes {target_bytes}: the smallest file of this model has {smallest.total_bytes} bytes "
                f"(λ {smallest.lmbda})",
                "ask for more, or train a smaller model",
            )
        search.bisect(
            lambda trial: trial.total_bytes > target_bytes,
            LMBDA_TOLERANCE,
            lambda trial: trial.total_bytes == target_bytes,
        )
        fitting = [trial for trial in search.trials if trial.total_bytes <= target_bytes]
        return search.write(min(fitting, key=lambda trial: trial.lmbda), out)


def run_encode_to_psnr(
    model_dir: Path,
    out: Path,
    target_db: float,
    scene_dir: Path,
    device: torch.device,
    num_views: int | None = None,
    stream: IO[str] | None = None,
) -> Found:
    """Write the smallest tried bitstream that reaches a mean PSNR over test views; λ is found by bisection.

    Each bitstream is decoded in its own process and measured as in ``hemgs evaluate``: as the mean PSNR of 8-bit views.
    Bisection assumes that PSNR falls as λ rises. The reported PSNR is that of the written file, even if this is not so.

    Args:
        model_dir: folder of the model.
        out: file to write.
        target_db: PSNR to reach.
        scene_dir: the prepared scene that the model was trained on.
        device: where to compute.
        num_views: number of test views to measure, evenly spread; all by default.
        stream: terminal for the live line, if any.

    Raises:
        ConfigError: the model has one rate only, or no λ that was tried reaches the target.
        SceneError: the scene is not that of the model, or has no test views.
    """
    record, method, model, interval = _variable_rate_model(model_dir, device, "--target-psnr")
    scene = scene_to_measure(scene_dir, record, model_dir)
    test_views = scene.split("test")
    views = test_views if num_views is None else showcase_views(test_views, num_views)
    steps = 2 + _num_steps(interval, LMBDA_TOLERANCE_OF_PSNR)
    with _Search(record, method, model, interval, device, stream, steps, scene, views) as search:
        search.attempt(interval.high)

        def reaches(trial: Trial) -> bool:
            return trial.psnr is not None and trial.psnr >= target_db

        if not reaches(search.trials[0]):
            search.bisect(
                reaches,
                LMBDA_TOLERANCE_OF_PSNR,
                lambda trial: reaches(trial) and _psnr(trial) <= target_db + PSNR_TOLERANCE_DB,
            )
        reaching = [trial for trial in search.trials if reaches(trial)]
        if not reaching:
            best = max(search.trials, key=_psnr)
            raise ConfigError(
                f"--target-psnr {target_db:g}: the best that this model reaches is {_psnr(best):.3f} dB "
                f"(λ {best.lmbda}, {best.total_bytes} bytes, mean of {len(views)} of {len(test_views)} test views)",
                "ask for less, or train longer or with more anchors",
            )
        found = search.write(min(reaching, key=lambda trial: trial.total_bytes), out)
    return replace(found, num_views=len(views), num_test_views=len(test_views))


@dataclass
class _Search:
    """Files of one model at several λ, kept until the block ends."""

    record: TrainRecord
    method: Method
    model: Bundle
    interval: LmbdaInterval
    device: torch.device
    stream: IO[str] | None
    expected_trials: int
    scene: Scene | None = None
    views: Sequence[View] = ()
    trials: list[Trial] = field(default_factory=list)

    def __enter__(self) -> _Search:
        self._folder = tempfile.TemporaryDirectory(prefix="hemgs_target_")
        self._events = EventLog(None, f"searching λ for {self.record.method} {self.record.scene}", self.stream)
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._folder.cleanup()

    def attempt(self, lmbda: float) -> Trial:
        """Encode at one λ, and measure if there is a scene."""
        rate = rate_of(float(f"{lmbda:.{_LMBDA_DIGITS}g}"))
        path = self._path(rate)
        encoded = encode_one(self.method, self.model, rate, path, self.device)
        trial = Trial(rate, encoded, None if self.scene is None else self._measured(path, self.scene))
        self.trials.append(trial)
        figures = {} if trial.psnr is None else {"psnr": trial.psnr}
        number = len(self.trials)
        self._events.progress(number, max(self.expected_trials, number), bytes=trial.total_bytes, **figures)
        return trial

    def bisect(self, goes_up: Callable[[Trial], bool], tolerance: float, enough: Callable[[Trial], bool]) -> None:
        """Find by bisection the λ at which ``goes_up`` changes from true to false.

        Args:
            goes_up: function of a trial: whether the next λ must be larger.
            tolerance: relative uncertainty of λ at which the search stops.
            enough: function of a trial: whether the search stops there.
        """
        low, high = self.interval.low, self.interval.high
        trial = self.attempt(low)
        if not goes_up(trial):
            return
        while high - low > tolerance * low and not enough(trial):
            middle = math.sqrt(low * high)
            trial = self.attempt(middle)
            low, high = (middle, high) if goes_up(trial) else (low, middle)

    def write(self, chosen: Trial, out: Path) -> Found:
        """Copy the file of a trial to ``out``."""
        with atomic_path(out) as temporary:
            shutil.copyfile(self._path(chosen.rate), temporary)
        return Found(self.interval, chosen, tuple(self.trials))

    def _measured(self, path: Path, scene: Scene) -> float:
        with decode_alone(path, self.device, self.record.entry) as decoded:
            return psnr_of_views(decoded.renderable, scene, self.views)

    def _path(self, rate: Rate) -> Path:
        return Path(self._folder.name) / f"{rate.id}.gsc"


def _variable_rate_model(
    model_dir: Path, device: torch.device, option: str
) -> tuple[TrainRecord, Method, Bundle, LmbdaInterval]:
    record, method, model = load_model(model_dir, device)
    interval = interval_of(method.spec, model)
    if method.spec.kind != "all_rates" or interval is None:
        raise ConfigError(f"{record.method} has no λ to search", f"leave {option} out")
    return record, method, model, interval


def _num_steps(interval: LmbdaInterval, tolerance: float) -> int:
    """Return how often to halve the interval of λ, in logarithms, until it is as small as the tolerance."""
    return math.ceil(math.log2(math.log(interval.high / interval.low) / tolerance))


def _psnr(trial: Trial) -> float:
    return -math.inf if trial.psnr is None else trial.psnr
