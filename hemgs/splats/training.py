"""Training of plain Gaussians (3DGS, arXiv 2308.04079), for every method that has them.

Owns the training step: rendering, loss and optimisers. Does not own the meaning of the rows and what a method adds
(``model``), the rules of density control (``densify``) and its iterations (``schedule``), or the loop
(``hemgs.training.loop``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hemgs.core.bundle import Bundle, joined_tensors, tensors_under
from hemgs.core.types import Camera, Scene
from hemgs.protocol import TrainingTask
from hemgs.render import ndc_gradient_norm
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.densify import GradientStatistics, grow, prune
from hemgs.splats.init import cloud_from_points
from hemgs.splats.model import SplatModel
from hemgs.splats.rendering import render_gaussians
from hemgs.splats.schedule import DensitySchedule
from hemgs.training.checkpoint import digest_of
from hemgs.training.loop import LoopSettings, fit, seed_everything
from hemgs.training.losses import reconstruction_loss
from hemgs.training.networks import NetworkOptimizer
from hemgs.training.rows import RowParameters
from hemgs.training.schedule import Milestones

_PARTS = ("rows/", "networks/", "model/")


class SplatTrainee:
    """Gaussians in training: a :class:`hemgs.training.loop.Trainee`.

    Args:
        scene: source of initial points, extent and background.
        model: meaning of the rows.
        device: device of the training.
        start: Gaussians to start from, whose bands of spherical harmonics are all trained from the first step on;
            ``None`` for the initial points.

    Raises:
        SceneError: there are too few initial points.
    """

    def __init__(
        self, scene: Scene, model: SplatModel, device: torch.device, start: GaussianCloud | None = None
    ) -> None:
        self.model, self._params = model, model.params
        self._extent, self._milestones = scene.extent, Milestones(model.params.iterations)
        white = all(channel == 1.0 for channel in scene.background)
        self._schedule = DensitySchedule(model.params, white)
        self._first_degree = 0 if start is None else start.sh_degree
        cloud = cloud_from_points(scene.points, scene.point_colors, 0) if start is None else start
        values = model.start(cloud.to(device), scene)
        rates = model.learning_rates(1)
        self.rows = RowParameters(values, {name: lr for name, lr in rates.items() if name in values})
        self._networks = NetworkOptimizer(model.parameter_groups(), model.params.iterations)
        self._statistics = GradientStatistics(self.rows)

    def step(
        self, iteration: int, camera: Camera, image: Tensor, background: Tensor, mask: Tensor | None = None
    ) -> dict[str, float]:
        """See :class:`hemgs.training.loop.Trainee`; the result also contains ``num_gaussians``."""
        params, rows, model = self._params, self.rows, self.model
        rates = model.learning_rates(iteration)
        for name in rows.names:
            rows.set_lr(name, rates[name])
        self._networks.set_iteration(iteration, rates)
        camera, image, mask = model.view(iteration, camera, image, mask)
        degree = self._first_degree + iteration // self._milestones.at(params.sh_every)
        gaussians = model.gaussians(rows, iteration, camera, min(params.sh_degree, degree))
        view = render_gaussians(gaussians, camera, background)
        loss = reconstruction_loss(view.image, image, params.ssim_weight, mask)
        extra = model.extra_loss(rows, iteration, gaussians, camera)
        if extra is not None:
            loss = loss + extra
        loss.backward()  # type: ignore[no-untyped-call]
        if self._schedule.gathers(iteration) and view.means2d.grad is not None:
            self._statistics.add(ndc_gradient_norm(view.means2d.grad, camera.width, camera.height), view.visible)
        rows.step()
        self._networks.step()
        with torch.no_grad():
            self._control_density(iteration)
            model.after_step(rows, iteration)
        return {"loss": float(loss.detach()), "num_gaussians": rows.num_rows}

    def _control_density(self, iteration: int) -> None:
        schedule, params, rows, model = self._schedule, self._params, self.rows, self.model
        if schedule.grows(iteration):
            gradients = self._statistics.mean()
            grow(rows, model.cloud(rows), gradients, params, self._extent, model.stored_means)
            large = schedule.prunes_large(iteration)
            prune(rows, model.cloud(rows), params, self._extent, large, model.pruned(rows, iteration))
            self._statistics.reset()
        if schedule.resets(iteration):
            model.reset_opacities(rows)

    def bundle(self) -> Bundle:
        """Return the model as it is now; see :meth:`SplatModel.bundle`."""
        with torch.no_grad():
            return self.model.bundle(self.rows)

    def state(self) -> Bundle:
        """See :class:`hemgs.training.loop.Trainee`."""
        parts = (self.rows.state(), self._networks.state(), self.model.state())
        return Bundle(joined_tensors(_PARTS, parts))

    def restore(self, bundle: Bundle) -> None:
        """See :class:`hemgs.training.loop.Trainee`."""
        rows, networks, model = (tensors_under(bundle.tensors, part) for part in _PARTS)
        self.rows.restore(rows)
        self._networks.restore(networks)
        self.model.restore(model)

    def estimated_bytes(self) -> int | None:
        """See :class:`hemgs.training.loop.Trainee`."""
        return self.model.estimated_bytes(self.rows)


def train_splats(task: TrainingTask, model: SplatModel, identity: Mapping[str, Any]) -> Bundle:
    """Fit Gaussians to a scene, from ``task.base`` or the initial points; continue from a checkpoint if there is one.

    A method that trains in several stages calls this once for each stage, with a ``task.workdir`` for each. A finished
    stage is then taken from its last checkpoint.

    Args:
        task: what to train, and where; ``model`` already contains its settings. The caller seeds the first values of
            networks; all other randomness follows from ``task.seed``.
        model: meaning of the rows; its parameters are trained in place.
        identity: JSON-able settings in addition to ``model.params`` and ``task.base``, such as the method's id and
            rate. A checkpoint of others is not continued.

    Returns:
        The result of :meth:`SplatModel.bundle` after the last step.

    Raises:
        TrainingError, SceneError, TrainingInterrupted: see :func:`hemgs.training.loop.fit`.
    """
    seed_everything(task.seed)
    trainee = SplatTrainee(task.scene, model, task.device, task.base)
    start_digest = None if task.base is None else digest_of(task.base.to_bundle().tensors, {})
    settings = LoopSettings.of(model.params, task.seed, {"start": start_digest, **identity})
    fit(trainee, task.scene, settings, task.workdir, task.events, task.device)
    return trainee.bundle()
