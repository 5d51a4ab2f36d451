"""Sections of raw floats: both methods that use them write the same bytes as in earlier versions."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.gs3d.codec import decode_cloud, encode_cloud
from baselines.gs3d.method import Gs3d
from baselines.scaffold_gs.codec import decode_anchors, encode_anchors
from baselines.scaffold_gs.method import ScaffoldGs
from baselines.shared.raw_floats import open_sections, pack_floats, read_sections, unpack_floats, write_sections
from hemgs.anchors.attributes import AnchorAttributes
from hemgs.anchors.heads import AnchorHeads
from hemgs.anchors.rendering import FixedAnchors
from hemgs.bench.runs import origin_of
from hemgs.core.errors import BitstreamError
from hemgs.core.provenance import code_fingerprint
from hemgs.protocol import Method
from hemgs.splats.cloud import GaussianCloud

CPU = torch.device("cpu")
NUM = 5
#: SHA-256 of the files below, of format version 2. They never change.
GS3D_SHA256 = "047c0df046728006e8dfb5de0fe6ee2c1a6938df4c5ce7fffc21651d83eb5deb"
SCAFFOLD_SHA256 = "8633ea70c94a19ba7102203222f41c609395699b678bdec492f4ebd67e2efbe2"


def ramp(*shape: int) -> Tensor:
    return (torch.arange(math.prod(shape), dtype=torch.float32) / 8 - 3).reshape(shape)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_bytes_of_a_3dgs_file(tmp_path: Path) -> None:
    path = tmp_path / "cloud.gsc"
    cloud = GaussianCloud(
        means=ramp(NUM, 3), log_scales=ramp(NUM, 3), quats=ramp(NUM, 4), opacity_logits=ramp(NUM), sh=ramp(NUM, 4, 3)
    )
    encode_cloud(cloud, path)
    assert sha256(path) == GS3D_SHA256
    assert torch.equal(decode_cloud(path).sh, cloud.sh)


def test_bytes_of_a_scaffold_gs_file(tmp_path: Path) -> None:
    path, heads = tmp_path / "anchors.gsc", AnchorHeads(4, 2, 6)
    with torch.no_grad():
        for tensor in heads.state_dict().values():
            tensor.copy_(ramp(*tensor.shape))
    attributes = AnchorAttributes(ramp(NUM, 4), ramp(NUM, 6).abs(), ramp(NUM, 2, 3))
    encode_anchors(FixedAnchors(ramp(NUM, 3), attributes, heads, ramp(2, 3)), path)
    assert sha256(path) == SCAFFOLD_SHA256
    assert torch.equal(decode_anchors(path).attributes.offsets, attributes.offsets)


def test_little_endian_in_c_order_whatever_the_memory_layout() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    assert pack_floats(values).hex() == "0000803f" + "00000040" + "00004040" + "000080c0"
    assert pack_floats(values.T) == pack_floats(values.T.contiguous())
    assert torch.equal(unpack_floats(Path("f"), "x", pack_floats(values), (2, 2)), values)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\0" * 7, "f: section x has 7 bytes, 8 are needed"),
        (b"\0" * 12, "has 12 bytes"),
        (pack_floats(torch.tensor([1.0, float("inf")])), "section x holds values that are not finite"),
    ],
)
def test_sections_that_cannot_be(payload: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        unpack_floats(Path("f"), "x", payload, (2,))


def test_a_file_comes_back_or_is_refused(tmp_path: Path) -> None:
    path, tensors = tmp_path / "f.gsc", {"locations": ramp(NUM, 3), "features": ramp(NUM, 2)}
    shapes: dict[str, tuple[int, ...]] = {"locations": (NUM, 3), "features": (NUM, 2)}
    write_sections(path, "one", b"settings", tensors)
    settings, container = open_sections(path, "one")
    assert settings == b"settings"
    found = read_sections(path, container, shapes)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with pytest.raises(BitstreamError, match="written by the method 'one', not 'another'"):
        open_sections(path, "another")
    with pytest.raises(BitstreamError, match="sections are"):
        read_sections(path, container, dict(reversed(shapes.items())))
    container.sections["features"] = pack_floats(ramp(NUM, 2) + 1)
    with pytest.raises(BitstreamError, match="digest"):
        read_sections(path, container, shapes)


@pytest.mark.parametrize("method", [Gs3d(), ScaffoldGs()], ids=lambda method: method.spec.id)
def test_shared_code_is_part_of_a_methods_fingerprint(method: Method) -> None:
    package = type(method).__module__.rpartition(".")[0]
    fingerprint = origin_of(method, CPU)["code_fingerprint"]
    assert fingerprint == code_fingerprint(package, "baselines.shared")
    assert fingerprint != code_fingerprint(package)
