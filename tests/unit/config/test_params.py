from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest

from hemgs.config.fields import one_of
from hemgs.config.params import Amount, Count, Positive, PositiveShare, Settings, params_of
from hemgs.core.errors import ConfigError


@dataclass(frozen=True)
class Toy:
    iterations: int = 30_000
    lr: float = 0.1
    white: bool = False
    kind: str = "plain"


def test_defaults_and_overrides() -> None:
    assert params_of(Toy, {}) == Toy()
    assert params_of(Toy, {"lr": 0.5, "white": True, "kind": "x"}) == Toy(lr=0.5, white=True, kind="x")


def test_numbers_as_yaml_and_shells_give_them() -> None:
    made = params_of(Toy, {"iterations": 100.0, "lr": 1})
    assert made == Toy(iterations=100, lr=1.0)
    assert isinstance(made.iterations, int) and isinstance(made.lr, float)
    assert params_of(Toy, {"lr": "1e-4"}).lr == 1e-4


def test_a_misspelt_key_names_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"'iteratoins'.*iterations"):
        params_of(Toy, {"iteratoins": 3})


@pytest.mark.parametrize(
    "values", [{"iterations": 1.5}, {"iterations": True}, {"lr": "fast"}, {"lr": True}, {"white": 1}, {"kind": None}]
)
def test_values_of_another_type_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"'{next(iter(values))}' cannot be .* — a value of type"):
        params_of(Toy, values)


@dataclass(frozen=True)
class Ranged(Settings):
    steps: Positive = 1
    pause: Count = 0
    lr: Amount = 0.1
    share: PositiveShare = 0.5
    codec: Annotated[str, *one_of(("raw", "tree"))] = "raw"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "'steps' cannot be 0 — it must be at least 1"),
        ({"steps": -5}, "'steps' cannot be -5 — it must be at least 1"),
        ({"pause": -1}, "'pause' cannot be -1 — it must be at least 0"),
        ({"lr": -0.5}, "'lr' cannot be -0.5 — it must be at least 0"),
        ({"lr": "nan"}, "'lr' cannot be NaN — "),
        ({"lr": "inf"}, "'lr' cannot be Infinity — give a finite number"),
        ({"share": 0}, "'share' cannot be 0.0 — it must be above 0"),
        ({"share": 1.5}, "'share' cannot be 1.5 — it must be at most 1"),
        ({"codec": "zip"}, "'codec' cannot be \"zip\" — allowed: raw, tree"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as fault:
        params_of(Ranged, values)
    assert str(fault.value).startswith(message)


def test_settings_are_checked_however_they_are_made() -> None:
    with pytest.raises(ConfigError, match="'steps' cannot be 0"):
        Ranged(steps=0)
    with pytest.raises(ConfigError, match="'share' cannot be 2"):
        replace(Ranged(), share=2.0)


@dataclass(frozen=True)
class Ordered:
    first: int = 1
    last: int = 2

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ConfigError("last: before first")


def test_types_are_checked_before_a_class_compares_its_fields() -> None:
    with pytest.raises(ConfigError, match="'last' cannot be \"soon\" — a value of type integer is expected"):
        params_of(Ordered, {"last": "soon"})
    with pytest.raises(ConfigError, match="before first"):
        params_of(Ordered, {"last": 0})
