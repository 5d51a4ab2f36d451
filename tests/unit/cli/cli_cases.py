"""A small capture, its dataset file, and the list of files after a command, for tests of bad input."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from hemgs.config.dataset import Procedural
from hemgs.core.events import EventLog
from hemgs.data.procedural import write_procedural

TOY = "tests.unit.bench.toy_methods:ToyAll"
REPOSITORY = Path(__file__).resolve().parents[3]
NUM_VIEWS = 9
DATASET = """\
id: mine
label: Mine
source: {{kind: colmap, local: {local}}}
protocol: {{max_width: null, split: {{kind: every_nth, n: 3}}, background: [0, 0, 0], min_views: 8}}
initial_points: {{kind: sfm}}
scenes:
  court: {{}}
"""


def make_capture(folder: Path) -> Path:
    """A COLMAP capture of :data:`NUM_VIEWS` views of 32 x 24 pixels."""
    settings = Procedural(num_views=NUM_VIEWS, width=32, height=24, num_points=80)
    with EventLog() as events:
        write_procedural(folder, "court", settings, (0.0, 0.0, 0.0), events)
    return folder


def dataset_file(folder: Path, change: Callable[[str], str] = lambda text: text) -> Path:
    path = folder / "mine.yaml"
    path.write_text(change(DATASET.format(local=folder / "captures")))
    return path


def entries(folder: Path) -> set[str]:
    """Everything below a folder, hidden and temporary files included."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def heed_interrupts() -> None:
    """A shell's background jobs ignore SIGINT, and so would the processes that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
