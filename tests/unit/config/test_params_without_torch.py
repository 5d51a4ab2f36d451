"""Machines that only plan a benchmark read the declarations of methods and check settings without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hemgs.bench.registry import list_methods

CHECK = """
import sys
sys.modules["torch"] = sys.modules["numba"] = None  # so that importing them raises ImportError
from hemgs.config.entries import find_entry
declared = find_entry(sys.argv[1])
declared.params()
print(declared.spec.id, declared.spec.kind)
"""


@pytest.mark.parametrize("entry", [*list_methods().values(), "hemgs.codec.method:HemgsSingleRate"])
def test_what_a_method_declares_needs_no_torch(entry: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHECK, entry], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()
