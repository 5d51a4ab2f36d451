"""Downloads in tests: a body, and what is looked at afterwards."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from hemgs.core.events import EventLog
from hemgs.data.fetch.http import RemoteFile, fetch

BODY = bytes(range(256)) * 4096
SHA = hashlib.sha256(BODY).hexdigest()


def run(remote: RemoteFile, target: Path) -> list[float]:
    """Fetches; gives the pauses made."""
    pauses: list[float] = []
    fetch(remote, target, EventLog(), pause=pauses.append)
    return pauses


def parts(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if not path.name.endswith(".lock"))


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
