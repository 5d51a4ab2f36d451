"""The frozen networks: compared with a float oracle and with golden values, and independent of batches and threads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hemgs.coding.fixed_point import ACTIVATION_BITS, FixedLayer, FixedMlp
from hemgs.core.assets import find_asset, list_assets
from hemgs.core.errors import AssetError, ConfigError
from hemgs.pointnet import features as pointnet
from hemgs.pointnet.architectures import ONE, PRECISION_BITS, Abstraction, Architecture, Grouping
from hemgs.pointnet.network import PointNet
from hemgs.pointnet.sets import make_blocks
from tools.anchor_clouds import make_cloud


def cloud(num: int, seed: int = 0) -> np.ndarray:
    return make_cloud(np.random.default_rng(seed), num).coords


def paraboloid() -> np.ndarray:
    """6000 anchors on three lattices, by integer arithmetic: golden values must not depend on a random generator."""
    index = np.arange(20000)
    x, y = index * 7919 % 331 - 160, index * 10473 % 347 - 170
    coords = np.stack([x, y, (x * x + y * y) // 400 + index % 3], axis=1)
    cell = np.where(index % 50 == 0, 16, np.where(index % 5 == 0, 4, 1))[:, None]
    return np.unique((coords + cell // 2) // cell * cell, axis=0)[::3][:6000]


@pytest.fixture
def s3dis(captures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEMGS_ASSETS", str(captures / "assets"))
    if not (captures / "assets" / list_assets()[pointnet.S3DIS].file).is_file():
        pytest.skip(f"asset {pointnet.S3DIS} is not at {captures / 'assets'}")
    return find_asset(pointnet.S3DIS)


class Oracle:
    """The published forward pass in float64 on the published weights: metres, distances, batch norms, no integers."""

    def __init__(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.state = {name: value.double() for name, value in state.items()}

    def layer(self, values: Tensor, conv: str, norm: str) -> Tensor:
        state = self.state
        values = F.linear(values, state[f"{conv}.weight"].flatten(1), state[f"{conv}.bias"])
        flat = values.reshape(-1, values.shape[-1])
        mean, variance, weight, bias = (
            state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.relu(F.batch_norm(flat, mean, variance, weight, bias, eps=1e-5)).view_as(values)

    def abstract(self, name: str, xyz: Tensor, features: Tensor, num: int, radii: tuple[float, float]) -> tuple:
        chosen = [0]
        nearest = (xyz - xyz[0]).square().sum(1)
        while len(chosen) < min(num, len(xyz)):
            nearest[chosen[-1]] = -1
            chosen.append(int(nearest.argmax()))
            nearest = torch.minimum(nearest, (xyz - xyz[chosen[-1]]).square().sum(1))
        centres = xyz[chosen]
        distances = torch.cdist(centres, xyz, compute_mode="donot_use_mm_for_euclid_dist")
        pooled = []
        for scale, (radius, count) in enumerate(zip(radii, (16, 32), strict=True)):
            rows = []
            for row in distances:
                inside = torch.nonzero(row <= radius).flatten()[:count]
                rows.append(torch.cat([inside, inside[:1].expand(count - len(inside))]))
            index = torch.stack(rows)
            values = torch.cat([features[index], xyz[index] - centres[:, None]], dim=2)
            for place in range(3):
                values = self.layer(values, f"{name}.conv_blocks.{scale}.{place}", f"{name}.bn_blocks.{scale}.{place}")
            pooled.append(values.amax(dim=1))
        return centres, torch.cat(pooled, dim=1)

    def propagate(self, name: str, fine: Tensor, coarse: Tensor, skip: Tensor, values: Tensor) -> Tensor:
        distances = torch.cdist(fine, coarse, compute_mode="donot_use_mm_for_euclid_dist").square()
        nearest, index = (part[:, :3] for part in distances.sort(dim=1, stable=True))
        weight = 1 / nearest.clamp_min(1e-10)
        weight = weight / weight.sum(1, keepdim=True)
        values = torch.cat([skip, (values[index] * weight[:, :, None]).sum(1)], dim=1)
        for place in range(2):
            values = self.layer(values, f"{name}.mlp_convs.{place}", f"{name}.mlp_bns.{place}")
        return values

    def __call__(self, xyz: Tensor) -> Tensor:
        inputs = torch.cat([torch.full_like(xyz, 0.5), xyz / xyz.amax(0).clamp_min(1 / ONE)], dim=1)
        xyz1, first = self.abstract("sa1", xyz, inputs, 1024, (410 / ONE, 819 / ONE))
        xyz2, second = self.abstract("sa2", xyz1, first, 256, (819 / ONE, 1638 / ONE))
        xyz3, third = self.abstract("sa3", xyz2, second, 64, (1638 / ONE, 3277 / ONE))
        second = self.propagate("fp3", xyz2, xyz3, second, third)
        first = self.propagate("fp2", xyz1, xyz2, first, second)
        return self.propagate("fp1", xyz, xyz1, inputs, first)


def integer_body(mlps: list[FixedMlp]) -> PointNet:
    """The S3DIS network up to its 128 features."""
    identity = FixedLayer(torch.eye(128, dtype=torch.float64) * ONE, torch.zeros(128).double(), PRECISION_BITS)
    published = pointnet.S3DIS_ARCHITECTURE
    architecture = Architecture(published.inputs, published.abstractions, published.propagations, (128,))
    return PointNet(architecture, [*mlps, FixedMlp([identity])])


#: Root mean square error over the features' root mean square. Measured .0022 (5 anchors) to .0041; 8-bit weights: .03.
TOLERANCE = 0.008


@pytest.mark.slow
@pytest.mark.parametrize("num", [5, 700, 4096])
def test_s3dis_integers_follow_the_float_network(s3dis: Path, num: int) -> None:
    mlps = pointnet.s3dis_body(s3dis)
    coords = cloud(num, seed=num)
    coords = coords[make_blocks(coords).points(0)]
    points, inputs = pointnet.block_inputs(pointnet.NETWORKS[pointnet.S3DIS], coords, "cpu")
    expected = Oracle(s3dis)(torch.from_numpy(points).double() / ONE)

    def error(layers: list[FixedMlp]) -> float:
        found = integer_body(layers)(points, inputs) / ONE
        return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())

    assert error(mlps) < TOLERANCE
    if num > 5:
        # Coordinates before features instead of after them, in the first and in the second level.
        assert error([_rolled(mlps[0]), *mlps[1:]]) > 5 * TOLERANCE
        assert error([*mlps[:2], _rolled(mlps[2]), *mlps[3:]]) > 5 * TOLERANCE


def _rolled(mlp: FixedMlp) -> FixedMlp:
    first, *others = mlp.layers
    return FixedMlp([FixedLayer(first.weight.roll(3, dims=1), first.bias, first.weight_bits), *others], relu_last=True)


def test_s3dis_integers_are_those_of_the_format(s3dis: Path) -> None:
    """Folding batch norms rounds in the same way on every machine; bitstreams depend on it."""
    digest = hashlib.sha256()
    for mlp in pointnet.load_mlps(pointnet.S3DIS):
        for part in mlp.stored():
            digest.update(part.numpy().astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "d6c9c0af06b3693d"


def test_s3dis_features(s3dis: Path) -> None:
    features = pointnet.scene_agnostic_features(paraboloid(), pointnet.S3DIS)
    _check_form(features, pointnet.S3DIS)
    assert features[::1500, :4].to(torch.int64).tolist() == [
        [-628, 554, 345, -193],
        [-330, -16, 406, -585],
        [-376, -358, 838, 431],
        [143, 128, 520, -254],
    ]


def test_bundled_features() -> None:
    """These integers are part of the format: files that were made with others cannot be decoded any more."""
    features = pointnet.scene_agnostic_features(paraboloid(), pointnet.BUNDLED)
    _check_form(features, pointnet.BUNDLED)
    assert features[::1500, :4].to(torch.int64).tolist() == [
        [261, -862, -470, -432],
        [54, -183, -207, -159],
        [-225, -5, -54, -252],
        [-235, 34, -233, 122],
    ]
    assert hashlib.sha256(features.numpy().astype("<i8").tobytes()).hexdigest()[:16] == "6261c4ea22167c73"


def _check_form(features: Tensor, asset: str) -> None:
    assert features.dtype == torch.float64
    assert features.shape[1] == pointnet.scene_agnostic_dim(asset) == 32
    assert torch.equal(features, features.round())
    assert features.abs().max() <= 8 << ACTIVATION_BITS
    spread = features.std(dim=0) / (1 << ACTIVATION_BITS)
    assert spread.min() > 0.05
    assert spread.max() < 3


@pytest.mark.parametrize("num", [0, 1, 2, 5])
def test_small_clouds(num: int) -> None:
    coords = np.array([[9, 9, 9], [0, 3, 1], [16, 0, 32], [1, 0, 0], [4, 4, 4]])[:num]
    features = pointnet.scene_agnostic_features(coords, pointnet.BUNDLED)
    assert features.shape == (num, 32)
    assert bool(torch.isfinite(features).all())


def test_features_do_not_depend_on_threads_order_place_or_other_blocks() -> None:
    coords = paraboloid()
    expected = pointnet.scene_agnostic_features(coords, pointnet.BUNDLED)
    permutation = np.random.default_rng(0).permutation(len(coords))
    shuffled = pointnet.scene_agnostic_features(coords[permutation], pointnet.BUNDLED)
    assert torch.equal(shuffled, expected[torch.from_numpy(permutation)])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        # Growth cells count from the origin, so moving a cloud by whole cells has no effect.
        moved = pointnet.scene_agnostic_features(coords - 16 * 77, pointnet.BUNDLED)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(moved, expected)
    blocks = make_blocks(coords)
    assert len(blocks) == 2
    network = pointnet.NETWORKS[pointnet.BUNDLED]
    evaluate = PointNet(network.architecture, pointnet.load_mlps(pointnet.BUNDLED))
    surplus = 1 << (PRECISION_BITS - ACTIVATION_BITS)
    for block in (1, 0):
        rows = blocks.points(block)
        values = evaluate(*pointnet.block_inputs(network, coords[rows], "cpu"))
        alone = values.to(torch.int64).add(surplus // 2).div(surplus, rounding_mode="floor")
        assert torch.equal(alone.clamp(-8 << ACTIVATION_BITS, 8 << ACTIVATION_BITS).double(), expected[rows])


def test_bundled_inputs_by_hand() -> None:
    coords = np.array([[0, 0, 0], [4, 0, 0], [5, 0, 0]])
    columns = pointnet.lattice_inputs(coords, coords)
    assert [column.tolist() for column in columns[:2]] == [[ONE, 0, 0], [ONE, ONE, 0]]
    # Distances 4 and 5, 1 and 4, 1 and 5: log2 of the square over 8.
    assert columns[2].tolist() == [ONE // 2, 0, 0]
    assert columns[3].tolist() == [(4 * ONE + ONE * 9 // 16) // 8, ONE // 2, (4 * ONE + ONE * 9 // 16) // 8]
    assert columns[5].tolist() == [(2 * ONE + ONE // 4) // 8] * 3


def test_blocks_wider_than_the_search_get_the_same_distances() -> None:
    """An octree holds scenes whose sparse blocks span more than the 18 bits that squares of distances have room for."""
    coords = np.array([[0, 0, 0], [64, 0, 0], [0, 4096, 0], [0, 0, (1 << 18) - 1]])
    wide = np.where(coords == (1 << 18) - 1, (1 << 21) - 1, coords)
    near, far = (pointnet.lattice_inputs(each, each) for each in (coords, wide))
    assert near[2][:2].tolist() == far[2][:2].tolist()
    assert (near[-1] < far[-1]).all()
    assert torch.isfinite(pointnet.scene_agnostic_features(wide, pointnet.BUNDLED)).all()


def test_log2_is_exact_at_powers_of_two_and_monotone() -> None:
    powers = np.array([1 << bit for bit in range(39)], np.int64)
    assert (pointnet.log2(powers) == np.arange(39) * ONE).all()
    values = np.arange(1, 5000)
    assert (np.diff(pointnet.log2(values)) >= 0).all()
    assert np.abs(pointnet.log2(values) / ONE - np.log2(values)).max() < 0.087


def test_network_checks_its_layers() -> None:
    layer = FixedLayer(torch.ones(4, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))
    architecture = Architecture(1, (Abstraction(8, (Grouping(5, 4, (4,)),)),), ((4,),), (2,))
    with pytest.raises(ValueError, match="widths"):
        PointNet(architecture, [FixedMlp([layer])] * 3)


def test_parameters_and_size_of_the_bundled_network() -> None:
    layers = [layer for mlp in pointnet.load_mlps(pointnet.BUNDLED) for layer in mlp.layers]
    assert sum(layer.weight.numel() + layer.bias.numel() for layer in layers) <= 60_000
    assert list_assets()[pointnet.BUNDLED].size_bytes < 1 << 20


def test_digests_name_all_files_of_a_network() -> None:
    assert pointnet.scene_agnostic_digest(pointnet.BUNDLED) == list_assets()[pointnet.BUNDLED].sha256
    digest = pointnet.scene_agnostic_digest(pointnet.S3DIS)
    assert len(bytes.fromhex(digest)) == 32
    assert digest not in {asset.sha256 for asset in list_assets().values()}


def test_unknown_network() -> None:
    for call in (pointnet.scene_agnostic_dim, pointnet.scene_agnostic_digest, pointnet.load_mlps):
        with pytest.raises(ConfigError, match="pointnet2_bundled"):
            call("pointnet3")


def test_missing_and_altered_assets_name_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEMGS_ASSETS", str(tmp_path))
    coords = np.array([[0, 0, 0], [1, 2, 3]])
    with pytest.raises(AssetError, match="pointnet2_bundled, which need no download") as caught:
        pointnet.scene_agnostic_features(coords, pointnet.S3DIS)
    assert "scene_agnostic: ''" in str(caught.value)
    name = list_assets()[pointnet.BUNDLED].file
    data = bytearray(find_asset(pointnet.BUNDLED).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AssetError, match="altered") as caught:
        pointnet.scene_agnostic_features(coords, pointnet.BUNDLED)
    assert "scene_agnostic: ''" in str(caught.value)
