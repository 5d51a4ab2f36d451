"""The command line: one verb per step, for people and for the workflow.

Owns parsing (``parser`` lists the verbs, each module contains those of one subject), printing (``console``), the
checks of the installation (``doctor``), and exit codes:

* 0: done;
* 1: a fault of the program, or a failed check;
* 2: wrong input; one line names the fault and the fix;
* 130: interrupted.

Does not own any work. Verbs call ``hemgs.bench``, ``hemgs.data`` and ``hemgs.analysis``. They import these only when
they run, so that help and mistakes cost no time.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from hemgs.cli.console import report_error, show_what_can_be_shown
from hemgs.cli.parser import parse
from hemgs.core.errors import HemgsError
from hemgs.core.libraries import library_of

__all__ = ["main"]

EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
#: Errors of a full disk, an exhausted quota, or a file above the limit of the process.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived, as when a cluster's time limit is reached."""

    exit_code = 128 + signal.SIGTERM


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: arguments after the program's name; those of the process if ``None``.
    """
    # Threads that spin while waiting slow down the other thread pool. torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    show_what_can_be_shown()
    words = sys.argv[1:] if argv is None else argv
    try:
        return _run(words)
    except ModuleNotFoundError as fault:
        library = library_of(fault)
        if library is None:
            raise
        message = f"the Python package {library.module} is not installed, which is needed for {library.purpose}"
        return _failed(fault, message, library.fix, EXIT_WRONG_INPUT, "--traceback" in words)


def _run(words: Sequence[str]) -> int:
    arguments = parse(words)
    try:
        with _termination_as_exception():
            return int(arguments.run(arguments) or 0)
    except HemgsError as fault:
        return _failed(fault, fault.message, fault.fix, fault.exit_code, arguments.traceback)
    except KeyboardInterrupt as stop:
        report_error("interrupted; run again to continue")
        return int(getattr(stop, "exit_code", EXIT_INTERRUPTED))
    except BrokenPipeError:
        # The reader of the output has ended (`| head`). The interpreter must not write at its exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as fault:
        where = f" ({fault.filename})" if fault.filename else ""
        if fault.errno in _NO_SPACE:
            message, fix = f"no space left to write{where}", "free disk space and run again"
        else:
            message, fix = f"{fault.strerror or fault}{where}", "check the path and its permissions"
        return _failed(fault, message, fix, EXIT_WRONG_INPUT, arguments.traceback)
    except (MemoryError, RuntimeError) as fault:
        if not _out_of_memory(fault):
            raise
        message = f"out of memory ({str(fault).splitlines()[0] if str(fault) else 'no details'})"
        fix = "use a machine with more memory, or a smaller scene (max_width of its dataset)"
        return _failed(fault, message, fix, EXIT_WRONG_INPUT, arguments.traceback)


def _failed(fault: BaseException, message: str, fix: str, exit_code: int, traceback: bool) -> int:
    if traceback:
        raise fault
    report_error(message, fix)
    return exit_code


def _out_of_memory(fault: BaseException) -> bool:
    # torch's class is found by name: importing torch would be slow, and may be the step that failed.
    return (
        isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError" or "can't allocate" in str(fault)
    )


@contextmanager
def _termination_as_exception() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that temporary files are removed and checkpoints stay."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        former = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
