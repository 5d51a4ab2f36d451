"""Reports of checks while they run: ``tests/cluster/run`` shows these lines."""

from __future__ import annotations


def check(truth: bool, what: str, seen: object = "") -> None:
    """Fail with the observed state, or print the fulfilled condition."""
    assert truth, f"not so: {what}{f' — {seen}' if seen else ''}"
    print(f"    ok  {what}", flush=True)
