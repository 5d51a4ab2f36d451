from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import plyfile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemgs.core.errors import SceneError
from hemgs.core.ply import read_vertices

FIELDS = [("x", "f4"), ("y", "f8"), ("red", "u1"), ("label", "i4")]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 123456\n"


def table(num: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    vertices = np.zeros(num, FIELDS)
    vertices["x"], vertices["y"] = rng.normal(size=(2, num))
    vertices["red"], vertices["label"] = rng.integers(0, 256, num), rng.integers(-(2**31), 2**31, num)
    return vertices


def written(path: Path, vertices: np.ndarray, byte_order: str) -> Path:
    """As an independent program writes it, with another element after the vertices."""
    faces = np.array([([0, 1, 2],)], [("vertex_indices", "i4", (3,))])
    elements = [plyfile.PlyElement.describe(vertices, "vertex"), plyfile.PlyElement.describe(faces, "face")]
    plyfile.PlyData(elements, text=byte_order == "=", byte_order=byte_order, comments=["made here"]).write(path)
    return path


@pytest.mark.parametrize("byte_order", ["=", "<", ">"])
@pytest.mark.parametrize("num", [0, 1, 5])
def test_every_encoding_reads_exactly(tmp_path: Path, byte_order: str, num: int) -> None:
    vertices = table(num)
    read = read_vertices(written(tmp_path / "a.ply", vertices, byte_order), ("x", "red"), "fix")
    assert read.dtype.names == vertices.dtype.names
    for name, _ in FIELDS:
        np.testing.assert_array_equal(read[name], vertices[name])


@pytest.mark.parametrize("byte_order", ["=", "<", ">"])
def test_a_cut_file_is_refused(tmp_path: Path, byte_order: str) -> None:
    vertices = plyfile.PlyElement.describe(table(), "vertex")
    path = tmp_path / "a.ply"
    plyfile.PlyData([vertices], text=byte_order == "=", byte_order=byte_order).write(path)
    data = path.read_bytes()
    path.write_bytes(data[: -1 if byte_order != "=" else data.rindex(b" ")])
    with pytest.raises(SceneError, match=r"a\.ply: .* announced, .* found.*the fix"):
        read_vertices(path, ("x",), "the fix")


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_a_claimed_count_takes_no_memory(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.ply"
    path.write_text(
        f"ply\nformat {encoding} 1.0\nelement vertex 400000000000000\nproperty float x\nend_header\n1 2 3\n"
    )
    with pytest.raises(SceneError, match="400000000000000 vertices .* announced"):
        read_vertices(path, ("x",), "fix")


@pytest.mark.parametrize(("kind", "value"), [("uchar", "256"), ("uchar", "-1"), ("uchar", "0.5"), ("int", "1e10")])
def test_text_must_fit_its_type(tmp_path: Path, kind: str, value: str) -> None:
    path = tmp_path / "a.ply"
    path.write_text(f"ply\nformat ascii 1.0\nelement vertex 2\nproperty {kind} red\nend_header\n1\n{value}\n")
    with pytest.raises(SceneError, match="values of red that do not fit its type"):
        read_vertices(path, ("red",), "fix")


def test_text_that_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_text("ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n1\nred\n")
    with pytest.raises(SceneError, match="2 vertices of 1 numbers announced"):
        read_vertices(path, ("x",), "fix")


def test_a_file_without_an_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_text("ply\nelement vertex 1\nproperty float x\nend_header\n1\n")
    with pytest.raises(SceneError):
        read_vertices(path, ("x",), "fix")


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_text(LFS)
    with pytest.raises(SceneError, match=r"a\.ply is a Git LFS pointer.*git lfs pull"):
        read_vertices(tmp_path / "a.ply", ("x",), "fix")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from("=<>"), st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 10**6))
def test_damage_ends_in_a_clear_error_or_a_table(
    tmp_path: Path, byte_order: str, place: int, value: int, cut: int
) -> None:
    path = written(tmp_path / "fuzz.ply", table(3), byte_order)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data[: len(data) - cut % 3 * (cut % len(data))])
    with contextlib.suppress(SceneError):  # any other exception fails the test
        read_vertices(path, ("x", "y"), "fix")
