"""Drawing plain Gaussians, those of a training and those of a decoded scene."""

from __future__ import annotations

from typing import Self

import torch

from hemgs.core.bundle import Bundle
from hemgs.core.types import Camera
from hemgs.render import RenderedView, render_view
from hemgs.splats.cloud import GaussianCloud, Gaussians


def render_gaussians(
    gaussians: Gaussians, camera: Camera, background: torch.Tensor | tuple[float, ...]
) -> RenderedView:
    """Draw activated Gaussians; see :func:`hemgs.render.render_view`."""
    return render_view(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
        camera,
        background,
        sh_degree=gaussians.sh_degree,
    )


class RenderableSplats:
    """Plain Gaussians as :class:`hemgs.protocol.Renderable`; activations are applied once.

    Args:
        cloud: the Gaussians, on the device that renders.
    """

    def __init__(self, cloud: GaussianCloud) -> None:
        self.cloud = cloud
        self._gaussians = cloud.activated()

    def render(self, camera: Camera, background: tuple[float, float, float]) -> torch.Tensor:
        with torch.no_grad():
            view = render_gaussians(self._gaussians, camera, background)
        image: torch.Tensor = view.image.clamp(0.0, 1.0)
        return image

    def to_splats(self, camera: Camera | None = None) -> GaussianCloud:
        """Return the Gaussians unchanged; no part depends on ``camera``."""
        return self.cloud

    def to_bundle(self) -> Bundle:
        return self.cloud.to_bundle()

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        return cls(GaussianCloud.from_bundle(bundle))
