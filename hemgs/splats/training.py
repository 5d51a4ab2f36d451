"""What one training step of 3DGS is, and its constants.

Numbers without another source are those of the released code of 3DGS (arXiv 2308.04079), as used for the rows of
later papers' tables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.gs3d.params import Gs3dParams
from hemgs.core.bundle import Bundle
from hemgs.core.types import Camera, Scene
from hemgs.render import ndc_gradient_norm, render_view
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.densify import GradientStatistics, grow, prune, reset_opacities
from hemgs.splats.init import cloud_from_points
from hemgs.training.losses import reconstruction_loss
from hemgs.training.rows import RowParameters
from hemgs.training.schedule import Milestones, log_linear

#: Values of one Gaussian besides its colour: mean 3, opacity 1, log-scales 3, quaternion 4.
NUM_FLOATS_WITHOUT_SH = 11
_FLOAT_BYTES = 4


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
