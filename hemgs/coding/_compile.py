"""The compilation of the package's integer kernels.

Owns the options of numba. Does not own any kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile at first call, release the interpreter lock, and keep the machine code on disk where possible.

    The disk cache checks only the kernel's own file. A kernel must therefore take every constant of another file, and
    every table, as an argument.
    """
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder can be written (read-only container).
        return cast(Kernel, numba.njit(nogil=True)(function))
