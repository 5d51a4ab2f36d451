"""The trained Gaussians from which a method of kind ``post`` starts: a finished training, or a PLY file.

Owns finding them, and the check that they belong to the scene. Does not own their use by a method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hemgs.bench.runs import load_trained
from hemgs.core.errors import ConfigError
from hemgs.core.files import sha256_of
from hemgs.core.types import MethodSpec, Scene
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.ply import read_ply

_PLY = ".ply"


@dataclass(frozen=True)
class Base:
    """The start of a training.

    Attributes:
        cloud: the Gaussians.
        record: their origin, for ``train.json``.
        settings_hash: hash of the settings of their training; hash of the file for a PLY.
        iterations, train_s: length of their training; 0 for a PLY, where it is unknown.
    """

    cloud: GaussianCloud
    record: Mapping[str, Any]
    settings_hash: str
    iterations: int = 0
    train_s: float = 0.0


def load_base(path: Path | None, spec: MethodSpec, scene: Scene, seed: int, device: torch.device) -> Base | None:
    """Read the base of a training.

    Args:
        path: folder of a finished training, or a PLY file of 3DGS in the coordinates of the prepared scene.
        spec: spec of the method to train.
        scene: the scene to train on.
        seed: seed of the training.
        device: device of the result.

    Returns:
        The base; ``None`` for a method that starts from nothing.

    Raises:
        ConfigError: a base is missing, or given to a method that needs none; or it belongs to another scene, another
            seed or a method whose models are not plain Gaussians.
        SceneError: the PLY cannot be read.
        HemgsError: the model is damaged.
    """
    if spec.kind != "post":
        if path is not None:
            raise ConfigError(
                f"--base {path}: {spec.id} is of kind {spec.kind} and starts from no model", "leave --base out"
            )
        return None
    if path is None:
        raise ConfigError(
            f"{spec.id} starts from trained Gaussians, and none are named",
            "add --base MODEL_DIR of a finished training of this scene, or --base FILE.ply",
        )
    if path.suffix == _PLY:
        cloud, digest = read_ply(path), sha256_of(path)
        return Base(cloud.to(device), {"file": path.name, "sha256": digest}, digest)
    record, model = load_trained(path, device)
    if record.scene_hash != scene.hash:
        raise ConfigError(
            f"--base {path}: trained on {record.dataset}/{record.scene} ({record.scene_hash[:12]}), which is not "
            f"{scene.root} ({scene.hash[:12]})",
            "name a base that was trained on this scene as it is prepared now",
        )
    if record.seed != seed:
        raise ConfigError(f"--base {path}: trained with seed {record.seed}, not {seed}", f"add --seed {record.seed}")
    try:
        cloud = GaussianCloud.from_bundle(model)
    except ConfigError as fault:
        raise ConfigError(
            f"--base {path}: a model of {record.method}: {fault.message}",
            "name a base of a method whose models are plain Gaussians, such as gs3d",
        ) from fault
    named = ("method", "variant", "fit", "seed", "iterations", "train_s", "config_hash", "model_sha256")
    provenance = {name: getattr(record, name) for name in named}
    return Base(cloud, provenance, record.config_hash, record.iterations, record.train_s)
