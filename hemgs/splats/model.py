"""The model of a training: how the trained rows become Gaussians, and which other parameters are trained.

Owns the interface between the shared training (:mod:`hemgs.splats.training`) and one method, and its default, which is
3DGS. Does not own the training step, density control or any codec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from hemgs.core.bundle import Bundle
from hemgs.core.types import Camera, Scene
from hemgs.splats.cloud import GaussianCloud, Gaussians
from hemgs.splats.densify import lowered
from hemgs.splats.params import SplatParams
from hemgs.training.networks import ParameterGroup
from hemgs.training.rows import RowParameters
from hemgs.training.schedule import log_linear


class SplatModel:
    """Gaussians as 3DGS trains them (arXiv 2308.04079). Methods override what they change.

    The training calls :meth:`start` once, before everything else. Each step calls :meth:`learning_rates`, :meth:`view`,
    :meth:`gaussians` and :meth:`extra_loss`, steps the optimisers, controls the density (:meth:`cloud`,
    :meth:`pruned`, :meth:`reset_opacities`), and calls :meth:`after_step`.

    A method may have values per Gaussian that no optimiser changes. It puts them into ``rows.buffers``, where they
    follow the rows and are saved with them.

    Args:
        params: settings of the training.

    Attributes:
        extent: extent of the scene, world units (:attr:`hemgs.core.types.Scene.extent`), from :meth:`start` on.
    """

    def __init__(self, params: SplatParams) -> None:
        self.params = params
        self.extent = 0.0

    def start(self, cloud: GaussianCloud, scene: Scene) -> dict[str, Tensor]:
        """Build everything that depends on the first Gaussians and on the scene.

        Args:
            cloud: the first Gaussians, on the device that trains.
            scene: the scene, whose training views may be read.

        Returns:
            First values of the rows by name, ``[N, ...] float32``. If Gaussians grow, ``means`` and ``log_scales`` must
            be among them.
        """
        self.extent = scene.extent
        sh = cloud.at_degree(self.params.sh_degree).sh
        return {
            "means": cloud.means,
            "sh": sh[:, :1],
            "sh_rest": sh[:, 1:],
            "opacity_logits": cloud.opacity_logits,
            "log_scales": cloud.log_scales,
            "quats": cloud.quats,
        }

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return parameters that have no rows, such as networks and codebooks; their shapes never change."""
        return []

    def learning_rates(self, iteration: int) -> dict[str, float]:
        """Return the learning rates of a step (from 1), by name: of all rows, and of groups without own schedule."""
        params = self.params
        lr_means = log_linear(params.lr_means, params.lr_means_end, iteration, params.iterations)
        return {
            "means": lr_means * self.extent,
            "sh": params.lr_sh,
            "sh_rest": params.lr_sh_rest,
            "opacity_logits": params.lr_opacities,
            "log_scales": params.lr_scalings,
            "quats": params.lr_rotations,
        }

    def view(
        self, iteration: int, camera: Camera, image: Tensor, mask: Tensor | None
    ) -> tuple[Camera, Tensor, Tensor | None]:
        """Return the camera that a step renders, the picture that it compares with, and the mask of that picture.

        Methods may return a smaller picture (:func:`smaller_view`), another camera, or a teacher's picture.

        Args:
            iteration: the step, from 1.
            camera: camera of the view that was drawn at random.
            image: pixels of that view, ``[H, W, 3] float32`` in [0, 1]; must not be changed.
            mask: ``[H, W] bool``, true for the pixels to train on; ``None`` for all.
        """
        return camera, image, mask

    def cloud(self, rows: RowParameters) -> GaussianCloud:
        """Return the Gaussians that the rows represent, differentiable in the rows.

        They are rendered (:meth:`gaussians`), decide what grows and is pruned, and are the result of the training.
        """
        return GaussianCloud(
            means=rows["means"],
            log_scales=rows["log_scales"],
            quats=rows["quats"],
            opacity_logits=rows["opacity_logits"],
            sh=torch.cat([rows["sh"], rows["sh_rest"]], dim=1),
        )

    def gaussians(self, rows: RowParameters, iteration: int, camera: Camera, sh_degree: int) -> Gaussians:
        """Return the Gaussians that a step renders, differentiable in rows and :meth:`parameter_groups`.

        Methods whose Gaussians depend on the camera or on the iteration override this.

        Args:
            rows: the current rows.
            iteration: the step, from 1.
            camera: camera of the picture.
            sh_degree: highest degree of spherical harmonics that is trained at this step.
        """
        return self.cloud(rows).activated(sh_degree)

    def extra_loss(self, rows: RowParameters, iteration: int, gaussians: Gaussians, camera: Camera) -> Tensor | None:
        """Return a scalar that is added to the reconstruction loss; the arguments are those of the rendering."""
        return None

    def stored_means(self, means: Tensor) -> Tensor:
        """Return values of the rows ``means`` for world coordinates ``[M, 3]`` of new Gaussians."""
        return means

    def pruned(self, rows: RowParameters, iteration: int) -> Tensor | None:
        """Return the rows that density control removes in addition to those of 3DGS, ``[N] bool``."""
        return None

    def reset_opacities(self, rows: RowParameters) -> None:
        """Lower all opacities; the training calls this at the interval of the settings."""
        rows.replace("opacity_logits", lowered(rows["opacity_logits"]))

    def after_step(self, rows: RowParameters, iteration: int) -> None:
        """Change the rows after density control, for example by sorting (``rows.keep``), pruning or clustering."""

    def state(self) -> dict[str, Tensor]:
        """Return tensors that a resumed training needs in addition to rows, buffers and :meth:`parameter_groups`."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the result of :meth:`state`, given on the CPU; the training calls :meth:`start` first."""

    def estimated_bytes(self, rows: RowParameters) -> int | None:
        """Return the bitstream's size if training stopped now, or ``None`` if unknown; here that of raw values."""
        return sum(rows[name].nbytes for name in rows.names)

    def bundle(self, rows: RowParameters) -> Bundle:
        """Return the trained model, with all that encoding needs."""
        return self.cloud(rows).to_bundle()


def smaller_view(
    camera: Camera, image: Tensor, mask: Tensor | None, factor: float
) -> tuple[Camera, Tensor, Tensor | None]:
    """Return a view with sides ``factor`` times as long, rounded down, and the same field of view.

    Args:
        camera: of the view.
        image: ``[H, W, 3] float32``, sampled bilinearly, without a low-pass filter before.
        mask: ``[H, W] bool`` or ``None``; a pixel stays visible if all that it is sampled from are.
        factor: in (0, 1].
    """
    height, width = max(1, math.floor(camera.height * factor)), max(1, math.floor(camera.width * factor))
    if (height, width) == (camera.height, camera.width):
        return camera, image, mask
    along_x, along_y = width / camera.width, height / camera.height

    def sampled(planes: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(planes[None], (height, width), mode="bilinear", align_corners=False)[0]

    smaller = replace(
        camera,
        width=width,
        height=height,
        fx=camera.fx * along_x,
        fy=camera.fy * along_y,
        cx=camera.cx * along_x,
        cy=camera.cy * along_y,
    )
    visible = None if mask is None else sampled((~mask).to(image.dtype)[None])[0] == 0.0
    return smaller, sampled(image.permute(2, 0, 1)).permute(1, 2, 0).contiguous(), visible
