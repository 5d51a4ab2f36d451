"""A set of anchors with its heads: the tensors that are trained and that a codec writes.

Owns the tensors and their meaning. Does not own how they grow (``growing``), their optimiser (``hemgs.training``)
or their coded form (``hemgs.codec``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads
from hemgs.core.bundle import Bundle, tensors_under
from hemgs.core.errors import TrainingError

__all__ = ["ROW_NAMES", "AnchorAttributes", "AnchorModel", "lattice_positions"]

#: Names of the trainable tensors with one row per anchor.
ROW_NAMES = ("features", "log_scalings", "offsets", "mask_logits")
#: Name of the tensor of latents, in models that have latents.
LATENTS = "latents"
#: Logit of a new offset's mask (HAC, arXiv 2403.14530, released code): on, but not far from off.
INITIAL_MASK_LOGIT = 1.0


def lattice_positions(coords: Tensor, voxel_size: float) -> Tensor:
    """Convert ``[N, 3] int64`` lattice coordinates to ``[N, 3] float32`` world ones; one rounding, equal everywhere."""
    return (coords.to(torch.float64) * voxel_size).to(torch.float32)


class AnchorModel(nn.Module):
    """N anchors on a lattice.

    Args:
        coords: ``[N, 3] int64`` distinct lattice coordinates; anchors never leave the lattice.
        voxel_size: pitch of the lattice, world units.
        heads: the networks; they set D and K.
        rows: values of :data:`ROW_NAMES`, and of :data:`LATENTS` if there are any; see the attributes.

    The rows are leaf tensors that require gradients, not module parameters. :meth:`parameters` therefore returns only
    those of the heads, and the optimiser of the rows owns their Adam state.

    Attributes:
        coords: ``[N, 3] int64``.
        features: ``[N, D] float32``.
        log_scalings: ``[N, 6] float32``, logarithms of world units.
        offsets: ``[N, K, 3] float32``, in units of the first three scalings.
        mask_logits: ``[N, K] float32``; unused where the attribute model has no masks.
        latents: ``[N, L] float32``, values that a codec stores in addition to the attributes; L is 0 in most models.
    """

    coords: Tensor
    features: Tensor
    log_scalings: Tensor
    offsets: Tensor
    mask_logits: Tensor
    latents: Tensor

    def __init__(self, coords: Tensor, voxel_size: float, heads: AnchorHeads, rows: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.voxel_size = float(voxel_size)
        self.heads = heads
        for name in ("coords", *ROW_NAMES, LATENTS):
            self.register_buffer(name, torch.empty(0))
        self.set_rows(coords, rows)

    @classmethod
    def initial(
        cls, coords: Tensor, voxel_size: float, log_scales: Tensor, heads: AnchorHeads, latent_dim: int = 0
    ) -> AnchorModel:
        """Make untrained anchors: features, offsets and latents are zero, all six scalings of an anchor are equal.

        Args:
            log_scales: ``[N] float32``.
            latent_dim: L.
        """
        rows = initial_rows(log_scales, heads.feature_dim, heads.num_offsets, latent_dim)
        return cls(coords, voxel_size, heads, rows)

    def set_rows(self, coords: Tensor, rows: Mapping[str, Tensor]) -> None:
        """Replace the anchors. Leaf tensors that require gradients are used directly, others are copied.

        Raises:
            TrainingError: the rows do not fit each other or the heads.
        """
        num, heads = coords.shape[0], self.heads
        latents = rows.get(LATENTS, coords.new_zeros(num, 0, dtype=torch.float32))
        rows = {**rows, LATENTS: latents}
        shapes = {
            "features": (num, heads.feature_dim),
            "log_scalings": (num, 6),
            "offsets": (num, heads.num_offsets, 3),
            "mask_logits": (num, heads.num_offsets),
            LATENTS: (num, latents.shape[-1]),
        }
        for name, shape in shapes.items():
            if tuple(rows[name].shape) != shape:
                raise TrainingError(f"anchor {name} have shape {tuple(rows[name].shape)}, not {shape}")
        self.coords = coords
        for name in shapes:
            value = rows[name]
            trained = value.is_leaf and value.requires_grad
            setattr(self, name, value if trained else value.detach().clone().requires_grad_(True))

    @property
    def num_anchors(self) -> int:
        return int(self.coords.shape[0])

    @property
    def row_names(self) -> tuple[str, ...]:
        """The model's trainable tensors with one row per anchor."""
        return (*ROW_NAMES, LATENTS) if self.latents.shape[1] else ROW_NAMES

    @property
    def feature_dim(self) -> int:
        return self.heads.feature_dim

    @property
    def num_offsets(self) -> int:
        return self.heads.num_offsets

    @property
    def positions(self) -> Tensor:
        """``[N, 3] float32`` world coordinates."""
        return lattice_positions(self.coords, self.voxel_size)

    def attributes(self, indices: Tensor | None = None) -> AnchorAttributes:
        """Return attributes of some anchors (``[M] int64``) or of all, without masks; differentiable."""
        features, log_scalings, offsets = self.features, self.log_scalings, self.offsets
        if indices is not None:
            features, log_scalings, offsets = (
                tensor.index_select(0, indices) for tensor in (features, log_scalings, offsets)
            )
        return AnchorAttributes(features, torch.exp(log_scalings), offsets)

    def to_bundle(self) -> Bundle:
        """Return all tensors and metadata, for :meth:`from_bundle`."""
        tensors = {"coords": self.coords, **{name: getattr(self, name).detach() for name in self.row_names}}
        tensors |= {f"heads.{name}": tensor.detach() for name, tensor in self.heads.state_dict().items()}
        heads = self.heads
        return Bundle(
            tensors,
            {
                "voxel_size": self.voxel_size,
                "feature_dim": heads.feature_dim,
                "num_offsets": heads.num_offsets,
                "head_hidden_dim": heads.hidden_dim,
            },
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> AnchorModel:
        """Build the model of :meth:`to_bundle`; further tensors and metadata in the bundle are ignored.

        Raises:
            TrainingError: the bundle contains no anchor model.
        """
        try:
            meta = bundle.meta
            dims = int(meta["feature_dim"]), int(meta["num_offsets"]), int(meta["head_hidden_dim"])
            heads = AnchorHeads.of_weights(dims, tensors_under(bundle.tensors, "heads.")).requires_grad_(True)
            return cls(bundle.tensors["coords"], float(meta["voxel_size"]), heads, bundle.tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as fault:
            raise TrainingError(f"not an anchor model ({fault})", "train the scene again") from fault


def initial_rows(log_scales: Tensor, feature_dim: int, num_offsets: int, latent_dim: int = 0) -> dict[str, Tensor]:
    """Return rows of untrained anchors, given their size.

    Args:
        log_scales: ``[N] float32`` logarithms of world units.
    """
    scales = log_scales.to(torch.float32)
    num = len(scales)
    latents = {LATENTS: scales.new_zeros(num, latent_dim)} if latent_dim else {}
    return {
        "features": scales.new_zeros(num, feature_dim),
        "log_scalings": scales[:, None].repeat(1, 6),
        "offsets": scales.new_zeros(num, num_offsets, 3),
        "mask_logits": scales.new_full((num, num_offsets), INITIAL_MASK_LOGIT),
        **latents,
    }
