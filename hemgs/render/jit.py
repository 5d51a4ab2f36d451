"""Whether compiled kernels can be kept on disk.

Owns one fact about the installation; does not compile anything.
"""

from __future__ import annotations

from numba import njit


def _probe() -> int:
    return 0


def _can_cache() -> bool:
    """Numba refuses to compile with ``cache=True`` where neither the package's nor the user's folder is writable."""
    try:
        njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


#: Passed as ``cache=`` to every kernel: compiled code is kept between runs wherever there is a place for it.
CACHE: bool = _can_cache()
