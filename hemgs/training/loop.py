"""The training loop of all methods: order of views, progress, checkpoints, interruption.

Owns the order of views, the cache of images, the random state, and the reaction to signals and to values that are not
finite. Does not own a forward pass, a loss or an optimiser: those belong to the :class:`Trainee`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from hemgs.core.bundle import Bundle
from hemgs.core.errors import SceneError, TrainingError
from hemgs.core.events import EventLog
from hemgs.core.types import Camera, Scene, View
from hemgs.training.checkpoint import Checkpoint, identity_of, latest_checkpoint, save_checkpoint
from hemgs.training.interrupt import StopRequest
from hemgs.training.params import TrainingParams

_MIB = 1 << 20
#: On CUDA, images take at most this share of the memory that is free when training starts.
_CUDA_CACHE_PART = 0.25
_TRAINEE = "trainee/"
_LOOP = "loop/"


class Trainee(Protocol):
    """The part of :func:`fit` that a method implements."""

    def step(
        self, iteration: int, camera: Camera, image: Tensor, background: Tensor, mask: Tensor | None = None
    ) -> dict[str, float]:
        """Do one iteration: forward, backward, optimiser, densification.

        Args:
            iteration: number of the iteration, from 1.
            camera: camera of the view.
            image: ``[H, W, 3] float32`` target in [0, 1]; must not be changed.
            background: ``[3] float32``.
            mask: ``[H, W] bool``, true for the pixels to train on; ``None`` for all.

        Returns:
            ``loss`` and other figures for the progress report, such as ``num_gaussians``.
        """
        ...

    def state(self) -> Bundle:
        """Return all that :meth:`restore` needs to continue bit for bit; the loop saves the global random state."""
        ...

    def restore(self, bundle: Bundle) -> None:
        """Restore a bundle of :meth:`state`, whose tensors are on the CPU."""
        ...

    def estimated_bytes(self) -> int | None:
        """Estimate the size of a bitstream written now; ``None`` if no cheap estimate exists."""
        ...


@dataclass(frozen=True)
class LoopSettings:
    """Length of a training, and how it runs.

    Attributes:
        iterations: steps, one view each; at least 1.
        seed: seed of the order of views and of torch's global random state. Initial values are drawn before
            :func:`fit` is called, so the builder of the trainee must seed them (:func:`seed_everything`).
        checkpoint_every: steps between checkpoints; one more is written at the end and when interrupted.
        log_every: steps between progress reports.
        identity: JSON-able settings of the method (its id and parameters, the rate). A training never continues from
            a checkpoint of other settings, scene, seed or length.
        cache_mib: memory for decoded training images, MiB; other views are read again each time.
    """

    iterations: int
    seed: int = 0
    checkpoint_every: int = 1000
    log_every: int = 10
    identity: Mapping[str, Any] = field(default_factory=dict)
    cache_mib: int = 4096

    @classmethod
    def of(cls, params: TrainingParams, seed: int, identity: Mapping[str, Any]) -> Self:
        """Take them from a method's settings, of which all belong to the identity but those of reports."""
        identity = {**asdict(params), "checkpoint_every": None, "log_every": None, **identity}
        return cls(params.iterations, seed, params.checkpoint_every, params.log_every, identity)


def fit(
    trainee: Trainee,
    scene: Scene,
    settings: LoopSettings,
    workdir: Path,
    events: EventLog,
    device: torch.device,
) -> None:
    """Train, or resume from ``workdir``. On the CPU, a resumed run equals an uninterrupted one bit for bit.

    Views come from a stack of all training views in random order that is refilled when empty (3DGS, arXiv 2308.04079,
    released code). On SIGINT or SIGTERM, the function finishes the step, writes a checkpoint and raises
    :class:`hemgs.training.interrupt.TrainingInterrupted`. A second signal stops immediately.

    The event ``trained`` at the end contains ``resumed_from``, the iteration of the checkpoint that the training
    continued from, or 0. It also contains ``train_s``, the seconds of training, those before an interruption included.

    Raises:
        TrainingError: the loss or the model is no longer finite; names iteration and view.
        SceneError: there are no training views.
        TrainingInterrupted: a signal arrived.
    """
    views = scene.split("train")
    if not views:
        raise SceneError(f"{scene.root}: no training views", "prepare the scene with another split")
    seed_everything(settings.seed)
    run = _Run(trainee, ViewStack(len(views), settings.seed), settings, scene.hash, workdir, events, device)
    done = run.resume()
    images = ImageCache(scene, device, settings.cache_mib)
    background = torch.tensor(scene.background, dtype=torch.float32, device=device)
    recent: list[float] = []
    with StopRequest() as stop:
        for iteration in range(done + 1, settings.iterations + 1):
            view = views[run.stack.draw()]
            figures = trainee.step(iteration, view.camera, images.get(view), background, images.mask(view))
            if not math.isfinite(figures["loss"]):
                raise _not_finite(f"the loss is {figures['loss']}", iteration, view)
            recent.append(figures["loss"])
            if iteration % settings.log_every == 0 or iteration == settings.iterations:
                run.report(iteration, {**figures, "loss": sum(recent) / len(recent)})
                recent.clear()
            if stop.requested or iteration % settings.checkpoint_every == 0 or iteration == settings.iterations:
                run.save(iteration, view)
            if stop.requested:
                events.write("interrupted", iteration=iteration)
                stop.raise_interrupted()
    events.write(
        "trained",
        stage=workdir.name,
        iterations=settings.iterations,
        resumed_from=done,
        train_s=round(run.seconds(), 3),
    )


def seed_everything(seed: int) -> None:
    """Seed torch's global generators of all devices."""
    torch.manual_seed(seed)


class ViewStack:
    """Indices of views in random order, without replacement until all were drawn.

    It has its own generator, so the order depends only on the seed, not on the random numbers that a method draws.
    """

    def __init__(self, num_views: int, seed: int) -> None:
        self._num_views = num_views
        self._generator = torch.Generator().manual_seed(seed)
        self._stack: list[int] = []

    def draw(self) -> int:
        """Draw the next view's index."""
        if not self._stack:
            self._stack = torch.randperm(self._num_views, generator=self._generator).tolist()
        return self._stack.pop()

    def state(self) -> dict[str, Tensor]:
        return {"stack": torch.tensor(self._stack, dtype=torch.int64), "generator": self._generator.get_state()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._stack = tensors["stack"].tolist()
        self._generator.set_state(tensors["generator"])


class ImageCache:
    """Training images and masks as 8-bit tensors: on the device while they fit, then in main memory, then not at all.

    Args:
        scene: source of the images.
        device: device of the tensors of :meth:`get`.
        limit_mib: limit of each of the two memories, MiB.
    """

    def __init__(self, scene: Scene, device: torch.device, limit_mib: int) -> None:
        self._scene, self._device = scene, device
        self._images: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}
        self._room_bytes = {torch.device("cpu"): limit_mib * _MIB}
        if device.type == "cuda":
            free_bytes, _ = torch.cuda.mem_get_info(device)
            self._room_bytes = {device: min(limit_mib * _MIB, int(free_bytes * _CUDA_CACHE_PART)), **self._room_bytes}

    def get(self, view: View) -> Tensor:
        """Return the view's image, ``[H, W, 3] float32`` in [0, 1] on the device; a new tensor each time."""
        image = self._images.get(view.name)
        if image is None:
            pixels = np.rint(self._scene.read_image(view) * 255.0).astype(np.uint8)
            image = self._kept(self._images, view.name, torch.from_numpy(pixels))
        return image.to(self._device, non_blocking=True).float().div_(255.0)

    def mask(self, view: View) -> Tensor | None:
        """Return the view's mask, ``[H, W] bool`` on the device; ``None`` if it has none."""
        mask = self._masks.get(view.name)
        if mask is None:
            pixels = self._scene.read_mask(view)
            if pixels is None:
                return None
            mask = self._kept(self._masks, view.name, torch.from_numpy(np.array(pixels)))
        return mask.to(self._device, non_blocking=True)

    def _kept(self, kept: dict[str, Tensor], name: str, pixels: Tensor) -> Tensor:
        """Keep a tensor where there is room; return it from there."""
        for place, room_bytes in self._room_bytes.items():
            if pixels.nbytes <= room_bytes:
                self._room_bytes[place] -= pixels.nbytes
                kept[name] = pixels.to(place)
                return kept[name]
        return pixels


class _Run:
    """A training in progress; it saves, resumes and reports its state."""

    def __init__(
        self,
        trainee: Trainee,
        stack: ViewStack,
        settings: LoopSettings,
        scene_hash: str,
        workdir: Path,
        events: EventLog,
        device: torch.device,
    ) -> None:
        self.trainee, self.stack, self._settings = trainee, stack, settings
        self._workdir, self._events, self._device = workdir, events, device
        self._identity = identity_of(
            {
                "scene": scene_hash,
                "seed": settings.seed,
                "iterations": settings.iterations,
                "settings": dict(settings.identity),
            }
        )
        self._before_s = 0.0
        self._started_s = time.monotonic()

    def seconds(self) -> float:
        """Return the training time so far in seconds, including earlier processes."""
        return self._before_s + time.monotonic() - self._started_s

    def resume(self) -> int:
        """Restore the newest fitting checkpoint; return the number of steps that it has done."""
        checkpoint = latest_checkpoint(self._workdir, self._identity, self._events)
        if checkpoint is None:
            return 0
        self._restore(checkpoint)
        self._events.write("resumed", iteration=checkpoint.iteration)
        return checkpoint.iteration

    def save(self, iteration: int, view: View) -> None:
        """Write a checkpoint; raise TrainingError if the model is not finite, since no run can continue from it."""
        state = self.trainee.state()
        for name, tensor in state.tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise _not_finite(f"{name} has values that are not finite", iteration, view)
        tensors = {_TRAINEE + name: tensor for name, tensor in state.tensors.items()}
        own = {**self.stack.state(), "torch_random": torch.get_rng_state()}
        if self._device.type == "cuda":
            own["cuda_random"] = torch.cuda.get_rng_state(self._device)
        tensors |= {_LOOP + name: tensor for name, tensor in own.items()}
        meta = {"trainee": state.meta, "train_s": self.seconds()}
        save_checkpoint(self._workdir, iteration, Bundle(tensors, meta), self._identity)
        self._events.write("checkpoint", iteration=iteration)

    def report(self, iteration: int, figures: Mapping[str, float]) -> None:
        size_bytes = self.trainee.estimated_bytes()
        size = {} if size_bytes is None else {"size_mib": size_bytes / _MIB}
        self._events.progress(iteration, self._settings.iterations, **figures, **size)

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors, meta = checkpoint.bundle.tensors, checkpoint.bundle.meta
        self.trainee.restore(Bundle(_under(tensors, _TRAINEE), meta["trainee"]))
        own = _under(tensors, _LOOP)
        self.stack.restore(own)
        torch.set_rng_state(own["torch_random"])
        if self._device.type == "cuda" and "cuda_random" in own:
            torch.cuda.set_rng_state(own["cuda_random"], self._device)
        self._before_s = float(meta["train_s"])


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _not_finite(what: str, iteration: int, view: View) -> TrainingError:
    return TrainingError(
        f"iteration {iteration}, view {view.name!r}: {what}",
        "check that view's image and camera; if they are correct, lower the learning rates",
    )
