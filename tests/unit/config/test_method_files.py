"""Files of methods: allowed keys and values, and the values of λ that they list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hemgs.config.fields import Lmbdas, lmbda_values
from hemgs.config.method import load_methods
from hemgs.core.errors import ConfigError
from hemgs.core.reading import checked
from tests.unit.config.config_folder import Folder


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"kind": "single"}, "lacks 'entry'"),
        ({"entry": "a.b:C"}, "lacks 'kind'"),
        ({"entry": "a.b:C", "kind": "all_rates"}, "lacks 'rates'"),
        ({"entry": "a.b:C", "kind": "single", "rates": [0.1]}, "is of kind single and has no rates"),
        ({"entry": "a/b.py", "kind": "single"}, "'entry' cannot be \"a/b.py\""),
        ({"extends": "swep"}, "extends the unknown method 'swep' — did you mean 'sweep'?"),
        ({"extends": "new"}, "'new' extends itself"),
        ({"extends": "sweep", "entry": "a.b:C"}, "only one of 'entry' and 'kind'"),
        ({"extends": "sweep", "kind": "per_rate"}, "only one of 'entry' and 'kind'"),
        ({"extends": "plain", "entry": "a.b:C", "kind": "per_rate"}, "of kind per_rate lacks 'rates'"),
        ({"entry": "a.b:C", "kind": "single", "params": {"depth": [1]}}, "'params.depth' cannot be [1]"),
        ({"entry": "a.b:C", "kind": "post"}, "of kind post lacks 'base'"),
        (
            {"entry": "a.b:C", "kind": "post", "base": "plian"},
            "base 'plian' is not a known method — did you mean 'plain'?",
        ),
        ({"entry": "a.b:C", "kind": "post", "base": "per_lmbda"}, "base 'per_lmbda' is of kind per_rate"),
        ({"entry": "a.b:C", "kind": "post", "base": "new"}, "base 'new' is of kind post"),
        ({"entry": "a.b:C", "kind": "post", "base": "plain", "rates": [0.1]}, "is of kind post and has no rates"),
        ({"entry": "a.b:C", "kind": "single", "base": "plain"}, "'base' is for methods of kind post"),
        ({"extends": "plain", "base": "sweep"}, "'base' is for methods of kind post"),
    ],
)
def test_what_a_method_file_may_not_say(folder: Folder, method: dict[str, Any], message: str) -> None:
    path = folder.method("new", method)
    with pytest.raises(ConfigError) as fault:
        load_methods(sorted(path.parent.glob("*.yaml")))
    assert f"{path}" in str(fault.value)
    assert message in str(fault.value)


def test_ids_equal_file_names_and_stand_once(folder: Folder, tmp_path: Path) -> None:
    path = folder.write("methods/other.yaml", {"id": "plain", "label": "P", "entry": "a.b:C", "kind": "single"})
    with pytest.raises(ConfigError, match="'id' is 'plain' — make it 'other', or rename the file"):
        load_methods([path])
    path.unlink()
    twice = folder.write("more/methods/plain.yaml", {"id": "plain", "label": "P", "entry": "a.b:C", "kind": "single"})
    with pytest.raises(ConfigError, match="is also in") as fault:
        folder.load(extra_config=[str(tmp_path / "more")])
    assert str(twice) in str(fault.value)


def test_rates_of_a_sequence_are_the_numbers_one_would_type() -> None:
    lmbdas = lmbda_values(checked(Lmbdas, {"start": 0.001, "stop": 0.004, "step": 0.0002}, "here"))
    assert lmbdas[:3] == (0.001, 0.0012, 0.0014)
    assert lmbdas[-1] == 0.004
    assert lmbda_values(checked(Lmbdas, [0.004, 0.001], "here")) == (0.001, 0.004)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"start": 0.001, "stop": 0.004, "step": 0.0007}, "steps of 0.0007 from 0.001 do not end at 0.004"),
        ({"start": 0.004, "stop": 0.001, "step": 0.001}, "do not end at 0.001"),
        ([0.001, float("nan")], "'[1]' cannot be NaN — give a finite number"),
        ([0.001, float("inf")], "'[1]' cannot be Infinity — give a finite number"),
        ([0.0], "'[0]' cannot be 0.0 — it must be above 0"),
        ([], "at least 1 entries"),
        ({"start": 0.001, "stop": 0.004}, "lacks 'step'"),
    ],
)
def test_rates_that_are_refused(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match="^here: ") as fault:
        checked(Lmbdas, spec, "here")
    assert message in str(fault.value)
