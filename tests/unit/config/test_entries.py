"""The declaration of a method: in the module ``params`` of its package, or else in its class."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from hemgs.bench.registry import get_method, list_methods
from hemgs.config.entries import find_entry
from hemgs.config.params import params_of
from hemgs.core.errors import ConfigError

SETTINGS = """
from dataclasses import dataclass
from hemgs.core.types import MethodSpec
@dataclass(frozen=True)
class Settings:
    width: float = 2.0
"""
METHOD = SETTINGS + "class Own:\n    spec = MethodSpec('own', 'Own', 'single')\n    Params = Settings\n"
MODULES = {
    "some_codec/params.py": SETTINGS
    + "Params = Settings\nSPECS = {'Own': MethodSpec('own', 'Own', 'per_rate'), 'Other': None}\n"
    + "SPECS['Boundless'] = MethodSpec('b', 'B', 'all_rates')\n",
    "some_codec/method.py": "raise RuntimeError('imported')\n",
    # Modules of this name that do not declare methods.
    "plain/params.py": "depth = 1\n",
    "plain/method.py": METHOD + "class Silent:\n    pass\n",
    "params.py": "raise RuntimeError('imported')\n",
    "alone.py": METHOD,
    "lacking/__init__.py": "",
    "lacking/method.py": "import not_installed_anywhere\n",
    "lacking/failing.py": "raise RuntimeError('no such device')\n",
    "lacking/leaving.py": "raise SystemExit(3)\n",
    "lacking/garbled.py": "class Own\n",
    "broken/__init__.py": "1 / 0\n",
    "broken/method.py": METHOD,
    "unready/params.py": "import not_installed_anywhere\n",
    "unready/method.py": METHOD,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    tops = {name.partition("/")[0].removesuffix(".py") for name in MODULES}
    for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_params_module_is_asked_and_the_method_is_not_imported() -> None:
    declared = find_entry("some_codec.method:Own")
    assert declared.spec.kind == "per_rate"
    assert params_of(declared.params, {"width": 3}) == declared.params(3.0)
    assert "some_codec.method" not in sys.modules


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("entry", ["plain.method:Own", "alone:Own"])
def test_without_such_a_module_the_class_is_asked(entry: str) -> None:
    declared = find_entry(entry)
    assert declared.spec.kind == "single"
    assert [field.name for field in fields(declared.params)] == ["width"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("entry", "messages"),
    [
        ("some_codec.method:Othr", ["some_codec/params.py has no class Othr — did you mean 'Other'?"]),
        ("some_codec.methods:Own", ["'some_codec.methods:Own'", "there is no module some_codec.methods"]),
        ("some_codec.method:Other", ["is not a method", "hemgs.protocol.Method"]),
        ("plain.method:Owm", ["plain/method.py has no class Owm — did you mean 'Own'?"]),
        ("plain.method:Silent", ["is not a method", "'spec'", "'Params'"]),
        ("some_codec.method:Boundless", ["of kind all_rates", "lacks lmbda_interval", "MethodSpec"]),
        ("not_there:Own", ["the module not_there cannot be imported", "PYTHONPATH"]),
        ("not_there.method:Own", ["the module not_there.method cannot be imported", "PYTHONPATH"]),
        ("plain.none:Own", ["the module plain.none cannot be imported", "correct the entry"]),
        ("alone.deeper.method:Own", ["the module alone.deeper.method cannot be imported", "correct the entry"]),
        ("lacking.method:Own", ["lacking.method cannot be imported", "install what contains not_installed_anywhere"]),
        ("lacking.failing:Own", ["(RuntimeError: no such device)", "`python -c 'import lacking.failing'`"]),
        ("lacking.leaving:Own", ["(SystemExit: 3)"]),
        ("lacking.garbled:Own", ["SyntaxError", "garbled.py, line 1"]),
        ("broken.method:Own", ["broken.method cannot be imported (ZeroDivisionError"]),
        ("unready.method:Own", ["unready.params cannot be imported", "install what contains not_installed_anywhere"]),
        ("__main__.method:Own", ["__main__.method cannot be imported"]),
    ],
)
def test_entries_that_are_no_methods(entry: str, messages: list[str]) -> None:
    with pytest.raises(ConfigError) as fault:
        find_entry(entry)
    for message in messages:
        assert message in str(fault.value)


@pytest.mark.parametrize(
    "entry", [*list_methods().values(), "hemgs.codec.method:HemgsSingleRate", "tests.unit.bench.toy_methods:ToyAll"]
)
def test_classes_are_what_is_declared_of_them(entry: str) -> None:
    declared, method = find_entry(entry), get_method(entry)
    assert (declared.spec, declared.params) == (method.spec, method.Params)
