"""The Python packages that this program uses, their purposes, and the error if one is missing.

Owns the list. Does not import any of the packages.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

#: ``all`` if most verbs need the library; ``publishing`` if only tables, figures and page do; ``check`` if only one
#: check of ``hemgs check`` does.
Need = Literal["all", "publishing", "check"]


@dataclass(frozen=True)
class Library:
    """A package from PyPI.

    Attributes:
        module: the name that is imported.
        distribution: the name that pip installs.
        purpose: what the program does with it.
        need: the verbs that need it.
    """

    module: str
    distribution: str
    purpose: str
    need: Need = "all"

    @property
    def is_installed(self) -> bool:
        """Whether Python finds the module; this does not import it."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def fix(self) -> str:
        """The command that installs it in the version that is tested, from a clone."""
        return f"pip install -c constraints.txt {self.distribution}; `hemgs doctor` lists what else is missing"


LIBRARIES = (
    Library("torch", "torch", "training, coding and decoding"),
    Library("numpy", "numpy", "all arrays"),
    Library("numba", "numba", "rendering on the CPU and entropy coding"),
    Library("scipy", "scipy", "distances between points in training, and BD-rates"),
    Library("safetensors", "safetensors", "models and decoded scenes"),
    Library("PIL", "pillow", "images"),
    Library("pydantic", "pydantic", "configurations"),
    Library("yaml", "pyyaml", "configurations"),
    Library("pandas", "pandas", "tables", "publishing"),
    Library("pyarrow", "pyarrow", "tables", "publishing"),
    Library("matplotlib", "matplotlib", "figures", "publishing"),
    Library("jinja2", "jinja2", "the page", "publishing"),
    Library("plyfile", "plyfile", "the check of PLY exports by another reader", "check"),
)


def library_of(fault: ModuleNotFoundError) -> Library | None:
    """Return the library of the list that an import did not find, or ``None`` for another module."""
    top = (fault.name or "").partition(".")[0]
    return next((library for library in LIBRARIES if library.module == top), None)
