"""Make the package file of ``pointnet2_bundled``: ``python -m tools.make_pointnet [FILE]``.

A small PointNet++ learns on procedural anchor clouds and nothing else. It predicts properties that an anchor's
attributes depend on: position and curvature of the surface below it, density of the anchors around it, and its level of
growing. Some anchors are held out, so that the network has to estimate the true density. Linear heads, which are not
stored, predict the targets from its 32 outputs.

The run takes about six minutes on one core. Training is deterministic on one machine, but another may round otherwise.
The file in the package is the one that counts: ``hemgs/assets/registry.yaml`` contains its hash.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from hemgs.coding.fixed_point import FixedLayer
from hemgs.pointnet import features as pointnet
from hemgs.pointnet.architectures import ONE, Grouping
from hemgs.pointnet.sets import (
    INTERPOLATION_BITS,
    Integers,
    ball_query,
    farthest_points,
    kth_nearest,
    make_blocks,
    three_nearest,
)
from tools.anchor_clouds import AnchorCloud, make_cloud
from tools.make_projection import package_file, write_layers

SEED = 20241127
NUM_CLOUDS = 160
#: log2 of the least and greatest number of anchors in a cloud.
CLOUD_SIZES = (7.0, 13.3)
NUM_STEPS = 6000
LEARNING_RATE = 2e-3
#: One block out of this many is not trained on, but measured for the printed figures.
HELD_OUT_BLOCKS = 10

ARCHITECTURE = pointnet.BUNDLED_ARCHITECTURE
NETWORK = pointnet.NETWORKS[pointnet.BUNDLED]


@dataclass(frozen=True)
class Example:
    """One block: inputs ``[n, C]``, targets ``[n, T]``, and the points that the integer network chooses.

    Attributes:
        groups: neighbours ``[m, k]`` and their relative coordinates ``[m, k, 3]``, a level each.
        blends: indices and weights ``[n, 3]`` of the interpolation back to each level's points.
    """

    inputs: Tensor
    targets: Tensor
    groups: list[tuple[Tensor, Tensor]]
    blends: list[tuple[Tensor, Tensor]]


class FloatPointNet(nn.Module):
    """The network while it is trained: the architecture's layers over an example's choices."""

    def __init__(self, num_targets: int) -> None:
        super().__init__()
        mlps = [[nn.Linear(*pair) for pair in pairwise(widths)] for widths in ARCHITECTURE.mlp_widths()]
        for layer in (layer for mlp in mlps for layer in mlp):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        for level, mlp in zip(ARCHITECTURE.abstractions, mlps, strict=False):
            # Relative coordinates reach the radius: start as if they reached one.
            mlp[0].weight.data[:, -3:] *= ONE / _only(level.groupings).radius
        self.mlps = mlps
        self.layers = nn.ModuleList(layer for mlp in mlps for layer in mlp)
        self.heads = nn.Linear(ARCHITECTURE.head[-1], num_targets)

    def forward(self, example: Example) -> Tensor:
        """``[n, D]`` features."""
        mlps = iter(self.mlps)
        features = [example.inputs]
        for index, relative in example.groups:
            values = _run(next(mlps), torch.cat([features[-1][index], relative], dim=2))
            features.append(values.amax(dim=1))
        values = features.pop()
        for index, weight in reversed(example.blends):
            blended = (values[index] * weight[:, :, None]).sum(dim=1)
            values = _run(next(mlps), torch.cat([features.pop(), blended], dim=1))
        return _run(next(mlps), values, relu_last=False)


def _run(layers: Sequence[nn.Linear], values: Tensor, *, relu_last: bool = True) -> Tensor:
    for number, layer in enumerate(layers):
        values = layer(values)
        values = torch.relu(values) if relu_last or number < len(layers) - 1 else values
    return values


def _only(groupings: tuple[Grouping, ...]) -> Grouping:
    (grouping,) = groupings
    return grouping


def make_examples(rng: np.random.Generator) -> list[Example]:
    """Blocks of procedural clouds of all sizes."""
    examples = []
    for _ in range(NUM_CLOUDS):
        cloud = make_cloud(rng, int(2.0 ** rng.uniform(*CLOUD_SIZES)))
        targets = cloud_targets(cloud)
        blocks = make_blocks(cloud.coords)
        for block in range(len(blocks)):
            rows = blocks.points(block)
            examples.append(_example(cloud.coords[rows], targets[rows]))
    return examples


def _example(coords: Integers, targets: NDArray[np.float64]) -> Example:
    points, inputs = pointnet.block_inputs(NETWORK, coords, "cpu")
    groups, blends = [], []
    for level in ARCHITECTURE.abstractions:
        grouping = _only(level.groupings)
        centres = farthest_points(points, level.centres)
        index = ball_query(points, centres, grouping.radius, grouping.neighbours)
        relative = (points[index] - points[centres][:, None]) / ONE
        groups.append((torch.from_numpy(index), torch.from_numpy(relative).float()))
        nearest, weights = three_nearest(points, points[centres])
        blends.append((torch.from_numpy(nearest), torch.from_numpy(weights / (1 << INTERPOLATION_BITS)).float()))
        points = points[centres]
    return Example((inputs / ONE).float(), torch.from_numpy(targets).float(), groups, blends)


def cloud_targets(cloud: AnchorCloud) -> NDArray[np.float64]:
    """Compute the training targets of each anchor, ``[N, T]``."""
    surface, coords = cloud.surface, cloud.coords.astype(np.float64)
    normals = surface.normals
    outer = np.stack([normals[:, i] * normals[:, j] for i in range(3) for j in range(i, 3)], axis=1)
    bent = np.log2(1 + 64 * surface.curvatures)
    away = np.log2(1 + np.linalg.norm(coords - surface.points, axis=1))
    born = np.stack([cloud.cells == 16, cloud.cells == 4, np.log2(cloud.cells)], axis=1)
    near = 0.5 * np.log2(np.maximum(kth_nearest(cloud.coords - cloud.coords.min(axis=0), pointnet.BUNDLED_RANKS), 1))
    return np.concatenate([outer, bent, away[:, None], born, near, _occupancy(cloud), _shape(cloud)], axis=1)


def _occupancy(cloud: AnchorCloud) -> NDArray[np.float64]:
    """Count held-out anchors in cells of 4, 16 and 64 voxels and in octants; measure distances to the nearest."""
    tree, coords = cKDTree(cloud.held_out), cloud.coords
    counts = [tree.query_ball_point(coords, cell / 2, p=np.inf, return_length=True) for cell in (4, 16, 64)]
    distances, _ = tree.query(coords, k=[1, 4])
    far = np.ptp(coords, axis=0).max() + 1
    octants = [
        tree.query_ball_point(coords + 8 * np.array(signs) - 4, 4, p=np.inf, return_length=True)
        for signs in np.ndindex(2, 2, 2)
    ]
    return np.concatenate(
        [np.log2(1 + np.stack(counts + octants, axis=1)), np.log2(np.maximum(np.minimum(distances, far), 0.5))], axis=1
    )


def _shape(cloud: AnchorCloud) -> NDArray[np.float64]:
    """Linearity, planarity and log size of the neighbourhood, including held-out anchors."""
    everything = np.concatenate([cloud.coords, cloud.held_out]).astype(np.float64)
    _, index = cKDTree(everything).query(cloud.coords, k=min(24, len(everything)))
    around = everything[index] - everything[index].mean(axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.einsum("nki,nkj->nij", around, around) / around.shape[1])[:, ::-1]
    values = np.sqrt(np.maximum(values, 1e-3))
    first, second, third = values.T
    return np.stack([(first - second) / first, (second - third) / first, np.log2(first), np.log2(third)], axis=1)


def train(examples: Sequence[Example]) -> tuple[FloatPointNet, float]:
    """Train a network.

    Returns:
        The network, whose outputs have mean 0 and variance 1, and the mean R² of its heads on held-out blocks.
    """
    torch.manual_seed(SEED)
    kept = [example for number, example in enumerate(examples) if number % HELD_OUT_BLOCKS]
    targets = torch.cat([example.targets for example in kept])
    mean, spread = targets.mean(dim=0), targets.std(dim=0)
    network = FloatPointNet(targets.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, NUM_STEPS, pct_start=0.1)
    # Small blocks are cheap and count less.
    weights = torch.tensor([math.sqrt(len(example.inputs)) for example in kept])
    draws = torch.multinomial(weights, NUM_STEPS, replacement=True).tolist()
    for draw in draws:
        example = kept[draw]
        features = network(example)
        loss = (network.heads(features) - (example.targets - mean) / spread).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        score = _score(network, [examples[number] for number in range(0, len(examples), HELD_OUT_BLOCKS)], mean, spread)
        _standardise(network, torch.cat([network(example) for example in kept]))
    return network, score


def _score(network: FloatPointNet, examples: Sequence[Example], mean: Tensor, spread: Tensor) -> float:
    found = torch.cat([network.heads(network(example)) for example in examples])
    expected = (torch.cat([example.targets for example in examples]) - mean) / spread
    scores = 1 - (found - expected).square().mean(dim=0) / expected.var(dim=0)
    sys.stdout.write(f"R2 of the heads: {[round(score, 2) for score in scores.tolist()]}\n")
    return float(scores.mean())


def _standardise(network: FloatPointNet, features: Tensor) -> None:
    last = network.mlps[-1][-1]
    spread = features.std(dim=0).clamp_min(1e-3)
    last.weight.data /= spread[:, None]
    last.bias.data = (last.bias.data - features.mean(dim=0)) / spread


def rounded(network: FloatPointNet) -> list[FixedLayer]:
    """All layers as integers, in order of evaluation."""
    return [
        pointnet.rounded_layer(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for mlp in network.mlps
        for layer in mlp
    ]


def main() -> None:
    """Write the file and print its hash."""
    started = time.monotonic()
    torch.set_num_threads(1)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else package_file(pointnet.BUNDLED)
    examples = make_examples(np.random.default_rng(SEED))
    sys.stdout.write(f"{len(examples)} blocks after {time.monotonic() - started:.0f} s\n")
    network, score = train(examples)
    sys.stdout.write(f"mean R2 {score:.3f} after {time.monotonic() - started:.0f} s\n")
    write_layers(path, rounded(network))


if __name__ == "__main__":
    main()
