"""Rates by id."""

from __future__ import annotations

import pytest

from hemgs.bench.rates import encoding_rates, fit_of, parse_rate, rate_of, training_rate
from hemgs.codec.params import LMBDA_INTERVAL, SWEEP
from hemgs.core.errors import ConfigError
from hemgs.core.types import SINGLE_RATE, LmbdaInterval, MethodSpec, Rate


def spec(kind: str) -> MethodSpec:
    return MethodSpec("toy", "Toy", kind)  # type: ignore[arg-type]


def test_the_sweep_of_hemgs_covers_its_interval_and_holds_the_trained_values() -> None:
    assert len(SWEEP) == 16
    assert (SWEEP[0], SWEEP[-1]) == (LMBDA_INTERVAL.low, LMBDA_INTERVAL.high) == (0.001, 0.004)
    assert {0.001, 0.002, 0.003, 0.004} <= set(SWEEP)
    assert [Rate.of(lmbda).id for lmbda in SWEEP[:2]] == ["lmbda_0.0010", "lmbda_0.0012"]


@pytest.mark.parametrize("rate_id", ["single", "lmbda_0.0010", "lmbda_0.0012", "lmbda_0.00115"])
def test_ids_are_read_back(rate_id: str) -> None:
    assert parse_rate(rate_id).id == rate_id


@pytest.mark.parametrize("text", ["lmbda_0.001", "lmbda_1e-3", "lmbda_", "0.001", "lmbda_x", "", "Single"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize("lmbda", [-0.001, 0.0, float("nan"), float("inf")])
def test_lambda_must_be_positive(lmbda: float) -> None:
    with pytest.raises(ConfigError, match="positive number"):
        rate_of(lmbda)


@pytest.mark.parametrize("text", ["lmbda_-0.0010", "lmbda_nan", "lmbda_0.0000"])
def test_lambda_in_an_id_must_be_positive(text: str) -> None:
    with pytest.raises(ConfigError, match="positive number"):
        parse_rate(text)


def test_training_rate_is_asked_for_only_where_it_matters() -> None:
    assert training_rate(spec("per_rate"), "lmbda_0.0020") == Rate.of(0.002)
    assert training_rate(spec("all_rates"), None) == SINGLE_RATE
    assert training_rate(spec("single"), "single") == SINGLE_RATE
    with pytest.raises(ConfigError, match="once per rate"):
        training_rate(spec("per_rate"), None)
    with pytest.raises(ConfigError, match="does not depend"):
        training_rate(spec("all_rates"), "lmbda_0.0020")


def test_fit_ids() -> None:
    assert fit_of("all_rates", SINGLE_RATE) == "all"
    assert fit_of("single", SINGLE_RATE) == "single"
    assert fit_of("per_rate", Rate.of(0.002)) == "lmbda_0.0020"


def test_encoding_rates() -> None:
    interval, wanted = LmbdaInterval(0.001, 0.004), (Rate.of(0.002), Rate.of(0.001), Rate.of(0.002))
    variable = MethodSpec("toy", "Toy", "all_rates", lmbda_interval=interval, sweep=(0.001, 0.003))
    assert encoding_rates(variable, interval, SINGLE_RATE, wanted) == (Rate.of(0.002), Rate.of(0.001))
    assert encoding_rates(variable, interval, SINGLE_RATE, ()) == (Rate.of(0.001), Rate.of(0.003))
    assert encoding_rates(spec("single"), None, SINGLE_RATE, ()) == (SINGLE_RATE,)
    assert encoding_rates(spec("per_rate"), None, Rate.of(0.002), (Rate.of(0.002),)) == (Rate.of(0.002),)
    for kind, trained in (("single", SINGLE_RATE), ("per_rate", Rate.of(0.001))):
        with pytest.raises(ConfigError, match="cannot be encoded at lmbda_0.0020"):
            encoding_rates(spec(kind), None, trained, (Rate.of(0.002),))
    with pytest.raises(ConfigError, match="without a rate knob"):
        encoding_rates(variable, interval, SINGLE_RATE, (SINGLE_RATE,))


def test_rates_outside_the_interval_of_the_model_are_refused() -> None:
    interval = LmbdaInterval(0.001, 0.004)
    variable = MethodSpec("toy", "Toy", "all_rates", lmbda_interval=interval, sweep=(0.001,))
    with pytest.raises(ConfigError, match=r"lmbda 0.02 lies outside .* from 0.001 .* to 0.004"):
        encoding_rates(variable, interval, SINGLE_RATE, (Rate.of(0.02),))
    with pytest.raises(ConfigError, match=r"lmbda 0.001 lies outside .* from 0.002 .* to 0.003"):
        encoding_rates(variable, LmbdaInterval(0.002, 0.003), SINGLE_RATE, ())
