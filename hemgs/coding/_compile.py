"""One way to compile the package's integer kernels.

Owns the options of numba. Does not own any kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compiles at first call, releases the interpreter lock, keeps the machine code on disk where it can.

    The disk cache looks at the kernel's own file alone: a kernel must get every constant of another file, and every
    table, as an argument.
    """
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder can be written (read-only container).
        return cast(Kernel, numba.njit(nogil=True)(function))
