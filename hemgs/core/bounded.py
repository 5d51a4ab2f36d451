"""The checks of every number that a file from elsewhere contains.

Python's integers have any length and its floats may be infinite, but arrays and formats have neither. Owns the limits
and the messages. Does not own the meaning of any number; callers name it.
"""

from __future__ import annotations

import json
import math
import reprlib
from typing import Any

#: Largest size of an integer in a file: that of int64, which every array of integers has.
MAX_INTEGER = (1 << 63) - 1
_MAX_DIGITS = len(str(-MAX_INTEGER))


def check_integer(name: str, value: Any, low: int, high: int) -> None:
    """Raise ValueError unless ``value`` is an integer from ``low`` to ``high``; True and 3.0 are no integers."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is {reprlib.repr(value)}, not an integer from {low} to {high}")


def check_number(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite float, or an integer that fits one of int64."""
    fits = (type(value) is int and abs(value) <= MAX_INTEGER) or (type(value) is float and math.isfinite(value))
    if not fits:
        raise ValueError(f"{name} is {reprlib.repr(value)}, not a finite number")


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a number as of :func:`check_number`, and above 0."""
    check_number(name, value)
    if value <= 0:
        raise ValueError(f"{name} is {value!r}, not a positive number")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON whose integers fit int64 and whose other numbers are finite.

    Raises:
        ValueError: the text is not JSON, or contains another number.
        RecursionError: its arrays or objects are nested too deep.

    >>> parse_json("[1, 2.5]")
    [1, 2.5]
    """
    return json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_float)


def _integer(text: str) -> int:
    # The length comes first: Python refuses to parse some thousands of digits, with its own message.
    if len(text) > _MAX_DIGITS or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f"the number {reprlib.repr(text)[1:-1]} of {len(text)} characters exceeds 64 bits")
    return int(text)


def _float(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {reprlib.repr(text)[1:-1]} is not finite")
    return float(text)
