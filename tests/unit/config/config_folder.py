"""A folder of configuration files that tests fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hemgs.config.benchmark import Benchmark, load_benchmark

SETTINGS: dict[str, Any] = {"title": "Test", "run": {"methods": ["sweep", "plain"], "datasets": ["house", "park"]}}
METHODS: dict[str, dict[str, Any]] = {
    "sweep": {"entry": "a.b:C", "kind": "all_rates", "rates": [0.002, 0.001], "params": {"depth": 1, "width": 1}},
    "plain": {"entry": "a.b:D", "kind": "single"},
    "per_lmbda": {"entry": "a.b:E", "kind": "per_rate", "rates": {"start": 0.001, "stop": 0.003, "step": 0.001}},
    "sweep_flat": {"extends": "sweep", "params": {"depth": 0}},
}


class Folder:
    """A ``config`` folder that tests write what they need into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, method in METHODS.items():
            self.method(name, method)
        self.dataset("house", {"kitchen": {}, "attic": {"label": "Attic", "path": "top/attic"}})
        self.dataset("park", {"pond": {}})

    def method(self, name: str, data: dict[str, Any]) -> Path:
        return self.write(f"methods/{name}.yaml", {"id": name, "label": name.title(), **data})

    def dataset(self, name: str, scenes: dict[str, Any], **more: Any) -> Path:
        data = {
            "id": name,
            "label": name.title(),
            "source": {
                "kind": "procedural",
                "local": "here",
                "procedural": {"layout": "court", "width": 160, "height": 120},
            },
            "protocol": {"max_width": 1600, "split": {"kind": "every_nth", "n": 8}, "background": [0, 0, 0]},
            "initial_points": {"kind": "sfm"},
            "scenes": scenes,
        }
        return self.write(f"datasets/{name}.yaml", data | more)

    def write(self, name: str, data: dict[str, Any]) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    def load(self, **changes: Any) -> Benchmark:
        """The benchmark of :data:`SETTINGS`; ``changes`` of ``run`` are merged, others replace."""
        settings = {**SETTINGS, **changes, "run": {**SETTINGS["run"], **changes.get("run", {})}}
        return load_benchmark(settings, [self.write("config.yaml", settings)], self.root)
