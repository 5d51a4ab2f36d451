"""Toy models of all rivals that code anchors, for tests of the common parts of their bitstreams."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hemgs.anchor_codec import method as coded_method
from hemgs.bench.registry import get_method
from hemgs.core.types import Rate
from tests.tasks import task_on
from tests.unit.baselines import toy_context_gs, toy_hac, toy_hac_plus
from tests.unit.training.toy import toy_scene

RIVALS: dict[str, ModuleType] = {toy.CODEC.method: toy for toy in (toy_context_gs, toy_hac, toy_hac_plus)}
#: Sections by method, in the order of the file.
SECTIONS: dict[str, list[str]] = {
    "context_gs": ["settings", "locations", "masks", "networks", "hyper", "features", "scalings", "offsets"],
    "hac": ["settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"],
    "hac_plus": ["settings", "locations", "masks", "hash_grid", "networks", "features", "scalings", "offsets"],
}


def trained_for(
    method: str, params: Mapping[str, Any], rate: Rate, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> tuple[Any, Any, dict[str, str]]:
    """Settings, attribute model and identity of a method's training."""

    class StoppedError(Exception):
        pass

    seen: list[Any] = []

    def train(*arguments: Any) -> None:
        seen.extend((arguments[1], arguments[2], arguments[-1]))
        raise StoppedError

    monkeypatch.setattr(coded_method, "train_anchors", train)
    with pytest.raises(StoppedError):
        get_method(method).train(task_on(toy_scene(), folder, params, rate=rate))
    return seen[0], seen[1], seen[2]
