"""Scaffold-GS: its bitstream and its five verbs."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

from baselines.scaffold_gs.codec import decode_anchors, encode_anchors
from baselines.scaffold_gs.method import ScaffoldGs
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.rendering import FixedAnchors
from hemgs.coding.container import read_container, write_container
from hemgs.coding.digest import SymbolDigest
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.types import SINGLE_RATE
from hemgs.protocol import Method
from tests.tasks import task_on
from tests.unit.anchors.ball_scene import ball_scene, ring_camera
from tests.unit.codec.toy_anchors import toy_anchors

CPU = torch.device("cpu")
NUM = 20
PARAMS = {"iterations": 30, "voxel_size": 0.1, "feature_dim": 6, "num_offsets": 2}


@pytest.fixture
def anchors() -> FixedAnchors:
    torch.manual_seed(0)
    attributes = AnchorAttributes(torch.randn(NUM, 50), torch.rand(NUM, 6), torch.randn(NUM, 10, 3))
    return FixedAnchors(torch.randn(NUM, 3), attributes, AnchorHeads(50, 10), torch.randn(8, 3))


def test_file_has_the_documented_size_and_gives_the_same_bits_back(anchors: FixedAnchors, tmp_path: Path) -> None:
    path = tmp_path / "a.gsc"
    table = encode_anchors(anchors, path)
    assert table.total_bytes == path.stat().st_size
    assert table.sections["locations"] == 12 * NUM
    assert sum(table.sections[name] for name in ("locations", "features", "scalings", "offsets")) == 356 * NUM
    assert table.sections["networks"] == 4 * 13_860
    assert table.sections["settings"] == 11 + 96
    decoded, wanted = decode_anchors(path).to_bundle(), anchors.to_bundle()
    assert decoded.meta == wanted.meta
    assert decoded.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        assert torch.equal(decoded.tensors[name], tensor), name
    encode_anchors(anchors, tmp_path / "b.gsc")
    assert (tmp_path / "b.gsc").read_bytes() == path.read_bytes()


def rewritten(path: Path, **changed: bytes) -> Path:
    """The file with some sections replaced and all checksums right."""
    container = read_container(path)
    sections = {**container.sections, **changed}
    write_container(path, "scaffold_gs", sections, container.symbols_digest)
    return path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (struct.pack("<IHHHB", NUM, 50, 10, 50, 1), "settings has"),
        (struct.pack("<IHHHB", 0, 50, 10, 50, 0), "no anchors"),
        (struct.pack("<IHHHB", NUM, 0, 10, 50, 0), "feature_dim is 0"),
        (struct.pack("<IHHHB", NUM, 50, 65, 50, 0), "num_offsets is 65"),
        (struct.pack("<IHHHB", NUM, 50, 10, 60_000, 0), "hidden_dim is 60000"),
        (struct.pack("<IHHHB", 4_000_000_000, 50, 10, 50, 0), "locations has 240 bytes"),
        (b"", "settings has 0 bytes"),
    ],
)
def test_settings_that_cannot_be(anchors: FixedAnchors, tmp_path: Path, settings: bytes, message: str) -> None:
    path = tmp_path / "a.gsc"
    encode_anchors(anchors, path)
    with pytest.raises(BitstreamError, match=message):
        decode_anchors(rewritten(path, settings=settings))


def test_networks_take_no_memory_before_the_file_is_known_to_hold_them(
    anchors: FixedAnchors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gsc"
    encode_anchors(anchors, path)
    made, build = [], AnchorHeads.__init__

    def recorded(heads: AnchorHeads, *dims: int) -> None:
        build(heads, *dims)
        made.append(heads)

    monkeypatch.setattr(AnchorHeads, "__init__", recorded)
    with pytest.raises(BitstreamError, match="features has"):
        decode_anchors(rewritten(path, settings=struct.pack("<IHHHB", NUM, 1024, 64, 1024, 0)))
    assert made and all(parameter.is_meta for heads in made for parameter in heads.parameters())


def test_values_that_cannot_be(anchors: FixedAnchors, tmp_path: Path) -> None:
    path = tmp_path / "a.gsc"
    for change, message in (
        ({"offsets": torch.full((NUM, 10, 3), float("nan"))}, "not finite"),
        ({"scalings": -torch.ones(NUM, 6)}, "negative"),
    ):
        attributes = AnchorAttributes(**{**vars(anchors.attributes), **change})
        encode_anchors(FixedAnchors(anchors.positions, attributes, anchors.heads, anchors.viewpoints), path)
        with pytest.raises(BitstreamError, match=message):
            decode_anchors(path)


def test_other_damage(anchors: FixedAnchors, tmp_path: Path) -> None:
    path = tmp_path / "a.gsc"
    encode_anchors(anchors, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BitstreamError, match="networks"):
        decode_anchors(path)
    path.write_bytes(whole)
    with pytest.raises(BitstreamError, match="features"):
        decode_anchors(rewritten(path, features=b"\0" * 6))
    path.write_bytes(whole)
    with pytest.raises(BitstreamError, match="digest"):
        decode_anchors(rewritten(path, features=b"\0" * (200 * NUM)))
    path.write_bytes(whole)
    with pytest.raises(BitstreamError, match="sections are"):
        decode_anchors(rewritten(path, colors=b""))
    write_container(path, "gs3d", {}, SymbolDigest().digest())
    with pytest.raises(BitstreamError, match="'gs3d'"):
        decode_anchors(path)


def test_the_five_verbs(tmp_path: Path) -> None:
    scene, method = ball_scene(), ScaffoldGs()
    assert isinstance(method, Method)

    def trained(workdir: str, **params: object) -> dict[str, torch.Tensor]:
        return method.train(task_on(scene, tmp_path / workdir, {**PARAMS, **params}, seed=1)).tensors

    model = method.train(task_on(scene, tmp_path / "work", PARAMS, seed=1))
    again = trained("other")
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.tensors.items())
    assert torch.equal(trained("work")["features"], model.tensors["features"])  # resumed at its end

    path = tmp_path / "single.gsc"
    table = method.encode(model, SINGLE_RATE, path, device=CPU)
    assert table.total_bytes == path.stat().st_size
    renderable = method.decode(path, device=CPU)
    camera = ring_camera("new", 0.4)
    image = renderable.render(camera, scene.background)
    assert image.shape == (camera.height, camera.width, 3)
    assert torch.equal(image, FixedAnchors.from_bundle(model).render(camera, scene.background))
    assert 0.0 <= float(image.min()) < float(image.max()) <= 1.0
    assert renderable.to_splats(camera).num_gaussians > 0
    assert renderable.to_splats().sh_degree == 0


def test_a_model_has_eight_viewpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.scaffold_gs.method.train_anchors", lambda *_: toy_anchors(30))
    model = ScaffoldGs().train(task_on(ball_scene(24), tmp_path))
    assert len(model.tensors["viewpoints"].unique(dim=0)) == 8


def test_unknown_settings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="voxel_sizes"):
        ScaffoldGs().train(task_on(ball_scene(), tmp_path, {"voxel_sizes": 1}))
