"""The settings section: round trip, and refusal of values that no encoder writes."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, replace

import pytest

from hemgs.anchor_codec.header import MAX_BYTES
from hemgs.anchor_codec.settings import HashGridSettings
from hemgs.anchor_codec.steps import BaseSteps
from hemgs.codec.header import HemgsHeader
from hemgs.codec.params import LMBDA_INTERVAL
from hemgs.codec.settings import ContextWindow, EntropySettings
from hemgs.coding.container import Container
from hemgs.core.errors import BitstreamError, ConfigError
from hemgs.core.types import TradeOff

HEADER = HemgsHeader(
    trade_off=TradeOff(0.0022, LMBDA_INTERVAL),
    voxel_size=0.005,
    strides=(1.0, 1.0, 1.5),
    low=(-3, 0, 7),
    high=(9, 20, 30),
    head_hidden=32,
    viewpoints=(0.5, 1.0, -2.25),
    base_steps=BaseSteps(),
    entropy=EntropySettings(),
)


def read(section: bytes, trade_off: TradeOff = HEADER.trade_off) -> HemgsHeader:
    return HemgsHeader.of_file(Container("hemgs", {"settings": section}, b"", trade_off))


def altered(**values: object) -> bytes:
    raw = json.loads(json.dumps({name: part for name, part in asdict(HEADER).items() if name != "trade_off"}))
    for name, value in values.items():
        *parents, last = name.split("__")
        place = raw
        for parent in parents:
            place = place[parent]
        place[last] = value
    return zlib.compress(json.dumps(raw).encode())


def test_round_trip() -> None:
    assert read(HEADER.to_bytes()) == HEADER
    assert read(altered()) == HEADER


def test_is_small() -> None:
    assert len(HEADER.to_bytes()) < 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lmbda", 0.002),
        ("trade_off", [0.002, None]),
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
        read(altered(**{name: value}))


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
        read(data)


def test_a_header_that_no_decoder_takes_is_not_written() -> None:
    for entropy in (
        EntropySettings(feature_prior=1025),
        EntropySettings(window=ContextWindow(257)),
        EntropySettings(grid=HashGridSettings(features=17)),
    ):
        with pytest.raises(ConfigError, match="no decoder takes .* is (1025|257|17), not an integer from"):
            replace(HEADER, entropy=entropy).to_bytes()


def test_a_header_knows_its_own_faults() -> None:
    with pytest.raises(ValueError, match="interval of lmbda is missing"):
        replace(HEADER, trade_off=TradeOff(0.002)).check()


def test_only_the_container_contains_lmbda() -> None:
    other = replace(HEADER, trade_off=TradeOff(0.0031, LMBDA_INTERVAL))
    assert other.to_bytes() == HEADER.to_bytes()
    assert read(HEADER.to_bytes(), other.trade_off) == other
    assert (HEADER.rate_input, other.rate_input) == (146, 209)  # 256 ln(2.2) / ln 4, 256 ln(3.1) / ln 4: 145.6, 208.9


@pytest.mark.parametrize("trade_off", [TradeOff(), TradeOff(0.002)])
def test_a_file_without_lmbda_or_its_interval_is_refused(trade_off: TradeOff) -> None:
    with pytest.raises(BitstreamError, match="lmbda"):
        read(HEADER.to_bytes(), trade_off)


def version_1(**values: object) -> Container:
    raw = json.loads(zlib.decompress(HEADER.to_bytes()))
    raw |= {"lmbda": 0.0022, "rate": 146, **values}
    return Container("hemgs", {"settings": zlib.compress(json.dumps(raw).encode())}, b"", version=1)


def test_version_1_kept_lmbda_in_the_section_and_its_interval_in_the_program() -> None:
    assert HemgsHeader.of_file(version_1()) == HEADER


def test_version_1_took_lmbda_off_an_end_by_rounding_for_one_of_the_interval() -> None:
    assert HemgsHeader.of_file(version_1(lmbda=0.0040000000004)).trade_off.lmbda == 0.004


@pytest.mark.parametrize("values", [{"lmbda": "x"}, {"lmbda": -1}, {"entropy": 3}, {"surprise": 1}])
def test_values_that_no_encoder_of_version_1_wrote_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(BitstreamError, match="settings"):
        HemgsHeader.of_file(version_1(**values))
