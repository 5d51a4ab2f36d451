"""Files from elsewhere that no encoder writes: decoders of all methods refuse them with one clear error."""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.gs3d.codec import encode_cloud
from baselines.scaffold_gs.codec import encode_anchors
from hemgs.bench.registry import get_method
from hemgs.cli import main
from hemgs.coding.container import Container, read_container, write_container
from hemgs.coding.locations import encode_locations
from hemgs.coding.masks import encode_masks
from hemgs.coding.names import ADAPTIVE, OCTREE, RAW16, STATIC
from hemgs.core.errors import BitstreamError, TrainingError
from hemgs.protocol import Renderable
from tests.golden.stored_models import FOLDER, MODELS

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
ANCHOR_FILES = [name for name in MODELS if name.split("/")[0] not in ("gs3d", "scaffold_gs")]
GRID_FILES = [name for name in ANCHOR_FILES if not name.startswith("context_gs")]
PLAIN_FILES = [name for name in MODELS if name not in ANCHOR_FILES]
HUGE = int("9" * 400)


def container_of(name: str) -> Container:
    return read_container((FOLDER / name).with_suffix(".gsc"))


def decode(container: Container, folder: Path, **sections: bytes) -> Renderable:
    """Decode a file with other sections, whose checksums are right."""
    path = folder / "forged.gsc"
    digest, trade_off = container.symbols_digest, container.trade_off
    write_container(path, container.method, container.sections | sections, digest, trade_off)
    return get_method(container.method).decode(path, device=CPU)


def with_settings(container: Container, values: dict[str, Any]) -> bytes:
    """Return the settings section with other values; a name may have the form ``parent__child``."""
    raw = json.loads(zlib.decompress(container.sections["settings"]))
    for name, value in values.items():
        *parents, last = name.split("__")
        place = raw
        for parent in parents:
            place = place[parent]
        old = place.get(last)
        place[last] = [value] * len(old) if isinstance(old, list) and not isinstance(value, list) else value
    return zlib.compress(json.dumps(raw).encode())


@pytest.mark.parametrize("name", ANCHOR_FILES)
def test_a_file_without_anchors_is_refused(name: str, tmp_path: Path) -> None:
    container, none = container_of(name), np.zeros((0, 3), np.int64)
    for locations in (RAW16, OCTREE):
        for codec in (STATIC, ADAPTIVE):
            masks = encode_masks(np.zeros((0, 4), np.bool_), codec)
            with pytest.raises(BitstreamError, match=r"forged\.gsc: section locations: contains no anchors"):
                decode(container, tmp_path, locations=encode_locations(none, locations), masks=masks)


@pytest.mark.parametrize("name", PLAIN_FILES)
def test_a_file_without_anchors_or_gaussians_is_refused(name: str, tmp_path: Path) -> None:
    container = container_of(name)
    settings = struct.pack("<I", 0) + container.sections["settings"][4:]
    empty = dict.fromkeys((part for part in container.sections if part not in ("settings", "networks")), b"")
    with pytest.raises(BitstreamError, match=r"forged\.gsc: (0 Gaussians|section settings: no anchors)"):
        decode(container, tmp_path, settings=settings, **empty)


def test_no_encoder_writes_a_file_without_anchors_or_gaussians(tmp_path: Path) -> None:
    cloud = decode(container_of("gs3d/toy"), tmp_path).to_splats()
    anchors: Any = decode(container_of("scaffold_gs/toy"), tmp_path)
    none = torch.zeros(0, dtype=torch.int64)
    nothing = {name: getattr(cloud, name)[none] for name in ("means", "log_scales", "quats", "opacity_logits", "sh")}
    no_anchors = replace(anchors, positions=anchors.positions[none], attributes=anchors.attributes.select(none))
    for write in (
        lambda path: encode_cloud(replace(cloud, **nothing), path),
        lambda path: encode_anchors(no_anchors, path),
    ):
        with pytest.raises(TrainingError, match="has no locations, so there is nothing to encode"):
            write(tmp_path / "a.gsc")
    assert not (tmp_path / "a.gsc").exists()


@pytest.mark.parametrize("name", [*ANCHOR_FILES, "scaffold_gs/toy"])
def test_export_of_a_file_without_viewpoints_says_so(name: str, tmp_path: Path) -> None:
    container = container_of(name)
    if name in ANCHOR_FILES:
        settings = with_settings(container, {"viewpoints": []})
    else:
        settings = container.sections["settings"][:10] + b"\0"
    decoded = decode(container, tmp_path, settings=settings)
    with pytest.raises(BitstreamError, match="contains no viewpoints"):
        decoded.to_splats()


@pytest.mark.parametrize("name", GRID_FILES)
def test_a_hash_grid_without_levels_is_refused(name: str, tmp_path: Path) -> None:
    container = container_of(name)
    settings = with_settings(container, {"entropy__grid__resolutions_3d": [], "entropy__grid__resolutions_2d": []})
    with pytest.raises(BitstreamError, match=r"forged\.gsc: section settings .* grid_resolutions_\* is 0"):
        decode(container, tmp_path, settings=settings, hash_grid=b"")


@pytest.mark.parametrize("value", [HUGE, -HUGE, 1 << 63, float("nan"), float("inf"), True], ids=str)
@pytest.mark.parametrize("name", ANCHOR_FILES)
def test_numbers_of_settings_that_are_not_bounded_are_refused(name: str, value: Any, tmp_path: Path) -> None:
    container = container_of(name)
    raw = json.loads(zlib.decompress(container.sections["settings"]))
    fields = [(key, each) for key, each in raw.items() if not isinstance(each, dict)]
    for parent in ("entropy", "base_steps"):
        fields += [(f"{parent}__{key}", each) for key, each in raw[parent].items() if not isinstance(each, dict)]
    numbers = [key for key, each in fields if not isinstance(each, str | bool)]
    assert {"voxel_size", "strides", "viewpoints", "base_steps__offsets", "entropy__feature_dim"} <= {*numbers}
    for field in numbers:
        with pytest.raises(BitstreamError, match=r"forged\.gsc: section settings") as raised:
            decode(container, tmp_path, settings=with_settings(container, {field: value}))
        assert len(str(raised.value)) < 400, field


@pytest.mark.parametrize("name", MODELS)
def test_inspect_says_what_the_decoder_refuses(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    container, path = container_of(name), tmp_path / "forged.gsc"
    arguments = container.symbols_digest, container.trade_off
    monkeypatch.setattr(type(get_method(container.method)), "decode", lambda *_, **__: pytest.fail("decoded"))
    write_container(path, container.method, container.sections, *arguments)
    assert main(["inspect", str(path)]) == 0
    settings = container.sections["settings"]
    forgeries = [{**container.sections, "settings": altered} for altered in (b"", settings[:-1], settings + b"\0")]
    forgeries += [
        {other: data for other, data in container.sections.items() if other != left} for left in container.sections
    ]
    for sections in forgeries:
        write_container(path, container.method, sections, *arguments)
        assert main(["inspect", str(path)]) == 2
        assert re.search(r"forged\.gsc: .*section", capsys.readouterr().err)
        assert main(["inspect", str(path), "--json"]) == 2
        report = json.loads(capsys.readouterr().out)
        assert report["intact"]
        assert "section" in report["refused"]


def test_inspect_takes_a_file_of_a_method_that_is_not_installed_for_intact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    container, path = container_of("hac/toy"), tmp_path / "foreign.gsc"
    write_container(path, "foreign", container.sections, container.symbols_digest, container.trade_off)
    assert main(["inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["intact"], report["refused"]) == (True, None)
