from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemgs.core.errors import HemgsError, SceneError
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.ply import read_ply, write_ply

SPLAT_TRANSFORM = shutil.which("splat-transform")


def make_cloud(num: int = 7, degree: int = 3, seed: int = 0) -> GaussianCloud:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((num, 3), (num, 3), (num, 4), (num,), (num, (degree + 1) ** 2, 3))
    return GaussianCloud(*(torch.randn(shape, generator=generator) for shape in shapes))


def same(a: GaussianCloud, b: GaussianCloud) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("num", [0, 1, 50])
def test_round_trip_is_exact(tmp_path: Path, degree: int, num: int) -> None:
    cloud = make_cloud(num, degree)
    write_ply(tmp_path / "a.ply", cloud)
    assert same(read_ply(tmp_path / "a.ply"), cloud)


def test_an_independent_reader_finds_the_standard_layout(tmp_path: Path) -> None:
    cloud = make_cloud()
    write_ply(tmp_path / "a.ply", cloud)
    vertex = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"]
    rest = [f"f_rest_{index}" for index in range(45)]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity"]
    names += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert [entry.name for entry in vertex.properties] == names
    assert len(names) == 62
    np.testing.assert_array_equal(vertex["y"], cloud.means[:, 1])
    np.testing.assert_array_equal(vertex["f_dc_2"], cloud.sh[:, 0, 2])
    np.testing.assert_array_equal(vertex["f_rest_0"], cloud.sh[:, 1, 0])
    np.testing.assert_array_equal(vertex["f_rest_14"], cloud.sh[:, 15, 0])
    np.testing.assert_array_equal(vertex["f_rest_15"], cloud.sh[:, 1, 1])
    np.testing.assert_array_equal(vertex["opacity"], cloud.opacity_logits)
    np.testing.assert_array_equal(vertex["scale_2"], cloud.log_scales[:, 2])
    np.testing.assert_array_equal(vertex["rot_0"], cloud.quats[:, 0])
    assert not vertex["nx"].any()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_further_bands_are_zero_and_none_is_lost(degree: int) -> None:
    cloud = make_cloud(4, degree)
    wider = cloud.with_degree(3)
    assert wider.sh_degree == 3
    num = (degree + 1) ** 2
    assert torch.equal(wider.sh[:, :num], cloud.sh)
    assert not wider.sh[:, num:].any()
    assert same(cloud.with_degree(0), cloud)


@pytest.mark.skipif(
    SPLAT_TRANSFORM is None, reason="splat-transform is not installed (npm i -g @playcanvas/splat-transform)"
)
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_an_independent_converter_reads_every_value(tmp_path: Path, degree: int) -> None:
    """PlayCanvas' converter, to a table of all it has read, and to the compressed format of its viewer."""
    cloud = make_cloud(50, degree)
    cloud.quats[:] = torch.nn.functional.normalize(cloud.quats)
    write_ply(tmp_path / "a.ply", cloud)
    for name in ("a.csv", "a.compressed.ply"):
        command = [str(SPLAT_TRANSFORM), str(tmp_path / "a.ply"), str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / name).stat().st_size > 0
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == cloud.num_gaussians
    wanted = {"x": cloud.means[:, 0], "f_dc_1": cloud.sh[:, 0, 1], "opacity": cloud.opacity_logits}
    wanted |= {f"scale_{axis}": cloud.log_scales[:, axis] for axis in range(3)}
    wanted |= {f"rot_{part}": cloud.quats[:, part] for part in range(4)}
    per_channel = (degree + 1) ** 2 - 1
    for channel in range(3):
        for index in range(per_channel):
            wanted[f"f_rest_{channel * per_channel + index}"] = cloud.sh[:, 1 + index, channel]
    assert len(rows[0]) == 17 + 3 * per_channel
    for name, column in wanted.items():
        np.testing.assert_array_equal(np.array([row[name] for row in rows], np.float32), column, err_msg=name)


def test_equal_clouds_give_equal_files(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", make_cloud())
    write_ply(tmp_path / "b.ply", make_cloud())
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def test_a_real_file_reads_as_an_independent_reader_reads_it(captures: Path) -> None:
    path = captures / "splats" / "plush_dog_15105.ply"
    cloud = read_ply(path)
    vertex = plyfile.PlyData.read(path)["vertex"]
    assert cloud.num_gaussians == 15105 and cloud.sh_degree == 3
    np.testing.assert_array_equal(cloud.means[:, 2], vertex["z"])
    np.testing.assert_array_equal(cloud.sh[:, 4, 1], vertex["f_rest_18"])
    np.testing.assert_array_equal(cloud.quats[:, 3], vertex["rot_3"])
    np.testing.assert_array_equal(cloud.opacity_logits, vertex["opacity"])


def test_a_real_file_survives_reading_and_writing(captures: Path, tmp_path: Path) -> None:
    path = captures / "splats" / "plush_dog_15105.ply"
    write_ply(tmp_path / "copy.ply", read_ply(path))
    old, new = (plyfile.PlyData.read(file)["vertex"] for file in (path, tmp_path / "copy.ply"))
    for entry in old.properties:
        if entry.name not in ("nx", "ny", "nz"):
            np.testing.assert_array_equal(old[entry.name], new[entry.name])


def test_further_properties_and_other_orders_are_read(captures: Path) -> None:
    cloud = read_ply(captures / "splats" / "fruit_drops_minimal.ply")
    assert cloud.num_gaussians == 4721 and torch.isfinite(cloud.means).all()


def test_types_and_order_may_differ(tmp_path: Path) -> None:
    cloud = make_cloud(5, 0)
    write_ply(tmp_path / "a.ply", cloud)
    data = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"].data
    names = [name for name in data.dtype.names if not name.startswith("n")][::-1]
    table = np.zeros(5, dtype=[("red", "u1"), *((name, "<f8") for name in names)])
    for name in names:
        table[name] = data[name]
    path = tmp_path / "b.ply"
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")], byte_order="<").write(path)
    assert same(read_ply(path), cloud)


def test_a_compressed_dialect_is_refused_by_name(captures: Path) -> None:
    with pytest.raises(SceneError, match="first element is 'chunk'"):
        read_ply(captures / "splats" / "biker.compressed.ply")


HEADER = b"ply\nformat binary_little_endian 1.0\n"


@pytest.mark.parametrize(
    "head, reason",
    [
        (b"", "not a PLY"),
        (b"ply\n" + b"comment x\n" * 20_000, "header is cut"),
        (b"ply\nformat middle 1.0\nelement vertex 1\nend_header\n", "'format middle 1.0' is not understood"),
        (HEADER + b"element vertex 1\nproperty list uchar int x\nend_header\n", "is a list"),
        (HEADER + b"element vertex 1\nproperty float x\nproperty float x\nend_header\n", "twice"),
        (HEADER + b"element vertex 1\nproperty quad x\nend_header\n", "unknown"),
        (HEADER + b"element vertex -3\nend_header\n", "not understood"),
        (HEADER + b"element vertex " + b"9" * 5000 + b"\nend_header\n", "not understood"),
        (HEADER + b"element vertex 2\nproperty float x\nend_header\n", "missing: y, z, f_dc_0"),
        (HEADER + b"end_header\n", "missing"),
    ],
)
def test_hostile_headers(tmp_path: Path, head: bytes, reason: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(head + b"\0" * 100)
    with pytest.raises(SceneError, match=reason) as fault:
        read_ply(path)
    assert str(path) in str(fault.value)


def test_a_claimed_size_is_checked_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, make_cloud(4))
    path.write_bytes(path.read_bytes().replace(b"vertex 4\n", b"vertex 400000000000000\n"))
    with pytest.raises(SceneError, match="400000000000000 vertices of 248 bytes announced, 992 bytes found"):
        read_ply(path)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, make_cloud(4))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SceneError, match="991 bytes found"):
        read_ply(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    cloud = make_cloud(4)
    cloud.quats[2, 1] = value
    write_ply(tmp_path / "a.ply", cloud)
    with pytest.raises(SceneError, match="rot_0 to rot_3 that are not finite"):
        read_ply(tmp_path / "a.ply")


def test_a_number_of_coefficients_that_fits_no_degree_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, make_cloud(4, 1))
    path.write_bytes(path.read_bytes().replace(b"f_rest_8\n", b"f_none_8\n"))
    with pytest.raises(SceneError, match="8 f_rest properties; 0, 9, 24, 45 are allowed"):
        read_ply(path)


def test_a_missing_file_is_a_scene_error(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="No such file"):
        read_ply(tmp_path / "none.ply")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 10**6))
def test_damage_never_ends_in_anything_but_a_clear_error(tmp_path: Path, place: int, value: int, cut: int) -> None:
    path = tmp_path / "fuzz.ply"
    write_ply(path, make_cloud(3, 0))
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data[: len(data) - cut % 3 * (cut % len(data))])
    try:
        cloud = read_ply(path)
    except HemgsError:
        return
    assert torch.isfinite(cloud.means).all()
