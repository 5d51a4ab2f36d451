"""How compiled kernels are kept on disk and run.

Owns the cache switch, the lock and the number of threads. Compiles and computes nothing itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numba

#: Pixels and Gaussians together that are worth a thread: with less, waiting for each other costs more than it saves.
WORK_PER_THREAD = 8192

# Numba's always-available threading layer (workqueue) aborts the process when two threads start kernels at once.
_LOCK = threading.Lock()


def _probe() -> int:
    return 0


def can_cache() -> bool:
    """Whether compiled code has a place: numba refuses ``cache=True`` where it can write to no folder."""
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


#: Passed as ``cache=`` to every kernel.
CACHE: bool = can_cache()


@contextlib.contextmanager
def kernels(work: int) -> Iterator[None]:
    """The right to run kernels, with as many threads as ``work`` (pixels and Gaussians) deserves.

    The results of the kernels do not depend on the number of threads.
    """
    with _LOCK:
        allowed = numba.get_num_threads()
        numba.set_num_threads(min(allowed, 1 + work // WORK_PER_THREAD))
        try:
            yield
        finally:
            numba.set_num_threads(allowed)
