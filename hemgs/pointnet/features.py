"""The scene-agnostic branch: features of anchor locations from a frozen PointNet++ (arXiv 2411.18473, section 3.3.2).

Anchors are cut into blocks of at most 4096 along a Morton curve. Time is therefore linear in their number, and memory
is that of one block per thread, some 100 MiB. Each block is scaled to its network's training size. The network runs in
integers: encoder and decoder get the same bits on every device, with any number of threads.

There are two networks:

* ``pointnet2_s3dis_msg`` was trained by its authors on S3DIS rooms. The user downloads it. This package contains a
  projection of its 128 features to 32 (``tools/make_projection``).
* ``pointnet2_bundled`` is in this package and was trained on procedural geometry (``tools/make_pointnet``).

Neither has seen a scene that is compressed with it.

Owns their architectures, their inputs and their files. Does not own PointNet++ itself (``network``, ``sets``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.coding.fixed_point import ACTIVATION_BITS, FixedLayer, FixedMlp
from hemgs.core.assets import find_asset, list_assets
from hemgs.core.device import one_torch_thread
from hemgs.core.errors import AssetError
from hemgs.pointnet.architectures import (
    BUNDLED,
    BUNDLED_ARCHITECTURE,
    ONE,
    PRECISION_BITS,
    S3DIS,
    S3DIS_ARCHITECTURE,
    Architecture,
    architecture_of,
    scene_agnostic_dim,
)
from hemgs.pointnet.network import PointNet, as_inputs
from hemgs.pointnet.sets import MAX_COORDINATE, Integers, kth_nearest, make_blocks, normalise

#: Features are clamped here; their variance is one.
FEATURE_LIMIT = 8 << ACTIVATION_BITS
#: The epsilon of the S3DIS network's batch norms.
BATCH_NORM_EPSILON = 1e-5
#: Most blocks in memory, on machines with many processors.
MAX_BLOCKS_AT_ONCE = 8
#: Anchors have no colour; the input of the S3DIS network is middle grey.
GREY = ONE // 2

S3DIS_PROJECTION = "pointnet2_s3dis_projection"

#: Longest side of a block, 1 / ONE m.
S3DIS_SIDE = 2 * ONE

#: The same of the other network, whose unit is a block's longest side.
BUNDLED_SIDE = ONE
#: Ranks of the other anchors whose distances are inputs of the bundled network.
BUNDLED_RANKS = (1, 4, 16)
#: Cells, in voxels, on which Scaffold-GS grows anchors in addition to single voxels (arXiv 2312.00109).
GROWTH_CELLS = (16, 4)


@dataclass(frozen=True)
class SceneNetwork:
    """A frozen network and its inputs.

    Attributes:
        architecture: its architecture.
        side: longest side of a block, in units of ``1 / ONE``.
        inputs: function from a block's coordinates in voxels and in the network's units, ``[n, 3]`` each, to columns.
        mlps: function that reads its layers from its verified files.
        assets: ids of those files.
    """

    architecture: Architecture
    side: int
    inputs: Callable[[Integers, Integers], list[Integers]]
    mlps: Callable[[Mapping[str, Path]], list[FixedMlp]]
    assets: tuple[str, ...]


def scene_agnostic_features(coords: Integers, asset: str, device: torch.device | str = "cpu") -> Tensor:
    """Compute features of an anchor cloud, with the same bits on every device and any number of threads.

    Args:
        coords: ``[N, 3] int64`` distinct stored locations, in coding order.
        asset: id of the network.
        device: device of the arithmetic; the choice of points runs on the processor.

    Returns:
        ``[N, D] float64`` integers with ``ACTIVATION_BITS`` fractional bits within ``FEATURE_LIMIT``, on ``device``.

    Raises:
        ConfigError: there is no such network.
        AssetError: its files are missing or altered.
    """
    network = _network(asset)
    evaluate = PointNet(network.architecture, load_mlps(asset, device))
    features = torch.zeros((len(coords), scene_agnostic_dim(asset)), dtype=torch.float64, device=device)
    blocks = make_blocks(coords)
    surplus = 1 << (PRECISION_BITS - ACTIVATION_BITS)

    def evaluate_block(block: int) -> None:
        rows = blocks.points(block)
        points, inputs = block_inputs(network, coords[rows], device)
        values = torch.floor((evaluate(points, inputs) + surplus / 2) / surplus)
        features[torch.from_numpy(rows).to(device)] = values.clamp(-FEATURE_LIMIT, FEATURE_LIMIT)

    # Blocks are independent, and their slow parts release the interpreter lock.
    with one_torch_thread() as threads, ThreadPoolExecutor(min(threads, MAX_BLOCKS_AT_ONCE)) as pool:
        for _ in pool.map(evaluate_block, range(len(blocks))):
            pass
    return features


def scene_agnostic_digest(asset: str) -> str:
    """Return the network's SHA-256 as hex digits: that of its file, or of the list of its files' hashes.

    Raises:
        ConfigError: there is no such network.
    """
    digests = [list_assets()[part].sha256 for part in _network(asset).assets]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def load_mlps(asset: str, device: torch.device | str = "cpu") -> list[FixedMlp]:
    """Read the integer layers of a network, in order of evaluation.

    Raises:
        ConfigError: there is no such network.
        AssetError: its files are missing or altered.
    """
    network = _network(asset)
    paths = {}
    for part in network.assets:
        try:
            paths[part] = find_asset(part)
        except AssetError as fault:
            others = " or ".join(f"scene_agnostic: {name}" for name in ("''", BUNDLED) if name != asset)
            raise type(fault)(fault.message, f"{fault.fix}; or train with {others}, which need no download") from fault
    return [_moved(mlp, device) for mlp in network.mlps(paths)]


def block_inputs(network: SceneNetwork, coords: Integers, device: torch.device | str) -> tuple[Integers, Tensor]:
    """Return points ``[n, 3] int64``, in the network's units, and input channels ``[n, C] float64`` of one block.

    Args:
        network: the network.
        coords: ``[n, 3] int64`` in voxels, n > 0.
        device: device of the channels.
    """
    points = normalise(coords, network.side)
    return points, as_inputs(network.inputs(coords, points), device)


def s3dis_inputs(coords: Integers, points: Integers) -> list[Integers]:
    """Return grey, and the place inside the block's bounding box instead of the room."""
    sides = np.maximum(points.max(axis=0), 1)
    return [np.full(len(points), GREY)] * 3 + list((points * ONE // sides).T)


def lattice_inputs(coords: Integers, points: Integers) -> list[Integers]:
    """Return an anchor's growing level, distances to near anchors, size of the block; lengths as log2 of voxels."""
    shifted = coords - coords.min(axis=0)
    born = [np.where((coords % cell == 0).all(axis=1), ONE, 0) for cell in GROWTH_CELLS]
    # Sparse blocks of scenes wider than 16 bits can exceed the limit of the search, which then gets fewer bits.
    surplus = max(0, int(shifted.max()).bit_length() - (MAX_COORDINATE - 1).bit_length())
    squares = kth_nearest(shifted >> surplus, BUNDLED_RANKS) << (2 * surplus)
    # The log2 of a distance is half that of its square. A quarter of it keeps the channels around one.
    near = [log2(column) // 8 for column in np.maximum(squares, 1).T]
    size = log2(np.maximum(shifted.max(), 1).reshape(1)) // 8
    return [*born, *near, np.repeat(size, len(points))]


def log2(values: Integers) -> Integers:
    """Return log2 of positive integers with ``PRECISION_BITS`` fractional bits, linear between powers of two.

    It uses no floats.

    >>> (log2(np.array([1, 2, 3, 4])) / ONE).tolist()
    [0.0, 1.0, 1.5, 2.0]
    """
    exponent = np.zeros(len(values), np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        exponent += np.where(values >> (exponent + step) > 0, step, 0)
    return (exponent << PRECISION_BITS) + ((values << PRECISION_BITS) >> exponent) - ONE


def fold_batch_norm(parts: Mapping[str, NDArray[np.float64]], layer: str, norm: str) -> FixedLayer:
    """Fold a layer's batch norm into its weights, and round them to integers.

    Args:
        parts: a state dict as float64.
        layer, norm: names of the two in it.
    """
    # Elementwise IEEE operations round in the same way on every machine, so the integers are equal.
    gain = parts[f"{norm}.weight"] / np.sqrt(parts[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    weight = parts[f"{layer}.weight"].reshape(len(gain), -1) * gain[:, None]
    bias = (parts[f"{layer}.bias"] - parts[f"{norm}.running_mean"]) * gain + parts[f"{norm}.bias"]
    return rounded_layer(weight, bias)


def rounded_layer(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> FixedLayer:
    """Build a layer of ``[out, in]`` weights and ``[out]`` biases, integers with ``PRECISION_BITS`` fractional bits."""
    return FixedLayer(
        torch.from_numpy(np.rint(weight * ONE)), torch.from_numpy(np.rint(bias * ONE)), weight_bits=PRECISION_BITS
    )


def s3dis_body(path: Path) -> list[FixedMlp]:
    """Read all layers of the S3DIS network up to the 128 features of each point."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    parts = {name: value.to(torch.float64).numpy() for name, value in state.items()}
    mlps = []
    for level, abstraction in enumerate(S3DIS_ARCHITECTURE.abstractions, 1):
        for scale, grouping in enumerate(abstraction.groupings):
            names = [(f"sa{level}.{{}}_blocks.{scale}.{place}") for place in range(len(grouping.widths))]
            mlps.append([fold_batch_norm(parts, name.format("conv"), name.format("bn")) for name in names])
    for depth, widths in enumerate(S3DIS_ARCHITECTURE.propagations):
        name = f"fp{len(S3DIS_ARCHITECTURE.propagations) - depth}.mlp_{{}}s.{{}}"
        places = range(len(widths))
        mlps.append([fold_batch_norm(parts, name.format("conv", place), name.format("bn", place)) for place in places])
    return [FixedMlp(layers, relu_last=True) for layers in mlps]


def read_layers(path: Path) -> list[FixedLayer]:
    """Read the layers of one of the package's files: ``weight_00``, ``bias_00``, ``weight_01``, … as integers."""
    with np.load(path, allow_pickle=False) as arrays:
        return [
            FixedLayer(
                torch.from_numpy(arrays[f"weight_{number:02}"].astype(np.float64)),
                torch.from_numpy(arrays[f"bias_{number:02}"].astype(np.float64)),
                weight_bits=PRECISION_BITS,
            )
            for number in range(len(arrays.files) // 2)
        ]


def _s3dis_mlps(paths: Mapping[str, Path]) -> list[FixedMlp]:
    return [*s3dis_body(paths[S3DIS]), FixedMlp(read_layers(paths[S3DIS_PROJECTION]))]


def _bundled_mlps(paths: Mapping[str, Path]) -> list[FixedMlp]:
    layers = iter(read_layers(paths[BUNDLED]))
    widths = BUNDLED_ARCHITECTURE.mlp_widths()
    return [
        FixedMlp([next(layers) for _ in form[1:]], relu_last=number < len(widths) - 1)
        for number, form in enumerate(widths)
    ]


def _moved(mlp: FixedMlp, device: torch.device | str) -> FixedMlp:
    layers = [FixedLayer(part.weight.to(device), part.bias.to(device), part.weight_bits) for part in mlp.layers]
    return FixedMlp(layers, relu_last=mlp.relu_last)


def _network(asset: str) -> SceneNetwork:
    architecture_of(asset)
    return NETWORKS[asset]


#: The networks by id.
NETWORKS: dict[str, SceneNetwork] = {
    S3DIS: SceneNetwork(S3DIS_ARCHITECTURE, S3DIS_SIDE, s3dis_inputs, _s3dis_mlps, (S3DIS, S3DIS_PROJECTION)),
    BUNDLED: SceneNetwork(BUNDLED_ARCHITECTURE, BUNDLED_SIDE, lattice_inputs, _bundled_mlps, (BUNDLED,)),
}
