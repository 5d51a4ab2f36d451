"""What tests of training and encoding share."""

from __future__ import annotations

from pathlib import Path

from hemgs.bench.training import TrainRequest
from tests.unit.bench.conftest import TOY


def request(scene_dir: Path, out: Path, kind: str = "ToyAll", **named: object) -> TrainRequest:
    return TrainRequest(scene_dir, f"{TOY}{kind}", out, **named)  # type: ignore[arg-type]


def files_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of the last change and contents of all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
