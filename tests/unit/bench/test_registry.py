"""Finding methods."""

from __future__ import annotations

import pytest

from hemgs.bench import registry
from hemgs.bench.registry import get_method, list_methods
from hemgs.core.errors import ConfigError
from tests.unit.bench.conftest import TOY


def test_installed_methods_are_listed_by_id() -> None:
    found = list_methods()
    assert list(found) == sorted(found)
    assert {"context_gs", "gs3d", "hac", "scaffold_gs", "hemgs"} <= set(found)
    assert found["hemgs"] == "hemgs.codec.method:Hemgs"


def test_method_by_entry() -> None:
    assert get_method(f"{TOY}ToySingle").spec.id == "toy_single"


def test_unknown_id_names_the_nearest_and_all() -> None:
    known = "context_gs, gs3d, hac, hac_plus, hemgs, scaffold_gs"
    with pytest.raises(ConfigError, match=rf"'hemsg'.*did you mean 'hemgs'.*{known}"):
        get_method("hemsg")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("no_such_package.method:X", "cannot be imported"),
        (f"{TOY}NoSuchClass", "has no class NoSuchClass"),
        ("pathlib:Path", "is not a method"),
        (f"{TOY}ToyParams", "is not a method"),
        (f"{TOY}Boundless", "lacks lmbda_interval"),
    ],
)
def test_entries_that_are_no_methods(entry: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_method(entry)


def test_id_and_entry_point_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "list_methods", lambda: {"other": f"{TOY}ToySingle"})
    with pytest.raises(ConfigError, match="calls itself 'toy_single'"):
        get_method("other")
