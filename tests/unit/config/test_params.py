from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hemgs.config.params import params_of
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
    with pytest.raises(ConfigError, match=f"{next(iter(values))}: .* is not of type"):
        params_of(Toy, values)
