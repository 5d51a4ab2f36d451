"""Kinds of values that several files contain: ids, λ, settings of methods.

Owns their ranges and their form in schemas. Does not own any key.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Strict,
    StringConstraints,
    Tag,
    WithJsonSchema,
)
from pydantic import model_validator as check

from hemgs.core.reading import RefusedError, Section

#: Form of an id; ids are in lower snake_case.
ID = "[a-z][a-z0-9_]*"
#: Key of ``method_params`` that applies to every method.
ALL_METHODS = "all_methods"


def _refuse_repetitions(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise RefusedError("give each entry once")
    return values


def _refuse_collections(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise RefusedError("a number, a text or a truth value is expected")
    return value


#: For tuples and sets: files contain lists.
LIST = Strict(False)
#: The check and the schema of lists without repeated entries.
ONCE = AfterValidator(_refuse_repetitions)
UNIQUE = Field(json_schema_extra={"uniqueItems": True})


def one_of(values: Sequence[Any]) -> Any:
    """Return an annotation: a text or a number that is one of these."""

    def known(value: Any) -> Any:
        if value not in values:
            raise RefusedError(f"allowed: {', '.join(map(str, values))}")
        return value

    return WithJsonSchema({"enum": list(values)}), AfterValidator(known)


def one_or_more(kind: Any) -> Any:
    """Return an annotation: a list of one or more different entries; a file may give a single entry without a list."""
    form = kind | Annotated[list[kind], Field(min_length=1), UNIQUE]
    as_list = BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=form)
    return Field(min_length=1), ONCE, as_list


Id = Annotated[str, StringConstraints(pattern=f"^{ID}$")]
Text = Annotated[str, Field(min_length=1)]
#: Settings by name; `hemgs describe METHOD` lists them.
Value = Annotated[Any, AfterValidator(_refuse_collections), WithJsonSchema({"type": ["number", "string", "boolean"]})]
Params = dict[Id, Value]
#: Settings of methods, by method id.
MethodParams = dict[Id, Params]

Lmbda = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LmbdaSteps(Section):
    """An arithmetic sequence of λ that includes its ends."""

    start: Lmbda
    """First λ."""
    stop: Lmbda
    """Last λ."""
    step: Lmbda
    """Distance between neighbours."""

    @check(mode="after")
    def _ends_at_stop(self) -> Self:
        start, stop, step = self._decimals
        if stop < start or (stop - start) % step != 0:
            raise RefusedError(
                f"steps of {step} from {start} do not end at {stop}: choose a stop that is start + n * step"
            )
        return self

    @property
    def values(self) -> tuple[float, ...]:
        """The λ, ascending."""
        start, stop, step = self._decimals
        return tuple(float(start + step * index) for index in range(int((stop - start) / step) + 1))

    @property
    def _decimals(self) -> tuple[Decimal, Decimal, Decimal]:
        """Decimal arithmetic, because ids contain the number: 0.001 + 0.0002 must be 0.0012 exactly."""
        return Decimal(str(self.start)), Decimal(str(self.stop)), Decimal(str(self.step))


#: The λ to encode at, as a list or as an arithmetic sequence.
Lmbdas = Annotated[
    Annotated[list[Lmbda], Field(min_length=1), ONCE, UNIQUE, Tag("list")] | Annotated[LmbdaSteps, Tag("steps")],
    Discriminator(lambda value: "steps" if isinstance(value, dict | LmbdaSteps) else "list"),
]


def lmbda_values(given: list[float] | LmbdaSteps) -> tuple[float, ...]:
    """Return the λ of a file's ``rates``, ascending."""
    return given.values if isinstance(given, LmbdaSteps) else tuple(sorted(given))
