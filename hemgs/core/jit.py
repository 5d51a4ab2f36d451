"""How compiled kernels are kept on disk and run.

Owns the options of numba, the cache switch, the lock and the number of threads. Compiles and computes nothing itself.
Not imported where numba is not needed.

The disk cache checks only a kernel's own file. A kernel must therefore take every constant of another file, and every
table, as an argument.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

#: Pixels and Gaussians together that are worth a thread: with less, waiting for each other costs more than it saves.
WORK_PER_THREAD = 8192

# Numba's always-available threading layer (workqueue) aborts the process when two threads start kernels at once.
_LOCK = threading.Lock()


def _probe() -> int:
    return 0


def can_cache() -> bool:
    """Return whether compiled code has a place: numba refuses ``cache=True`` where it can write to no folder."""
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


#: Passed as ``cache=`` to every kernel.
CACHE: bool = can_cache()
#: Options of floating-point kernels.
OPTIONS: dict[str, Any] = {"cache": CACHE, "error_model": "numpy", "nogil": True}


def compiled(function: Kernel) -> Kernel:
    """Compile an integer kernel at its first call; it releases the interpreter lock."""
    return cast(Kernel, numba.njit(cache=CACHE, nogil=True)(function))


@contextlib.contextmanager
def kernels(work: int) -> Iterator[None]:
    """Have the right to run parallel kernels, with as many threads as the work deserves.

    The results of the kernels do not depend on the number of threads.

    Args:
        work: number of elements; for pictures, pixels and Gaussians together.
    """
    with _LOCK:
        allowed = numba.get_num_threads()
        numba.set_num_threads(min(allowed, 1 + work // WORK_PER_THREAD))
        try:
            yield
        finally:
            numba.set_num_threads(allowed)
