"""Decoded anchors: their rendering, their bundle, and their conversion to plain Gaussians.

Owns the code that methods with anchors share after decoding. Does not own how a method decodes them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads, spawn_gaussians
from hemgs.core.bundle import Bundle, tensors_under
from hemgs.core.errors import BitstreamError, HemgsError
from hemgs.core.types import Camera, Scene
from hemgs.render import render_view, visible_mask
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.init import SH_C0

#: Number of training cameras that represent all of them if no camera is given.
NUM_VIEWPOINTS = 8
#: Opacities of exported Gaussians stay this far from 0 and 1, so that their logits are finite. Gaussians that are more
#: transparent than one 8-bit level on average are left out.
_OPACITY_MARGIN = 1e-4
_MIN_OPACITY = 1.0 / 255.0
_HEADS = "heads."


@dataclass(frozen=True)
class FixedAnchors:
    """N anchors after training.

    Attributes:
        positions: ``[N, 3] float32`` world coordinates.
        attributes: decoded attributes of the N anchors.
        heads: networks that turn attributes into Gaussians for a view.
        viewpoints: ``[V, 3] float32`` camera centres that represent the training cameras (:func:`viewpoints`).
    """

    positions: Tensor
    attributes: AnchorAttributes
    heads: AnchorHeads
    viewpoints: Tensor

    @property
    def num_anchors(self) -> int:
        return int(self.positions.shape[0])

    @property
    def num_gaussians(self) -> int:
        """Number of offsets that are not masked; a view shows those with a positive opacity."""
        masks = self.attributes.masks
        return self.num_anchors * self.heads.num_offsets if masks is None else int((masks > 0).sum())

    @functools.cached_property
    def _extents(self) -> tuple[Tensor, Tensor]:
        return _unrotated(self.attributes.scalings)

    @torch.no_grad()
    def render(self, camera: Camera, background: tuple[float, float, float]) -> Tensor:
        """See :class:`hemgs.protocol.Renderable`."""
        visible = _visible(self.positions, *self._extents, camera)
        center = camera_center(camera, self.positions.device)
        spawned = spawn_gaussians(self.heads, self.positions[visible], self.attributes.select(visible), center)
        view = render_view(
            spawned.means, spawned.quats, spawned.scales, spawned.opacities, spawned.colors, camera, background
        )
        image: Tensor = view.image.clamp(0.0, 1.0)
        return image

    def to_splats(self, camera: Camera | None = None) -> GaussianCloud:
        """Return the Gaussians that ``camera`` sees; without a camera, the average over ``viewpoints``."""
        center = None if camera is None else camera_center(camera, self.positions.device)[None]
        return anchors_to_cloud(self, center)

    def to(self, device: torch.device | str) -> FixedAnchors:
        """Return the same anchors on another device."""
        bundle = self.to_bundle()
        tensors = {name: tensor.to(device) for name, tensor in bundle.tensors.items()}
        return FixedAnchors.from_bundle(Bundle(tensors, bundle.meta))

    def to_bundle(self) -> Bundle:
        """Return all tensors and metadata, for :meth:`from_bundle`."""
        attributes, heads = self.attributes, self.heads
        tensors = {
            "positions": self.positions,
            "features": attributes.features,
            "scalings": attributes.scalings,
            "offsets": attributes.offsets,
            "viewpoints": self.viewpoints,
        }
        if attributes.masks is not None:
            tensors["masks"] = attributes.masks
        tensors |= {_HEADS + name: tensor for name, tensor in heads.state_dict().items()}
        meta = {
            "feature_dim": heads.feature_dim,
            "num_offsets": heads.num_offsets,
            "head_hidden_dim": heads.hidden_dim,
            "num_anchors": self.num_anchors,
            "num_gaussians": self.num_gaussians,
        }
        return Bundle({name: tensor.detach() for name, tensor in tensors.items()}, meta)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> FixedAnchors:
        """Build the anchors of :meth:`to_bundle`, on the device of its tensors; further entries are ignored.

        Raises:
            HemgsError: the bundle contains no anchors.
        """
        tensors = bundle.tensors
        try:
            feature_dim, num_offsets, hidden_dim = (
                int(bundle.meta[key]) for key in ("feature_dim", "num_offsets", "head_hidden_dim")
            )
            weights = tensors_under(tensors, _HEADS)
            heads = AnchorHeads.of_weights((feature_dim, num_offsets, hidden_dim), weights)
            positions = tensors["positions"]
            attributes = AnchorAttributes(
                tensors["features"], tensors["scalings"], tensors["offsets"], tensors.get("masks")
            )
            return cls(positions, attributes, heads, tensors["viewpoints"])
        except (KeyError, TypeError, ValueError, RuntimeError) as fault:
            raise HemgsError(
                f"the bundle contains no decoded anchors ({fault})", "decode the bitstream again"
            ) from fault


def viewpoints(scene: Scene, num_viewpoints: int = NUM_VIEWPOINTS) -> Tensor:
    """Choose centres of training cameras far from each other, ``[V, 3] float32``; V is at most ``num_viewpoints``.

    The first centre is the one nearest to the mean. Each further one is the farthest from those before.
    """
    centers = np.stack([view.camera.center for view in scene.split("train")])
    chosen = [int(np.linalg.norm(centers - centers.mean(axis=0), axis=1).argmin())]
    nearest = np.linalg.norm(centers - centers[chosen[0]], axis=1)
    while len(chosen) < min(num_viewpoints, len(centers)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(centers - centers[chosen[-1]], axis=1))
    return torch.from_numpy(centers[chosen].astype(np.float32))


def visible_anchors(positions: Tensor, scalings: Tensor, camera: Camera) -> Tensor:
    """Return indices of the anchors that touch the image, ``[M] int64``, ascending.

    An anchor counts as an unrotated Gaussian with its first three scalings as standard deviations.

    Args:
        positions: ``[N, 3] float32``.
        scalings: ``[N, 6]`` or ``[N, 3] float32``, world units.
    """
    return _visible(positions, *_unrotated(scalings), camera)


def _unrotated(scalings: Tensor) -> tuple[Tensor, Tensor]:
    """Return rotations ``[N, 4]`` and standard deviations ``[N, 3]`` of the Gaussians that represent anchors."""
    quats = scalings.new_zeros(len(scalings), 4)
    quats[:, 0] = 1.0
    return quats, scalings[:, :3].contiguous()


def _visible(positions: Tensor, quats: Tensor, scales: Tensor, camera: Camera) -> Tensor:
    with torch.no_grad():
        seen = visible_mask(positions, quats, scales, camera)
    return torch.nonzero(seen).squeeze(1)


def camera_center(camera: Camera, device: torch.device) -> Tensor:
    """Return the camera's centre, ``[3] float32``."""
    return torch.from_numpy(camera.center.astype(np.float32)).to(device)


@torch.no_grad()
def anchors_to_cloud(anchors: FixedAnchors, camera_centers: Tensor | None = None) -> GaussianCloud:
    """Return plain Gaussians (no spherical harmonics) that look like the anchors from given places.

    For one place the result is exact. For several places, opacities are averaged; a Gaussian that a place does not show
    counts as 0. Scales (geometrically), rotations and colours are averaged with the opacities as weights.

    Args:
        anchors: decoded anchors.
        camera_centers: ``[V, 3] float32``; ``None`` for the anchors' own ``viewpoints``.

    Raises:
        BitstreamError: there are no places, as the anchors' file contains none.
    """
    centers = anchors.viewpoints if camera_centers is None else camera_centers
    if not len(centers):
        raise BitstreamError("the file contains no viewpoints, whose mean an export shows", "export for one camera")
    num = anchors.num_anchors * anchors.heads.num_offsets
    device = anchors.positions.device
    sizes = (1, 3, 4, 3, 3)
    sums = (torch.zeros(num, size, dtype=torch.float32, device=device) for size in sizes)
    weights, log_scales, quats, colors, means = sums
    weights = weights.squeeze(1)
    for center in centers.to(device):
        spawned = spawn_gaussians(anchors.heads, anchors.positions, anchors.attributes, center)
        index = spawned.parent * anchors.heads.num_offsets + spawned.slot
        opacities = spawned.opacities[:, None]
        # A quaternion and its negative are the same rotation: take the one nearer to the sum so far.
        opposite = (quats[index] * spawned.quats).sum(dim=1, keepdim=True) < 0
        sign = 1 - 2 * opposite.to(quats.dtype)
        weights[index] += spawned.opacities
        log_scales[index] += opacities * torch.log(spawned.scales.clamp_min(torch.finfo(torch.float32).tiny))
        quats[index] += opacities * sign * spawned.quats
        colors[index] += opacities * spawned.colors
        means[index] = spawned.means
    mean_opacities = weights / len(centers)
    kept = torch.nonzero(mean_opacities >= _MIN_OPACITY).squeeze(1)
    total = weights[kept, None]
    return GaussianCloud(
        means=means[kept],
        log_scales=log_scales[kept] / total,
        quats=torch.nn.functional.normalize(quats[kept], dim=1),
        opacity_logits=torch.logit(mean_opacities[kept], eps=_OPACITY_MARGIN),
        sh=((colors[kept] / total - 0.5) / SH_C0)[:, None],
    )
