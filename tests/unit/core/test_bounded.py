"""Numbers from files: bounded integers, finite floats, and messages of bounded length."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from hemgs.bench.viewing import read_cameras
from hemgs.core.bounded import MAX_INTEGER, check_integer, check_number, check_positive, parse_json
from hemgs.core.bundle import Bundle, load_bundle, save_bundle
from hemgs.core.errors import ConfigError, HemgsError, SceneError
from hemgs.data.loader import load_scene

HUGE = int("9" * 400)


@pytest.mark.parametrize("value", [True, None, "1", 1.0, math.nan, HUGE, -HUGE, [], {}])
def test_other_values_are_no_integers_up_to_ten(value: object) -> None:
    with pytest.raises(ValueError, match="size is .*, not an integer from 0 to 10") as raised:
        check_integer("size", value, 0, 10)
    assert len(str(raised.value)) < 120


@pytest.mark.parametrize(
    "value", [True, None, "1", math.nan, math.inf, -math.inf, HUGE, -HUGE, MAX_INTEGER + 1, [], {}]
)
def test_other_values_are_no_finite_numbers(value: object) -> None:
    for check in (check_number, check_positive):
        with pytest.raises(ValueError, match="width is .*, not a finite number") as raised:
            check("width", value)
        assert len(str(raised.value)) < 120


def test_numbers_up_to_the_limits_pass() -> None:
    for value in (0, -1, MAX_INTEGER, -MAX_INTEGER, 0.0, -1e308):
        check_number("width", value)
    check_integer("size", 10, 0, 10)
    check_positive("width", 5e-324)
    with pytest.raises(ValueError, match="width is 0, not a positive number"):
        check_positive("width", 0)


@pytest.mark.parametrize("text", ["9" * 400, "-" + "9" * 5000, str(MAX_INTEGER + 1), "NaN", "-Infinity", "1e999"])
def test_json_with_other_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"the number .* (exceeds 64 bits|is not finite)") as raised:
        parse_json(f'{{"a": [{text}]}}')
    assert len(str(raised.value)) < 120


def test_json_with_numbers_at_the_limits_is_read() -> None:
    assert parse_json(f"[{MAX_INTEGER}, -{MAX_INTEGER}, 1e308, true, null]") == [
        MAX_INTEGER,
        -MAX_INTEGER,
        1e308,
        True,
        None,
    ]


@pytest.mark.parametrize("text", ["9" * 400, "9" * 5000, "NaN", "1e999", "[" * 100_000])
def test_json_files_of_scenes_and_cameras_give_errors_and_no_traceback(text: str, tmp_path: Path) -> None:
    (tmp_path / "scene.json").write_text(f'{{"format_version": {text}}}')
    with pytest.raises(SceneError, match=r"scene\.json"):
        load_scene(tmp_path)
    with pytest.raises(ConfigError, match=r"scene\.json"):
        read_cameras(tmp_path / "scene.json")


def test_a_model_file_with_other_numbers_is_refused(tmp_path: Path) -> None:
    save_bundle(tmp_path / "a.safetensors", Bundle({"x": torch.zeros(1)}, {"sh_degree": HUGE}))
    with pytest.raises(HemgsError, match="exceeds 64 bits"):
        load_bundle(tmp_path / "a.safetensors")
