"""Training of anchor models (Scaffold-GS, arXiv 2312.00109), with or without a codec that takes part.

Owns the training step, its optimisers and schedules, and when anchors grow. Does not own the rendered attributes and
their price (:class:`AttributeModel`), where anchors grow (``hemgs.anchors.growing``) or the loop
(``hemgs.training.loop``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hemgs.anchors.attribute_model import AttributeModel
from hemgs.anchors.growing import GrowthStatistics, grow, prune
from hemgs.anchors.heads import AnchorHeads, SpawnedGaussians, spawn_gaussians
from hemgs.anchors.model import LATENTS, AnchorModel, lattice_positions
from hemgs.anchors.params import AnchorParams
from hemgs.anchors.rendering import camera_center, visible_anchors
from hemgs.anchors.voxel import initial_log_scales, median_spacing, voxelize
from hemgs.core.bundle import Bundle, joined_tensors, tensors_under
from hemgs.core.errors import TrainingError
from hemgs.core.types import Camera, Scene
from hemgs.protocol import TrainingTask
from hemgs.render import ndc_gradient_norm, render_view
from hemgs.training.loop import LoopSettings, fit, seed_everything
from hemgs.training.losses import reconstruction_loss
from hemgs.training.networks import NetworkOptimizer, ParameterGroup
from hemgs.training.rows import RowParameters
from hemgs.training.schedule import Milestones, log_linear

#: Pruning limits the stored logarithms of the Gaussians' scalings to this value (Scaffold-GS, released code).
MAX_LOG_SCALE = 0.05
_COORDS = "coords"
_PARTS = ("rows/", "networks/", "statistics/", "attributes/")
#: Separates the random draws of growing from all others that the seed sets.
_GROWTH_SEED = 0x9E3779B9


class AnchorTrainee:
    """One anchor model in training; see :class:`hemgs.training.loop.Trainee`.

    Args:
        anchors: the initial anchors, on the device that trains.
        params: settings.
        attribute_model: supplier of the attributes that are rendered.
        extent: radius of the camera rig, world units; learning rates of offsets and masks scale with it.
        seed: seed of the draws of growing.
    """

    def __init__(
        self, anchors: AnchorModel, params: AnchorParams, attribute_model: AttributeModel, extent: float, seed: int = 0
    ) -> None:
        self.anchors, self.params, self.attribute_model = anchors, params, attribute_model
        self._seed = seed
        self._milestones = Milestones(params.iterations)
        self._row_rates = {
            "features": (params.lr_features, params.lr_features),
            "log_scalings": (params.lr_scalings, params.lr_scalings),
            "offsets": (params.lr_offsets * extent, params.lr_offsets_end * extent),
            "mask_logits": (params.lr_masks * extent, params.lr_masks_end * extent),
        }
        if (latents := attribute_model.latents) is not None:
            self._row_rates[LATENTS] = (latents.lr_start, latents.lr_end)
        self._rows = RowParameters(
            {name: getattr(anchors, name) for name in anchors.row_names},
            {name: start for name, (start, _) in self._row_rates.items()},
        )
        self._share_rows(anchors.coords)
        attribute_model.start(anchors, extent)
        groups = head_groups(anchors.heads, params) + attribute_model.parameter_groups()
        self._networks = NetworkOptimizer(groups, params.iterations)
        self._statistics = self._fresh_statistics()

    def step(
        self, iteration: int, camera: Camera, image: Tensor, background: Tensor, mask: Tensor | None = None
    ) -> dict[str, float]:
        """Do one iteration; see :meth:`hemgs.training.loop.Trainee.step`."""
        self._set_learning_rates(iteration)
        with torch.no_grad():
            visible = visible_anchors(self._positions, torch.exp(self.anchors.log_scalings[:, :3]), camera)
        attributes, attribute_loss, figures = self.attribute_model.sample(iteration, self.anchors, visible)
        spawned = spawn_gaussians(
            self.anchors.heads, self._positions[visible], attributes, camera_center(camera, image.device)
        )
        rendered = render_view(
            spawned.means, spawned.quats, spawned.scales, spawned.opacities, spawned.colors, camera, background
        )
        loss = reconstruction_loss(rendered.image, image, self.params.ssim_weight, mask) + attribute_loss
        if spawned.num_gaussians:
            along_x, along_y, along_z = spawned.scales.unbind(1)  # prod() looks for zeros, and waits for the GPU
            loss = loss + self.params.volume_weight * (along_x * along_y * along_z).mean()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        self._record(iteration, visible, spawned, rendered.means2d, rendered.visible, camera)
        self._rows.step()
        self._networks.step()
        self._grow_and_prune(iteration)
        return {
            "loss": float(loss.detach()),
            "num_anchors": float(self.anchors.num_anchors),
            "num_gaussians": float(spawned.num_gaussians),
            **figures,
        }

    def state(self) -> Bundle:
        """See :meth:`hemgs.training.loop.Trainee.state`."""
        parts = (self._rows.state(), self._networks.state(), self._statistics.state(), self.attribute_model.state())
        return Bundle({_COORDS: self.anchors.coords, **joined_tensors(_PARTS, parts)})

    def restore(self, bundle: Bundle) -> None:
        """See :meth:`hemgs.training.loop.Trainee.restore`.

        Raises:
            TrainingError: the bundle belongs to another trainee.
        """
        rows, networks, statistics, attributes = (tensors_under(bundle.tensors, part) for part in _PARTS)
        device = self.anchors.coords.device
        try:
            coords = bundle.tensors[_COORDS].to(device)
            self._statistics = GrowthStatistics.restored(statistics, device)
        except KeyError as fault:
            raise TrainingError(f"the checkpoint lacks {fault}", "delete it and train again") from fault
        self._rows.restore(rows)
        self._share_rows(coords)
        self._networks.restore(networks)
        self.attribute_model.anchors_changed(self.anchors)
        self.attribute_model.restore(attributes)

    def estimated_bytes(self) -> int | None:
        """See :meth:`hemgs.training.loop.Trainee.estimated_bytes`."""
        return self.attribute_model.estimated_bytes(self.anchors)

    def _share_rows(self, coords: Tensor) -> None:
        """Give the optimiser's tensors to the anchor model; they change when rows do."""
        self.anchors.set_rows(coords, {name: self._rows[name] for name in self._rows.names})
        self._positions = lattice_positions(coords, self.anchors.voxel_size)

    def _set_learning_rates(self, iteration: int) -> None:
        for name, (start, end) in self._row_rates.items():
            self._rows.set_lr(name, log_linear(start, end, iteration, self.params.iterations))
        self._networks.set_iteration(iteration)

    def _fresh_statistics(self) -> GrowthStatistics:
        return GrowthStatistics.zeros(self.anchors.num_anchors, self.anchors.num_offsets, self.anchors.coords.device)

    def _record(
        self,
        iteration: int,
        visible: Tensor,
        spawned: SpawnedGaussians,
        means2d: Tensor,
        on_screen: Tensor,
        camera: Camera,
    ) -> None:
        start, end = self._milestones.at(self.params.statistics_from), self._milestones.at(self.params.grow_until)
        if not start < iteration < end or means2d.grad is None:
            return
        norms = ndc_gradient_norm(means2d.grad, camera.width, camera.height)
        self._statistics.record(visible, spawned, on_screen, norms)

    def _grow_and_prune(self, iteration: int) -> None:
        params, at = self.params, self._milestones.at
        due = at(params.grow_from) < iteration < at(params.grow_until) and iteration % params.grow_interval == 0
        if not due or not self.attribute_model.allows_growth(iteration):
            return
        # Seeded by the iteration, so that a resumed run draws the same numbers and no other draw depends on these.
        generator = torch.Generator().manual_seed((self._seed ^ _GROWTH_SEED) * 1_000_003 + iteration)
        new = grow(self.anchors, self._statistics, params.growth, generator)
        coords = self.anchors.coords
        if new.num_anchors:
            self._rows.append(new.rows)
            self._statistics.append(new.num_anchors)
            coords = torch.cat([coords, new.coords])
        keep = prune(self._statistics, params.growth)
        if not bool(keep.all()):
            self._rows.keep(keep)
            self._statistics.keep(keep)
            coords = coords[keep]
        with torch.no_grad():
            self._rows["log_scalings"][:, 3:].clamp_(max=MAX_LOG_SCALE)
        self._share_rows(coords)
        self.attribute_model.anchors_changed(self.anchors)


def head_groups(heads: AnchorHeads, params: AnchorParams) -> list[ParameterGroup]:
    """Return the heads' parameters with their published learning rates."""
    return [
        ParameterGroup(
            "head_opacity", list(heads.opacity.parameters()), params.lr_head_opacity, params.lr_head_opacity_end
        ),
        ParameterGroup(
            "head_covariance",
            list(heads.covariance.parameters()),
            params.lr_head_covariance,
            params.lr_head_covariance_end,
        ),
        ParameterGroup("head_color", list(heads.color.parameters()), params.lr_head_color, params.lr_head_color_end),
    ]


def initial_anchors(scene: Scene, params: AnchorParams, device: torch.device, latent_dim: int = 0) -> AnchorModel:
    """Make anchors at the scene's points with ``latent_dim`` latents, and heads from torch's global random state.

    Raises:
        TrainingError: there are too few points for the voxel size.
    """
    voxel_size = params.voxel_size or median_spacing(scene.points)
    coords = voxelize(scene.points, voxel_size)
    heads = AnchorHeads(params.feature_dim, params.num_offsets, params.head_hidden_dim or None)
    log_scales = initial_log_scales(lattice_positions(coords, voxel_size))
    return AnchorModel.initial(coords.to(device), voxel_size, log_scales.to(device), heads.to(device), latent_dim)


def train_anchors(
    task: TrainingTask, params: AnchorParams, attribute_model: AttributeModel, identity: Mapping[str, Any]
) -> AnchorModel:
    """Fit anchors and the attribute model's networks to a scene, or resume from ``task.workdir``.

    Args:
        task: what to train, and where.
        params: the task's settings.
        attribute_model: the attribute model, which is trained in place.
        identity: JSON-able settings other than ``params`` that a checkpoint must share, such as the method's id and the
            rate.

    Raises:
        TrainingError, SceneError, TrainingInterrupted: see :func:`hemgs.training.loop.fit`.
    """
    scene, seed, device = task.scene, task.seed, task.device
    seed_everything(seed)
    latents = attribute_model.latents
    anchors = initial_anchors(scene, params, device, 0 if latents is None else latents.dim)
    trainee = AnchorTrainee(anchors, params, attribute_model, scene.extent, seed)
    fit(trainee, scene, LoopSettings.of(params, seed, identity), task.workdir, task.events, device)
    return trainee.anchors
