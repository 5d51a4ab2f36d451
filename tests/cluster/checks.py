"""What was checked, said while it is checked: ``tests/cluster/run`` shows these lines."""

from __future__ import annotations


def check(truth: bool, what: str, seen: object = "") -> None:
    """Fails, with what was seen instead, or says what holds."""
    assert truth, f"not so: {what}{f' — {seen}' if seen else ''}"
    print(f"    ok  {what}", flush=True)
