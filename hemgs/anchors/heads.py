"""The three networks that turn anchors into Gaussians for one view (Scaffold-GS, arXiv 2312.00109, section 3.2).

Owns the networks and the spawning of Gaussians. Does not own the anchors or the renderer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn

from hemgs.anchors.attributes import AnchorAttributes

#: The inputs are the feature, the unit view direction (3) and the distance to the camera (1). HAC (arXiv 2403.14530)
#: and its successors always use both; Scaffold-GS can leave out the distance.
VIEW_DIM = 4
#: Three scales and four quaternion components per Gaussian.
COVARIANCE_DIM = 7


class AnchorHeads(nn.Module):
    """Two-layer networks for opacity, covariance and colour, ``hidden_dim`` wide, ReLU inside.

    Args:
        feature_dim: D, channels of an anchor's feature.
        num_offsets: K, Gaussians per anchor.
        hidden_dim: width of the hidden layers; D where not given, as in Scaffold-GS.
    """

    def __init__(self, feature_dim: int, num_offsets: int, hidden_dim: int | None = None) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.num_offsets = num_offsets
        self.hidden_dim = hidden_dim or feature_dim
        self.opacity = self._network(num_offsets)
        self.covariance = self._network(num_offsets * COVARIANCE_DIM)
        self.color = self._network(num_offsets * 3)

    @classmethod
    def shapes(cls, dims: tuple[int, int, int]) -> dict[str, torch.Size]:
        """Return the shapes of all weights by name, in the order of ``state_dict``, without memory for their values.

        Args:
            dims: D, K and width of the hidden layers.
        """
        with torch.device("meta"):
            return {name: value.shape for name, value in cls(*dims).state_dict().items()}

    @classmethod
    def of_weights(cls, dims: tuple[int, int, int], weights: Mapping[str, Tensor]) -> Self:
        """Build trained heads for rendering; weights are not copied.

        Nothing is drawn at random: decoding must leave the caller's random state as it is.

        Args:
            dims: D, K and width of the hidden layers.
            weights: as ``state_dict`` gives them, on one device.

        Raises:
            RuntimeError: weights are missing or of another shape.
        """
        with torch.device("meta"):
            heads = cls(*dims)
        heads.load_state_dict(weights, assign=True)
        return heads.requires_grad_(False)

    def _network(self, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(self.feature_dim + VIEW_DIM, self.hidden_dim), nn.ReLU(), nn.Linear(self.hidden_dim, outputs)
        )

    def opacities(self, inputs: Tensor) -> Tensor:
        """Predict opacities: ``[M, D + 4]`` to ``[M, K]`` in (-1, 1); Gaussians without a positive one are off."""
        return torch.tanh(cast(Tensor, self.opacity(inputs)))

    def covariances(self, inputs: Tensor) -> Tensor:
        """Predict ``[M, K, 7]`` from ``[M, D + 4]``: logits of three scale factors, then an unnormalised quaternion."""
        return cast(Tensor, self.covariance(inputs)).view(-1, self.num_offsets, COVARIANCE_DIM)

    def colors(self, inputs: Tensor) -> Tensor:
        """Predict colours: ``[M, D + 4]`` to ``[M, K, 3]`` RGB in (0, 1)."""
        return torch.sigmoid(cast(Tensor, self.color(inputs))).view(-1, self.num_offsets, 3)


@dataclass(frozen=True)
class SpawnedGaussians:
    """The G Gaussians of M anchors for one camera.

    Attributes:
        means: ``[G, 3] float32`` world coordinates.
        scales: ``[G, 3] float32`` standard deviations, world units.
        quats: ``[G, 4] float32`` rotations, real part first, of unit length.
        opacities: ``[G] float32`` in (0, 1).
        colors: ``[G, 3] float32`` RGB in (0, 1).
        parent: ``[G] int64``, row of the anchor among the M.
        slot: ``[G] int64``, index of the offset among its K.
        opacity_all: ``[M, K] float32`` in (-1, 1), masks applied, of all slots including those that are off.
    """

    means: Tensor
    scales: Tensor
    quats: Tensor
    opacities: Tensor
    colors: Tensor
    parent: Tensor
    slot: Tensor
    opacity_all: Tensor

    @property
    def num_gaussians(self) -> int:
        return int(self.means.shape[0])


def spawn_gaussians(
    heads: AnchorHeads, positions: Tensor, attributes: AnchorAttributes, camera_center: Tensor
) -> SpawnedGaussians:
    """Return the Gaussians of M anchors as one camera sees them; differentiable.

    Args:
        heads: the networks.
        positions: ``[M, 3] float32`` anchors, world coordinates.
        attributes: those of the same M anchors. Masks multiply opacities before the test for being positive, so that a
            masked slot spawns nothing (HAC, arXiv 2403.14530). With ``masks_scale`` they multiply opacities and scales
            after the test.
        camera_center: ``[3] float32`` world coordinates.
    """
    rays = positions - camera_center
    distances = rays.norm(dim=1, keepdim=True).clamp_min(1e-12)
    inputs = torch.cat([attributes.features, rays / distances, distances], dim=1)
    opacity_all = tested = heads.opacities(inputs)
    if attributes.masks is not None:
        opacity_all = opacity_all * attributes.masks
        tested = tested if attributes.masks_scale else opacity_all
    num_offsets = heads.num_offsets
    slots = torch.nonzero(tested.detach().flatten() > 0).squeeze(1)
    parent = torch.div(slots, num_offsets, rounding_mode="floor")

    def chosen(values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, slots)

    scalings = attributes.scalings.index_select(0, parent)
    shapes = chosen(heads.covariances(inputs))
    scales = scalings[:, 3:] * torch.sigmoid(shapes[:, :3])
    if attributes.masks is not None and attributes.masks_scale:
        scales = scales * chosen(attributes.masks[:, :, None])
    return SpawnedGaussians(
        means=positions.index_select(0, parent) + chosen(attributes.offsets) * scalings[:, :3],
        scales=scales,
        quats=nn.functional.normalize(shapes[:, 3:], dim=1),
        opacities=opacity_all.flatten().index_select(0, slots),
        colors=chosen(heads.colors(inputs)),
        parent=parent,
        slot=slots - parent * num_offsets,
        opacity_all=opacity_all,
    )
