"""Make the package file of ``pointnet2_s3dis_projection``: ``python -m tools.make_projection [FILE]``.

The S3DIS network computes 128 features of each point of procedural anchor clouds. The file projects them to their 32
principal components of unit variance. The run needs the asset ``pointnet2_s3dis_msg``; the file contains no weights of
it. Another linear algebra library may round otherwise. The file in the package is the one that counts:
``hemgs/assets/registry.yaml`` contains its hash.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hemgs.coding.fixed_point import FixedLayer, FixedMlp
from hemgs.core.assets import find_asset, list_assets
from hemgs.core.files import atomic_path, sha256_of
from hemgs.pointnet import features as pointnet
from hemgs.pointnet.architectures import ONE, PRECISION_BITS
from hemgs.pointnet.network import PointNet
from hemgs.pointnet.sets import make_blocks
from tools.anchor_clouds import make_cloud

SEED = 20241127
NUM_CLOUDS = 24
CLOUD_SIZE = 8192


def collect_features() -> NDArray[np.float64]:
    """``[n, 128]`` features of procedural anchors."""
    network = pointnet.NETWORKS[pointnet.S3DIS]
    body = pointnet.s3dis_body(find_asset(pointnet.S3DIS))
    width = network.architecture.propagations[-1][-1]
    identity = FixedLayer(torch.eye(width, dtype=torch.float64) * ONE, torch.zeros(width).double(), PRECISION_BITS)
    architecture = dataclasses.replace(network.architecture, head=(width,))
    evaluate = PointNet(architecture, [*body, FixedMlp([identity])])
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(NUM_CLOUDS):
        cloud = make_cloud(rng, CLOUD_SIZE)
        blocks = make_blocks(cloud.coords)
        for block in range(len(blocks)):
            found.append(evaluate(*pointnet.block_inputs(network, cloud.coords[blocks.points(block)], "cpu")))
    return torch.cat(found).numpy() / ONE


def principal_components(features: NDArray[np.float64], num: int) -> FixedLayer:
    """Layer to the ``num`` strongest components of ``[n, C]`` features, mean 0 and variance 1 each."""
    mean = features.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(features.T))
    variances, axes = variances[::-1][:num], axes[:, ::-1][:, :num]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(num)])
    weight = (axes / np.sqrt(variances)).T
    return pointnet.rounded_layer(weight, -weight @ mean)


def write_layers(path: Path, layers: Sequence[FixedLayer]) -> None:
    """Write the file that :func:`hemgs.pointnet.features.read_layers` reads."""
    arrays = {}
    for number, layer in enumerate(layers):
        arrays[f"weight_{number:02}"] = layer.weight.numpy().astype(np.int32)
        arrays[f"bias_{number:02}"] = layer.bias.numpy().astype(np.int32)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    sys.stdout.write(f"{path}: size_bytes: {path.stat().st_size}, sha256: {sha256_of(path)}\n")


def package_file(asset: str) -> Path:
    """Return the path of an asset of the package in the source tree."""
    return Path(pointnet.__file__).parent.parent / "assets" / list_assets()[asset].file


def main() -> None:
    """Write the file and print its hash."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else package_file(pointnet.S3DIS_PROJECTION)
    layer = principal_components(collect_features(), pointnet.scene_agnostic_dim(pointnet.S3DIS))
    write_layers(path, [layer])


if __name__ == "__main__":
    main()
