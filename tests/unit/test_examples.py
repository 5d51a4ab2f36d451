"""The examples in docstrings of packages with pure functions run, and give the shown results."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("hemgs.analysis", "hemgs.coding", "hemgs.core", "hemgs.metrics")
MODULES = [
    module.name
    for package in (*PACKAGES, "hemgs.cli", "hemgs.pointnet", "hemgs.training")
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_they_say(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_examples(package: str) -> None:
    own = [importlib.import_module(name) for name in MODULES if name.startswith(f"{package}.")]
    assert sum(doctest.testmod(module).attempted for module in own) >= 4
