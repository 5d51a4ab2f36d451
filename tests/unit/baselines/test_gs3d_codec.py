"""The bitstream of 3DGS: sizes, exactness, and refused files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.gs3d.codec import decode_cloud, encode_cloud
from baselines.gs3d.method import Gs3d
from baselines.gs3d.params import Gs3dParams
from hemgs.coding.container import read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.core.errors import BitstreamError
from hemgs.core.types import SINGLE_RATE
from hemgs.protocol import Model
from hemgs.splats.rendering import RenderableSplats
from tests.sameness import same
from tests.unit.baselines.toy_gs3d import CPU, cloud_of, trainee_of
from tests.unit.training.toy import toy_scene


def test_the_file_is_what_the_table_says_and_the_same_each_time(trained_splats: Model, tmp_path: Path) -> None:
    table = Gs3d().encode(trained_splats, SINGLE_RATE, tmp_path / "a.gsc", device=CPU)
    Gs3d().encode(trained_splats, SINGLE_RATE, tmp_path / "b.gsc", device=CPU)
    assert (tmp_path / "a.gsc").read_bytes() == (tmp_path / "b.gsc").read_bytes()
    num = trained_splats.tensors["means"].shape[0]
    assert table.total_bytes == (tmp_path / "a.gsc").stat().st_size
    assert {name: size for name, size in table.sections.items() if name != "container"} == {
        "settings": 5,
        "locations": 12 * num,
        "colors": 192 * num,
        "opacities": 4 * num,
        "scalings": 12 * num,
        "rotations": 16 * num,
    }


def test_decoding_is_exact_and_renders_as_the_model(trained_splats: Model, tmp_path: Path) -> None:
    Gs3d().encode(trained_splats, SINGLE_RATE, tmp_path / "a.gsc", device=CPU)
    decoded = Gs3d().decode(tmp_path / "a.gsc", device=CPU)
    assert same(decoded.to_bundle(), trained_splats)
    camera = toy_scene().views[0].camera
    image = decoded.render(camera, (0.2, 0.4, 0.6))
    assert torch.equal(image, RenderableSplats.from_bundle(trained_splats).render(camera, (0.2, 0.4, 0.6)))
    assert image.shape == (8, 8, 3) and float(image.min()) >= 0.0 and float(image.max()) <= 1.0


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_all_degrees_can_be_coded(tmp_path: Path, degree: int) -> None:
    cloud = cloud_of(trainee_of(toy_scene(), Gs3dParams(sh_degree=degree)))
    encode_cloud(cloud, tmp_path / "a.gsc")
    assert torch.equal(decode_cloud(tmp_path / "a.gsc").sh, cloud.sh)


def reseal(path: Path, method: str = "gs3d", **sections: bytes | None) -> None:
    """Rewrites a bitstream with other sections and right checksums, as a hostile writer would."""
    container = read_container(path)
    changed = {**container.sections, **sections}
    kept = {name: payload for name, payload in changed.items() if payload is not None}
    write_container(path, method, kept, container.symbols_digest)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": "other"}, "written by the method 'other'"),
        ({"settings": b""}, "section settings has 0 bytes"),
        ({"settings": None}, "section settings has 0 bytes"),
        ({"settings": b"\0\0\0\0\3"}, "0 Gaussians"),
        ({"settings": b"\xff\xff\xff\xff\3"}, "section locations has .* bytes, 51539607540 are needed"),
        ({"settings": b"\x14\0\0\0\xff"}, "degree 255"),
        ({"rotations": None}, "sections are"),
        ({"other": b"x"}, "sections are"),
        ({"opacities": b"\0" * 4}, "section opacities has 4 bytes"),
        ({"opacities": b"\0\0\x80\x3f" * 20}, "digest"),
        ({"opacities": b"\0\0\xc0\x7f" * 20}, "section opacities holds values that are not finite"),
    ],
)
def test_hostile_files_give_one_clear_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.gsc"
    encode_cloud(cloud_of(trainee_of(toy_scene(), Gs3dParams())), path)
    reseal(path, **change)
    with pytest.raises(BitstreamError, match=message) as fault:
        Gs3d().decode(path, device=CPU)
    assert str(path) in str(fault.value)


def test_the_digest_covers_every_value(tmp_path: Path) -> None:
    path = tmp_path / "a.gsc"
    encode_cloud(cloud_of(trainee_of(toy_scene(), Gs3dParams(sh_degree=0))), path)
    sections = read_container(path).sections
    for name in ("locations", "colors", "opacities", "scalings", "rotations"):
        payload = bytearray(sections[name])
        payload[-4] ^= 1
        changed: dict[str, Any] = {**sections, name: bytes(payload)}
        reseal(path, **changed)
        with pytest.raises(BitstreamError, match="digest"):
            decode_cloud(path)
    digest = SymbolDigest()
    assert read_container(path).symbols_digest != digest.digest()
