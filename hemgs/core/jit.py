"""Options of compiled kernels: their disk cache, and the number of their threads.

Owns the options of numba, the cache switch, the lock and the number of threads. This module compiles and computes
nothing. Only modules that need numba import it.

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

#: Least number of pixels and Gaussians together for each thread. With fewer, waiting costs more than threads save.
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
    """Lock parallel kernels for the block, and set the number of threads that pays for the work.

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
