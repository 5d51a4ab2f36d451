"""Processes that the checks of :mod:`hemgs.bench.conformance` start.

Owns the programs that run in them, and their environment. Does not own what the checks expect of them.
"""

from __future__ import annotations

import os
import subprocess
import sys

from hemgs.bench.isolation import child_environment

_CHILD_TIMEOUT_S = 600.0

#: Runs the command line and kills its own process at the first progress report from a given step on.
KILLED = """
import os, signal, sys
from hemgs.core.events import EventLog
report = EventLog.progress
def progress(self, done, total, **numbers):
    report(self, done, total, **numbers)
    if done >= int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
EventLog.progress = progress
from hemgs.cli import main
sys.exit(main(sys.argv[2:]))
"""

#: Decodes a file, and prints every path that was opened during decoding without permission.
AUDITED = """
import os, sys, sysconfig
entry, bitstream = sys.argv[1:]
opened = set()
from hemgs.bench.registry import get_method
from hemgs.core import bundle
from hemgs.core.assets import asset_folders
load = bundle.load_bundle
bundle.load_bundle = lambda path, *rest, **named: opened.add(str(path)) or load(path, *rest, **named)
import torch
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.add(os.fsdecode(arguments[0]))
sys.addaudithook(watch)
get_method(entry).decode(__import__("pathlib").Path(bitstream), device=torch.device("cpu"))
def is_code(path):
    metadata = ".egg-info" + os.sep in path or ".dist-info" + os.sep in path
    return metadata or path.endswith((".py", ".pyc", ".so", ".nbi", ".nbc")) or "__pycache__" in path
roots = [*set(sysconfig.get_paths().values()), sys.prefix, sys.base_prefix, "/usr", "/etc", "/proc", "/sys", "/dev"]
roots += [str(folder.resolve()) for folder in asset_folders()]
import hemgs
package = os.path.dirname(hemgs.__file__)
roots += [os.path.join(package, "coding"), os.path.join(package, "assets")]
for path in sorted(os.path.realpath(path) for path in opened):
    inside = any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in map(os.path.realpath, roots))
    if os.path.exists(path) and path != os.path.realpath(bitstream) and not inside and not is_code(path):
        print(path)
"""


def run_hemgs(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ``hemgs``; see :func:`run_python`."""
    return run_python(["-m", "hemgs", *arguments], **environment)


def run_python(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments and additional environment variables, in the root folder.

    Raises:
        subprocess.TimeoutExpired: the process took more than ten minutes.
    """
    return subprocess.run(
        [sys.executable, *arguments],
        env={**child_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=_CHILD_TIMEOUT_S,
        cwd=os.sep,
    )
