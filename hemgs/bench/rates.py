"""Rates by id: the text that paths, tables and the command line use.

Owns the parsing of ids, and which rates a model can be encoded at. ``core.types.Rate`` owns the ids themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from hemgs.core.errors import ConfigError
from hemgs.core.types import SINGLE_RATE, FitKind, LmbdaInterval, MethodSpec, Rate

#: ``fit`` of a model that serves every rate.
FIT_ALL = "all"

_PREFIX = "lmbda_"


def rate_of(lmbda: float) -> Rate:
    """Return the rate of a λ.

    Raises:
        ConfigError: λ is not a positive number.
    """
    try:
        return Rate.of(lmbda)
    except ValueError as fault:
        raise ConfigError(str(fault), "give a positive number such as 0.002") from fault


def parse_rate(text: str) -> Rate:
    """Return the rate that an id names: ``single`` or ``lmbda_<number>``.

    Raises:
        ConfigError: the text is not an id, or the id of its number is another text (as for ``lmbda_0.002``).
    """
    if text == SINGLE_RATE.id:
        return SINGLE_RATE
    try:
        lmbda = float(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else None
    except ValueError:
        lmbda = None
    if lmbda is None:
        raise ConfigError(f"rate: {text!r} is not a rate id", "write `single` or an id such as `lmbda_0.0020`")
    rate = rate_of(lmbda)
    if rate.id != text:
        raise ConfigError(f"rate: {text!r} is not how that λ is written", f"write {rate.id!r}")
    return rate


def training_rate(spec: MethodSpec, rate_id: str | None) -> Rate:
    """Return the rate to train at.

    Raises:
        ConfigError: the method is trained once per rate and no rate is given, or a rate is given to another method.
    """
    if spec.kind == "per_rate":
        if rate_id is None or rate_id == SINGLE_RATE.id:
            raise ConfigError(f"{spec.id} is trained once per rate", "name one, for example --rate lmbda_0.0020")
        return parse_rate(rate_id)
    if rate_id not in (None, SINGLE_RATE.id, FIT_ALL):
        raise ConfigError(
            f"{spec.id} is of kind {spec.kind}: training does not depend on the rate {rate_id!r}", "leave --rate out"
        )
    return SINGLE_RATE


def fit_of(kind: FitKind, rate: Rate) -> str:
    """Return the id of the trained model: ``all`` if it serves every rate, else the id of its rate."""
    return FIT_ALL if kind == "all_rates" else rate.id


def encoding_rates(
    spec: MethodSpec, interval: LmbdaInterval | None, trained_at: Rate, wanted: Sequence[Rate]
) -> tuple[Rate, ...]:
    """Return the rates to encode a model at, each once, in the order given.

    Args:
        spec: spec of the method.
        interval: λ that the model serves.
        trained_at: the rate of the training.
        wanted: requested rates; empty for the method's own sweep.

    Raises:
        ConfigError: the model cannot be encoded at one of the rates.
    """
    if spec.kind == "all_rates":
        rates = wanted or tuple(Rate.of(lmbda) for lmbda in spec.sweep)
        for rate in rates:
            if rate.lmbda is None:
                raise ConfigError(
                    "rate 'single' is for methods without a rate knob", "give λ, for example --lmbda 0.002"
                )
            if interval is not None:
                interval.check(rate.lmbda)
        return tuple(dict.fromkeys(rates))
    others = [rate.id for rate in wanted if rate != trained_at]
    if others:
        raise ConfigError(
            f"this model was trained at the rate {trained_at.id!r} and cannot be encoded at {', '.join(others)}",
            "leave the rate out, or train at that rate",
        )
    return (trained_at,)
