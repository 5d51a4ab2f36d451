"""The common part of all rivals in training: its phases, its continuation after an interruption, and its purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hemgs.anchors.model import AnchorModel
from hemgs.bench.rates import rate_of
from hemgs.bench.registry import get_method
from hemgs.core.errors import ConfigError
from hemgs.core.types import SINGLE_RATE
from hemgs.protocol import Method
from tests.unit.baselines.rivals import RIVALS, trained_for

pytestmark = pytest.mark.parametrize("name", sorted(RIVALS))
#: Noise from step 10 on, prices from step 20 on.
PLAN = {"noise_from": 9, "growth_pause": 5, "entropy_from": 19, "rate_warmup": 10, "sample_share": 1.0}
SMALL: dict[str, dict[str, str]] = {
    "context_gs": {},
    "hac": {"grid_resolutions_3d": "8", "grid_resolutions_2d": "8"},
    "hac_plus": {"grid_resolutions_3d": "8", "grid_resolutions_2d": "8"},
}
LMBDA = 0.002


def attributes(name: str, anchors: AnchorModel) -> Any:
    torch.manual_seed(0)
    method: Any = get_method(name)
    hook = method.attributes(method.Params(**PLAN), RIVALS[name].CODEC.Model(RIVALS[name].SETTINGS), rate_of(LMBDA))
    hook.start(anchors, 1.0)
    return hook


def test_phases_are_those_of_the_family(name: str) -> None:
    model = RIVALS[name].toy_anchors(100)
    hook, everyone = attributes(name, model), torch.arange(model.num_anchors)
    plain, loss, _ = hook.sample(9, model, everyone)
    assert torch.equal(plain.features, model.features) and loss.item() == 0
    for number in (10, 19):
        noisy, loss, _ = hook.sample(number, model, everyone)
        assert 0.4 < (noisy.features - model.features).abs().max() <= 0.5 and loss.item() == 0
    _, loss, figures = hook.sample(20, model, everyone)
    assert loss.item() > 0 and figures["lmbda"] == LMBDA
    assert [hook.allows_growth(number) for number in (9, 10, 14, 15)] == [True, False, False, True]


def test_state_round_trip_continues_in_the_same_way(name: str) -> None:
    model = RIVALS[name].toy_anchors(200)
    first, second = attributes(name, model), attributes(name, model)
    everyone = torch.arange(model.num_anchors)
    first.sample(20, model, everyone)
    with torch.no_grad():
        model.mask_logits[:40] = -9.0  # since the levels of anchors were found, if the method has levels
    second.entropy.load_state_dict({**second.entropy.state_dict(), **dict(first.entropy.named_parameters())})
    second.anchors_changed(model)
    second.restore(first.state())
    results = []
    for hook in (first, second):
        torch.manual_seed(7)
        results.append(hook.sample(22, model, everyone))
    assert torch.equal(results[0][0].features, results[1][0].features)
    assert torch.equal(results[0][1], results[1][1])
    assert first.estimated_bytes(model) == second.estimated_bytes(model) > model.num_anchors


def test_is_a_method_with_a_training_per_rate(name: str) -> None:
    method = get_method(name)
    assert isinstance(method, Method)
    assert (method.spec.id, method.spec.kind) == (name, "per_rate")


@pytest.mark.parametrize("lmbda", [0.0005, 0.003])
def test_training_is_for_the_rate_s_lmbda(
    name: str, lmbda: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rate = rate_of(lmbda)
    _, hook, identity = trained_for(name, SMALL[name], rate, monkeypatch, tmp_path)
    assert hook.lmbda == lmbda
    assert identity == {"method": name, "rate": rate.id}


def test_training_without_a_rate_is_refused(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{name} is trained once per rate"):
        trained_for(name, SMALL[name], SINGLE_RATE, monkeypatch, tmp_path)
