"""What one training step of 3DGS is, and its constants.

Numbers without another source are those of the released code of 3DGS (arXiv 2308.04079), as used for the rows of
later papers' tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hemgs.core.bundle import Bundle
from hemgs.core.errors import ConfigError
from hemgs.core.types import Camera, Scene
from hemgs.render import ndc_gradient_norm, render_view
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.densify import DensitySettings, GradientStatistics, grow, prune, reset_opacities
from hemgs.splats.init import cloud_from_points
from hemgs.training.losses import SSIM_WEIGHT, reconstruction_loss
from hemgs.training.rows import RowParameters
from hemgs.training.schedule import Milestones, log_linear

#: Values of one Gaussian besides its colour: mean 3, opacity 1, log-scales 3, quaternion 4.
NUM_FLOATS_WITHOUT_SH = 11
_FLOAT_BYTES = 4
_MAX_SH_DEGREE = 3
_POSITIVE = ("iterations", "sh_every", "densify_interval", "opacity_reset_every", "log_every", "checkpoint_every")


@dataclass(frozen=True)
class Gs3dParams:
    """Settings of 3DGS.

    Iteration numbers are those published for 30,000 iterations and scale with ``iterations``; ``densify_interval``
    does not, because the statistics behind it need that many views.

    Attributes:
        iterations: length of the training.
        sh_degree: final degree of the spherical harmonics, 0 to 3.
        sh_every: after each such interval one degree more is trained, from 0 on.
        densify_from, densify_until, densify_interval: when Gaussians are cloned, split and pruned.
        opacity_reset_every: interval of lowering all opacities, within the same window.
        prune_large_from: iteration after which Gaussians that are too large are pruned too.
        gradient_threshold, dense_fraction, min_opacity, large_fraction, max_gaussians: see
            :class:`hemgs.splats.densify.DensitySettings`.
        lr_means, lr_means_end: times the scene's extent, log-linear over the run.
        lr_sh, lr_sh_rest: of the constant and of the other coefficients.
        lr_opacities: 0.05, as when the papers' tables were made; later code has 0.025.
        lr_scalings, lr_rotations: of log-scales and quaternions.
        ssim_weight: share of 1 - SSIM in the loss, the rest is L1.
        log_every, checkpoint_every: steps between progress reports, and between checkpoints.
    """

    iterations: int = 30_000
    sh_degree: int = 3
    sh_every: int = 1_000
    densify_from: int = 500
    densify_until: int = 15_000
    densify_interval: int = 100
    opacity_reset_every: int = 3_000
    prune_large_from: int = 3_000
    gradient_threshold: float = 2e-4
    dense_fraction: float = 0.01
    min_opacity: float = 0.005
    large_fraction: float = 0.1
    max_gaussians: int = 0
    lr_means: float = 1.6e-4
    lr_means_end: float = 1.6e-6
    lr_sh: float = 2.5e-3
    lr_sh_rest: float = 2.5e-3 / 20.0
    lr_opacities: float = 0.05
    lr_scalings: float = 5e-3
    lr_rotations: float = 1e-3
    ssim_weight: float = SSIM_WEIGHT
    log_every: int = 10
    checkpoint_every: int = 2_000

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not math.isfinite(value) or value < 0 or (entry.name in _POSITIVE and value == 0):
                allowed = "above 0" if entry.name in _POSITIVE else "of at least 0"
                raise ConfigError(f"{entry.name}: {value!r} is not allowed", f"give a finite number {allowed}")
        if self.sh_degree > _MAX_SH_DEGREE:
            raise ConfigError(f"sh_degree: {self.sh_degree} is not allowed", f"give 0 to {_MAX_SH_DEGREE}")
        if self.ssim_weight > 1:
            raise ConfigError(f"ssim_weight: {self.ssim_weight} is not allowed", "give a number in [0, 1]")

    @property
    def density(self) -> DensitySettings:
        """The part that density control needs."""
        return DensitySettings(
            self.gradient_threshold, self.dense_fraction, self.min_opacity, self.large_fraction, self.max_gaussians
        )


class GaussianTrainee:
    """Gaussians being fitted: a :class:`hemgs.training.loop.Trainee`.

    Args:
        scene: gives initial points, extent and background.
        params: settings.
        device: where to train.

    Raises:
        SceneError: too few initial points.
    """

    def __init__(self, scene: Scene, params: Gs3dParams, device: torch.device) -> None:
        cloud = cloud_from_points(scene.points, scene.point_colors, params.sh_degree).to(device)
        self._params, self._extent = params, scene.extent
        self._milestones = Milestones(params.iterations)
        self._white = all(channel == 1.0 for channel in scene.background)
        self.rows = RowParameters(
            {
                "means": cloud.means,
                "sh": cloud.sh[:, :1],
                "sh_rest": cloud.sh[:, 1:],
                "opacity_logits": cloud.opacity_logits,
                "log_scales": cloud.log_scales,
                "quats": cloud.quats,
            },
            {
                "means": params.lr_means * self._extent,
                "sh": params.lr_sh,
                "sh_rest": params.lr_sh_rest,
                "opacity_logits": params.lr_opacities,
                "log_scales": params.lr_scalings,
                "quats": params.lr_rotations,
            },
        )
        self._statistics = GradientStatistics(self.rows.num_rows, device)

    def step(self, iteration: int, camera: Camera, image: Tensor, background: Tensor) -> dict[str, float]:
        """See :class:`hemgs.training.loop.Trainee`; also gives ``num_gaussians``."""
        params, rows = self._params, self.rows
        lr = log_linear(params.lr_means, params.lr_means_end, iteration, params.iterations)
        rows.set_lr("means", lr * self._extent)
        degree = min(params.sh_degree, iteration // self._milestones.at(params.sh_every))
        view = render_view(
            rows["means"],
            rows["quats"],
            rows["log_scales"].exp(),
            rows["opacity_logits"].sigmoid(),
            torch.cat([rows["sh"], rows["sh_rest"]], dim=1),
            camera,
            background,
            sh_degree=degree,
        )
        loss = reconstruction_loss(view.image, image, params.ssim_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        if iteration < self._milestones.at(params.densify_until) and view.means2d.grad is not None:
            norms = ndc_gradient_norm(view.means2d.grad, camera.width, camera.height)
            self._statistics.add(norms, view.visible)
        rows.step()
        self._control_density(iteration)
        return {"loss": float(loss.detach()), "num_gaussians": rows.num_rows}

    def _control_density(self, iteration: int) -> None:
        params, milestones = self._params, self._milestones
        if iteration >= milestones.at(params.densify_until):
            return
        start = milestones.at(params.densify_from)
        if iteration > start and iteration % params.densify_interval == 0:
            grow(self.rows, self._statistics.mean(), params.density, self._extent)
            large = iteration > milestones.at(params.prune_large_from)
            prune(self.rows, self.rows["opacity_logits"].detach().sigmoid(), params.density, self._extent, large)
            self._statistics = GradientStatistics(self.rows.num_rows, self.rows.device)
        # On white, floaters of the background's colour cost nothing: the released code resets them once more, early.
        if milestones.is_due(iteration, params.opacity_reset_every) or (self._white and iteration == start):
            reset_opacities(self.rows)

    def cloud(self) -> GaussianCloud:
        """The Gaussians as they are now."""
        rows = self.rows
        return GaussianCloud(
            means=rows["means"].detach(),
            log_scales=rows["log_scales"].detach(),
            quats=rows["quats"].detach(),
            opacity_logits=rows["opacity_logits"].detach(),
            sh=torch.cat([rows["sh"], rows["sh_rest"]], dim=1).detach(),
        )

    def state(self) -> Bundle:
        """See :class:`hemgs.training.loop.Trainee`."""
        statistics = {"statistics.total": self._statistics.total, "statistics.visits": self._statistics.visits}
        return Bundle({**self.rows.state(), **statistics})

    def restore(self, bundle: Bundle) -> None:
        """See :class:`hemgs.training.loop.Trainee`."""
        self.rows.restore(bundle.tensors)
        device = self.rows.device
        self._statistics.total = bundle.tensors["statistics.total"].to(device)
        self._statistics.visits = bundle.tensors["statistics.visits"].to(device)

    def estimated_bytes(self) -> int:
        """The raw values' size; nothing is entropy-coded."""
        return self.rows.num_rows * bytes_per_gaussian(self._params.sh_degree)


def bytes_per_gaussian(sh_degree: int) -> int:
    """Bytes of one Gaussian's float32 values: 236 at degree 3."""
    return _FLOAT_BYTES * (NUM_FLOATS_WITHOUT_SH + 3 * (sh_degree + 1) ** 2)
