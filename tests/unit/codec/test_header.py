"""The settings section: round trip, and refusal of what no encoder writes."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, replace

import pytest

from hemgs.anchor_codec.hash_grid import HashGridSettings
from hemgs.anchor_codec.header import MAX_BYTES
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.codec.header import Header
from hemgs.codec.model import EntropySettings
from hemgs.codec.neighbours import ContextWindow
from hemgs.core.errors import BitstreamError, ConfigError

HEADER = Header(
    lmbda=0.0022,
    rate=145,
    voxel_size=0.005,
    strides=(1.0, 1.0, 1.5),
    low=(-3, 0, 7),
    high=(9, 20, 30),
    head_hidden=32,
    viewpoints=(0.5, 1.0, -2.25),
    base_steps=BaseSteps(),
    entropy=EntropySettings(),
)


def altered(**values: object) -> bytes:
    raw = json.loads(json.dumps(asdict(HEADER)))
    for name, value in values.items():
        *parents, last = name.split("__")
        place = raw
        for parent in parents:
            place = place[parent]
        place[last] = value
    return zlib.compress(json.dumps(raw).encode())


def test_round_trip() -> None:
    assert Header.from_bytes(HEADER.to_bytes()) == HEADER
    assert Header.from_bytes(altered()) == HEADER


def test_is_small() -> None:
    assert len(HEADER.to_bytes()) < 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lmbda", -1.0),
        ("lmbda", float("nan")),
        ("rate", 257),
        ("rate", True),
        ("voxel_size", 0),
        ("strides", [1.0, 1.0]),
        ("high", [-3, 1, 8]),
        ("low", [1.5, 0, 0]),
        ("head_hidden", 10**9),
        ("viewpoints", [1.0, 2.0]),
        ("viewpoints", [1.0, 2.0, "x"]),
        ("base_steps__offsets", 0.0),
        ("entropy__feature_dim", 0),
        ("entropy__num_offsets", 10**6),
        ("entropy__feature_hidden", "64"),
        ("entropy__grid__log2_entries_3d", 60),
        ("entropy__grid__resolutions_3d", [2]),
        ("entropy__grid__resolutions_2d", [10**8]),
        ("entropy__grid__resolutions_2d", 5),
        ("entropy__surprise", 1),
        ("surprise", 1),
    ],
)
def test_values_no_encoder_writes_are_refused(name: str, value: object) -> None:
    with pytest.raises(BitstreamError, match="settings"):
        Header.from_bytes(altered(**{name: value}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not deflated",
        HEADER.to_bytes()[:-4],
        HEADER.to_bytes() + b"x",
        zlib.compress(b"[1, 2]"),
        zlib.compress(b"{}"),
        zlib.compress(b"{" * 50_000),
        zlib.compress(b" " * (MAX_BYTES + 1) + b"{}"),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError, match="settings"):
        Header.from_bytes(data)


def test_a_header_that_no_decoder_takes_is_not_written() -> None:
    for entropy in (
        EntropySettings(feature_prior=1025),
        EntropySettings(window=ContextWindow(257)),
        EntropySettings(grid=HashGridSettings(features=17)),
    ):
        with pytest.raises(ConfigError, match="no decoder takes .* is (1025|257|17), not an integer from"):
            replace(HEADER, entropy=entropy).to_bytes()


def test_a_header_knows_its_own_faults() -> None:
    with pytest.raises(ValueError, match="rate"):
        replace(HEADER, rate=-1).check()
