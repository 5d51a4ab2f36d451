"""Finding a method's class and its settings without importing it; its class of settings is imported if it can be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hemgs.config.entries import find_entry
from hemgs.config.params import params_of
from hemgs.core.errors import ConfigError

#: Importing this would fail: nothing of it may be run.
POISON = "raise RuntimeError('imported')\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "some_codec"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "base.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Base:\n    depth: int = 1\n"
    )
    (root / "settings.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom some_codec.base import Base\n"
        "@dataclass(frozen=True)\nclass Settings(Base):\n    width: float = 2.0\n    KIND: ClassVar[str] = ''\n"
    )
    (root / "method.py").write_text(
        POISON
        + "from some_codec.settings import Settings as Chosen\n"
        + "from elsewhere_not_installed import Foreign\n"
        + "class Assigned:\n    Params: ClassVar[type] = Chosen\n"
        + "class Nested:\n    class Params:\n        size: int = 1\n"
        + "class Unclear:\n    Params = Foreign\n"
        + "class Silent:\n    pass\n"
        + "class Inheriting(Foreign, Assigned):\n    pass\n"
    )
    (root / "exported.py").write_text("from some_codec.method import Nested as Renamed\n")
    inner = root / "inner"
    inner.mkdir()
    (inner / "__init__.py").write_text(
        POISON + "from .own import Own\nfrom ..method import Nested\nfrom . import own\n"
    )
    (inner / "own.py").write_text(POISON + "from ..settings import Settings\nclass Own:\n    Params = Settings\n")
    (root / "unclear.py").write_text("from elsewhere_not_installed import Foreign\nMade = Foreign()\n")
    (root / "everything.py").write_text("from .inner import *\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "some_codec"]:
        monkeypatch.delitem(sys.modules, name)
    return root


def test_packages_need_no_init_file(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (package, package / "inner"):
        (folder / "__init__.py").unlink()
    assert find_entry("some_codec.inner.own:Own").file == package / "inner/own.py"
    with pytest.raises(ConfigError, match=r"the module some_codec\.inner\.none cannot be imported"):
        find_entry("some_codec.inner.none:Own")


@pytest.mark.parametrize(
    ("entry", "settings"),
    [
        ("some_codec.method:Assigned", {"depth", "width"}),
        ("some_codec.method:Nested", {"size"}),
        ("some_codec.exported:Renamed", {"size"}),
        ("some_codec.method:Unclear", None),
        ("some_codec.method:Silent", None),
        ("some_codec.method:Inheriting", {"depth", "width"}),
    ],
)
def test_settings_are_read_without_importing(package: Path, entry: str, settings: set[str] | None) -> None:
    assert find_entry(entry).settings == settings
    assert "some_codec.method" not in sys.modules
    assert package.joinpath("method.py") == find_entry(entry).file


@pytest.mark.parametrize(
    ("entry", "settings", "file"),
    [
        ("some_codec.inner:Own", {"depth", "width"}, "inner/own.py"),
        ("some_codec.inner:Nested", {"size"}, "method.py"),
        ("some_codec.inner.own:Own", {"depth", "width"}, "inner/own.py"),
        ("some_codec.unclear:Foreign", None, "unclear.py"),
        ("some_codec.unclear:Made", None, "unclear.py"),
        ("some_codec.everything:Own", None, "everything.py"),
    ],
)
def test_names_from_elsewhere(package: Path, entry: str, settings: set[str] | None, file: str) -> None:
    """Relative imports are followed; where the text does not tell, the run is left to find out."""
    assert (find_entry(entry).settings, find_entry(entry).file) == (settings, package / file)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("some_codec.methods:Nested", "the module some_codec.methods cannot be imported"),
        ("not_there:Nested", "the module not_there cannot be imported"),
        ("some_codec.method.deeper:Nested", "cannot be imported"),
        ("some_codec.inner:Othr", "has no class Othr"),
        ("some_codec.method:Nestd", "has no class Nestd — did you mean 'Nested'?"),
    ],
)
def test_entries_that_do_not_exist(package: Path, entry: str, message: str) -> None:
    with pytest.raises(ConfigError) as fault:
        find_entry(entry)
    assert message in str(fault.value)


@pytest.mark.parametrize(
    ("entry", "setting"),
    [
        ("hemgs.codec.method:Hemgs", "voxel_size"),
        ("baselines.gs3d.method:Gs3d", "sh_degree"),
        ("baselines.scaffold_gs.method:ScaffoldGs", "voxel_size"),
    ],
)
def test_settings_of_the_methods_here_are_known(entry: str, setting: str) -> None:
    settings = find_entry(entry).settings
    assert settings is not None
    assert {"iterations", setting} <= settings


def test_what_is_read_is_what_the_class_has() -> None:
    from dataclasses import fields

    from hemgs.codec.method import Hemgs

    assert find_entry("hemgs.codec.method:Hemgs").settings == {field.name for field in fields(Hemgs.Params)}


def test_the_class_of_settings_is_imported_where_it_can_be(package: Path) -> None:
    params = find_entry("some_codec.method:Assigned").params
    assert params is not None and params_of(params, {"depth": 3}).depth == 3
    assert find_entry("some_codec.method:Nested").params is None, "the method itself is never imported"
    (package / "base.py").write_text("import not_installed_anywhere\n" + (package / "base.py").read_text())
    for name in ("some_codec.base", "some_codec.settings"):
        del sys.modules[name]
    found = find_entry("some_codec.method:Assigned")
    assert (found.params, found.settings) == (None, {"depth", "width"})
