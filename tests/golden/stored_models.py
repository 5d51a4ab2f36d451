"""Small models of all methods, and the bitstreams they encode to; both are kept in ``version_2/<method>``.

A model is made once, from random numbers, and kept: random numbers and arithmetic in floating point may differ in
another version of torch, a stored model does not. To add one, give it a line in :data:`MODELS` and run

    python -m tests.golden.stored_models hemgs/whole

which writes the model, its bitstream, and the SHA-256 of what the bitstream decodes to. It replaces nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hemgs.bench.registry import get_method
from hemgs.core.bundle import Bundle, load_bundle, save_bundle
from hemgs.core.types import SINGLE_RATE, Rate
from tests.unit.baselines import toy_context_gs, toy_hac, toy_hac_plus
from tests.unit.codec.toy_anchors import VIEWPOINTS, shaken, toy_anchors, toy_entropy

FOLDER = Path(__file__).parent / "version_2"
CPU = torch.device("cpu")

_GRID = {
    "grid_resolutions_3d": "6 12 25",
    "grid_resolutions_2d": "20 40",
    "grid_log2_entries_3d": 8,
    "grid_log2_entries_2d": 8,
    "grid_features": 2,
}
_SIZES = {"feature_dim": 8, "num_offsets": 4}
_HEMGS = {
    **_SIZES,
    **_GRID,
    "feature_prior": 16,
    "geometry_prior": 12,
    "feature_hidden": 16,
    "geometry_hidden": 12,
    "feature_step_hidden": 8,
    "geometry_step_hidden": 8,
    "feature_context": 12,
    "geometry_context": 10,
    "context_neighbours": 6,
    "context_multiplier": 4,
}


@dataclass(frozen=True)
class StoredModel:
    """How a model was made.

    Attributes:
        params: settings.
        lmbda: λ of its bitstream; ``None`` for methods without a rate knob.
    """

    params: dict[str, Any] = field(default_factory=dict)
    lmbda: float | None = None

    @property
    def rate(self) -> Rate:
        return SINGLE_RATE if self.lmbda is None else Rate.of(self.lmbda)


#: By ``method/name``.
MODELS = {
    "hemgs/plain": StoredModel({**_HEMGS, "scene_agnostic": "", "feature_context": 0, "geometry_context": 0}, 0.002),
    "hemgs/whole": StoredModel(_HEMGS, 0.0022),
    # λ off every grid, and steps whose range is no whole number of octaves.
    "hemgs/octaves": StoredModel({**_HEMGS, "rate_octaves": 1.7}, 0.00137),
    # Base steps of the settings' own, in every codec of anchors the same way.
    "hemgs/steps": StoredModel(
        {**_HEMGS, "rate_octaves": 2.5, "step_features": 0.75, "step_scalings": 0.002, "step_offsets": 0.3}, 0.0033
    ),
    "hemgs/plus": StoredModel(
        {
            **_HEMGS,
            "feature_chunks": 3,
            "order": "hashed",
            "location_codec": "octree",
            "mask_codec": "adaptive",
            "head_bits": 8,
        },
        0.004,
    ),
    "hemgs/sparse": StoredModel(
        {**_HEMGS, "grid_log2_entries_3d": 12, "grid_log2_entries_2d": 11, "sparse_grid": True}, 0.001
    ),
    "hac/toy": StoredModel({**_SIZES, **_GRID, "hidden": 24}, 0.002),
    "hac_plus/toy": StoredModel({**_SIZES, **_GRID, "hidden": 24, "chunk_channels": 3, "chunk_hidden": 10}, 0.002),
    "context_gs/toy": StoredModel({**_SIZES, "hidden": 24, "latents": 5}, 0.002),
    "gs3d/toy": StoredModel(),
    "scaffold_gs/toy": StoredModel(),
}


def make(name: str) -> Bundle:
    """Return a model with random weights, as its method's training would return it."""
    method = get_method(name.split("/")[0])
    params = MODELS[name].params
    if name.startswith("gs3d"):
        torch.manual_seed(0)
        num = 60
        shapes = {"means": (num, 3), "log_scales": (num, 3), "quats": (num, 4), "opacity_logits": (num,)}
        return Bundle(
            {key: torch.randn(shape) for key, shape in (shapes | {"sh": (num, 16, 3)}).items()}, {"params": {}}
        )
    anchors = toy_anchors(extent=60)
    if name.startswith("scaffold"):
        positions, attributes = anchors.positions, anchors.attributes()
        tensors = {"positions": positions, "viewpoints": VIEWPOINTS, **_detached(vars(attributes))}
        tensors |= {f"heads.{key}": value for key, value in anchors.heads.state_dict().items()}
        return Bundle(tensors, anchors.to_bundle().meta)
    settings = method.Params(**params)
    if name.startswith("hemgs"):
        entropy: torch.nn.Module = shaken(toy_entropy(anchors, settings=settings.entropy))
    else:
        toy = {"hac": toy_hac, "hac_plus": toy_hac_plus, "context_gs": toy_context_gs}[method.spec.id]
        anchors = toy.toy_anchors(extent=60)
        entropy = toy.toy_model(anchors, settings.entropy)
    bundle = anchors.to_bundle()
    bundle.tensors |= {f"entropy.{key}": value.detach() for key, value in entropy.state_dict().items()}
    bundle.tensors["viewpoints"] = VIEWPOINTS
    bundle.meta["params"] = params
    if method.spec.lmbda_interval is not None:
        bundle.meta["lmbda_interval"] = [method.spec.lmbda_interval.low, method.spec.lmbda_interval.high]
    return bundle


def _detached(parts: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key: value.detach() for key, value in parts.items() if isinstance(value, torch.Tensor)}


def decoded_digests(name: str, path: Path) -> dict[str, str]:
    """Return the SHA-256 of every tensor that the method of a model decodes from a file."""
    tensors = get_method(name.split("/")[0]).decode(path, device=CPU).to_bundle().tensors
    return {key: hashlib.sha256(tensors[key].contiguous().numpy().tobytes()).hexdigest() for key in sorted(tensors)}


def write(name: str) -> None:
    """Make a model, encode it and decode it; write what is missing of the three files."""
    base = FOLDER / name
    model, bitstream, digests = (base.with_suffix(suffix) for suffix in (".safetensors", ".gsc", ".json"))
    if not model.exists():
        save_bundle(model, make(name))
    if not bitstream.exists():
        method = get_method(name.split("/")[0])
        method.encode(load_bundle(model), MODELS[name].rate, bitstream, device=CPU)
    if not digests.exists():
        digests.write_text(json.dumps(decoded_digests(name, bitstream), indent=1) + "\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or MODELS:
        write(chosen)
