"""Decoding, in this process and in a separate one."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
import torch

from hemgs.bench import decoding
from hemgs.bench.decoding import bundles_equal, file_sections, method_of_bitstream, run_decode
from hemgs.bench.isolation import child_environment, decode_alone
from hemgs.bench.runs import bitstream_path
from hemgs.coding.container import FORMAT_VERSION, MAGIC
from hemgs.core.bundle import Bundle
from hemgs.core.errors import BitstreamError, ConfigError
from tests.unit.bench.conftest import CPU, TOY
from tests.unit.bench.toy_methods import ToyAll, ToyScene

ENTRY = f"{TOY}ToyAll"


@pytest.fixture
def bitstream(toy_points: Path) -> Path:
    return bitstream_path(toy_points, "lmbda_0.0020")


def test_decoding_gives_scene_and_figures(bitstream: Path) -> None:
    renderable, stats = run_decode(bitstream, CPU, ENTRY)
    assert renderable.to_bundle().tensors["color"].shape == (3,)
    assert (stats.method, stats.num_gaussians, stats.num_anchors) == ("toy_all", 1, None)
    assert stats.file_bytes == bitstream.stat().st_size
    assert 0 < stats.decode_s < 10
    assert 0 < stats.decode_first_s < 10
    assert stats.decode_peak_mib > 50


def test_clock_shows_the_second_call_unless_the_first_was_long(
    bitstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []
    decode = ToyAll.decode

    def watched(self: ToyAll, path: Path, *, device: torch.device) -> ToyScene:
        calls.append(path)
        return decode(self, path, device=device)

    monkeypatch.setattr(ToyAll, "decode", watched)
    _, stats = run_decode(bitstream, CPU, ENTRY)
    assert len(calls) == 2
    assert stats.decode_s != stats.decode_first_s
    _, stats = run_decode(bitstream, CPU, ENTRY, repeat=False)
    assert len(calls) == 3
    assert stats.decode_s == stats.decode_first_s
    monkeypatch.setattr(decoding, "WARM_UP_LIMIT_S", 0.0)
    run_decode(bitstream, CPU, ENTRY)
    assert len(calls) == 4


def test_decoder_that_is_not_deterministic_is_refused(bitstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyAll, "decode", lambda self, path, **named: ToyScene(torch.rand(3)))
    with pytest.raises(BitstreamError, match="two different scenes"):
        run_decode(bitstream, CPU, ENTRY)


def test_method_of_a_file_that_is_not_installed(bitstream: Path) -> None:
    with pytest.raises(BitstreamError, match=r"'toy_all', which is not installed.*--method"):
        method_of_bitstream(bitstream)
    with pytest.raises(ConfigError):
        method_of_bitstream(bitstream, "no_such.module:X")


def test_a_file_does_not_choose_the_code_that_is_imported(tmp_path: Path) -> None:
    entry = b"os:getcwd"
    head = MAGIC + struct.pack("<HBB", FORMAT_VERSION, 0, len(entry)) + entry + bytes(17)
    path = tmp_path / "x.gsc"
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)))
    with pytest.raises(BitstreamError, match=r"x\.gsc: header: method id 'os:getcwd' is not allowed"):
        method_of_bitstream(path)


def test_sections_of_a_damaged_file(bitstream: Path) -> None:
    assert sum(file_sections(bitstream).values()) == bitstream.stat().st_size
    bitstream.write_bytes(bitstream.read_bytes()[:-1])
    with pytest.raises(BitstreamError, match="damaged"):
        file_sections(bitstream)


def test_bundles_are_compared_bit_for_bit() -> None:
    left = Bundle({"a": torch.tensor([0.0, float("nan")])}, {"n": 1})
    assert bundles_equal(left, Bundle({"a": torch.tensor([0.0, float("nan")])}, {"n": 1}))
    assert not bundles_equal(left, Bundle({"a": torch.tensor([-0.0, float("nan")])}, {"n": 1}))
    assert not bundles_equal(left, Bundle({"a": torch.tensor([0.0, float("nan")], dtype=torch.float64)}, {"n": 1}))
    assert not bundles_equal(left, Bundle({"a": torch.tensor([[0.0, float("nan")]])}, {"n": 1}))
    assert not bundles_equal(left, Bundle({"b": torch.tensor([0.0, float("nan")])}, {"n": 1}))
    assert not bundles_equal(left, Bundle({"a": torch.tensor([0.0, float("nan")])}, {"n": 2}))


def test_process_of_its_own_gives_the_same_scene(bitstream: Path) -> None:
    here, _ = run_decode(bitstream, CPU, ENTRY)
    with decode_alone(bitstream, CPU, ENTRY) as decoded:
        assert bundles_equal(here.to_bundle(), decoded.renderable.to_bundle())
        assert decoded.stats.num_gaussians == 1
        assert decoded.stats.file_bytes == bitstream.stat().st_size


def test_child_sees_no_variables_of_the_caller_but_those_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_AT", "/secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PYTHONPATH", f"relative{os.pathsep}/absolute")
    environment = child_environment()
    assert "MODEL_AT" not in environment
    assert environment["OMP_NUM_THREADS"] == "3"
    folders = environment["PYTHONPATH"].split(os.pathsep)
    assert str(Path("relative").resolve()) in folders
    assert all(Path(folder).is_absolute() for folder in folders)
    assert all(Path(folder).is_absolute() for folder in environment["HEMGS_ASSETS"].split(os.pathsep))


def test_fault_in_the_child_is_an_error_here(bitstream: Path) -> None:
    bitstream.write_bytes(bitstream.read_bytes()[:40])
    with (
        pytest.raises(BitstreamError, match=str(bitstream)) as caught,
        decode_alone(bitstream, CPU, ENTRY),
    ):
        pass
    assert not str(caught.value).startswith("error:")


def test_child_that_hangs_is_stopped(bitstream: Path) -> None:
    with pytest.raises(BitstreamError, match="more than 0 s"), decode_alone(bitstream, CPU, ENTRY, timeout_s=0.01):
        pass
