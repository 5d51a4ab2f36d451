"""A results tree as the workflow would leave it, with plausible figures, for tests of the analysis."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hemgs.analysis.summary import FILE_COLUMNS, Summary
from hemgs.core.records import VIEW_COLUMNS, Row, Value, blank_row, write_points, write_views

MIB = 2**20
PUBLISHED = Path(__file__).resolve().parents[3] / "workflow" / "published"
HEMGS_RATES = tuple(f"lmbda_{0.001 + 0.0002 * step:.4f}" for step in range(16))
HAC_RATES = ("lmbda_0.0005", "lmbda_0.0010", "lmbda_0.0020", "lmbda_0.0040")
#: method → kind, rates, seconds of one training, whether it has anchors
METHODS: Mapping[str, tuple[str, tuple[str, ...], float]] = {
    "gs3d": ("single", ("single",), 240.0),
    "scaffold_gs": ("single", ("single",), 300.0),
    "hac": ("per_rate", HAC_RATES, 420.0),
    "hemgs": ("all_rates", HEMGS_RATES, 700.0),
}
LABELS = {"gs3d": "3DGS", "scaffold_gs": "Scaffold-GS", "hac": "HAC", "hemgs": "HEMGS"}
SCENES: Mapping[str, tuple[str, ...]] = {"court": ("knot", "tower"), "chair": ("chair",)}
DATASET_LABELS = {"court": "Court", "chair": "Chair"}
Change = Callable[[dict[str, Value]], dict[str, Value] | None]


def summary_with(**files: Sequence[Row]) -> Summary:
    """A summary with the rows of some of its files, and none in the others."""
    empty: dict[str, tuple[Row, ...]] = dict.fromkeys(("points", *FILE_COLUMNS), ())
    return Summary(**empty | {name: tuple(rows) for name, rows in files.items()})


@dataclass
class Results:
    """The place of a synthetic tree, and its changes."""

    root: Path
    methods: tuple[str, ...] = tuple(METHODS)
    scenes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(SCENES))
    seeds: tuple[int, ...] = (0,)
    iterations: Mapping[str, int] = field(default_factory=dict)

    @property
    def plan(self) -> Path:
        return self.root / "summary" / "plan.json"

    @property
    def style(self) -> Path:
        return self.root / "summary" / "style.json"

    @property
    def summary(self) -> Path:
        return self.root / "summary"

    def write(self, change: Change | None = None, pictures: bool = False) -> Results:
        """Writes everything; ``change`` may alter a row, or drop it by returning ``None``."""
        fits = []
        for method in self.methods:
            kind, rates, _ = METHODS[method]
            groups = {"all": rates} if kind == "all_rates" else {rate: (rate,) for rate in rates}
            for dataset, scenes in self.scenes.items():
                for scene in scenes:
                    for fit, own in groups.items():
                        for seed in self.seeds:
                            folder = self.root / "points" / method / dataset / scene / fit / f"s{seed}"
                            self._write_fit(folder, (method, dataset, scene, fit, seed), own, change, pictures)
                            fits.append(self._fit(folder, (method, dataset, scene, fit, seed), own))
        self._write_json(self.plan, self._plan(fits))
        self._write_json(self.style, self.style_data(pictures))
        return self

    def style_data(self, pictures: bool = False) -> dict[str, Any]:
        visual = [
            {
                "dataset": dataset,
                "scene": scenes[0],
                "showcases": {
                    method: [
                        str(path)
                        for path in sorted((self.root / "points" / method / dataset / scenes[0]).glob("*/s0/showcase"))
                    ]
                    for method in self.methods
                },
            }
            for dataset, scenes in self.scenes.items()
        ]
        return {
            "schema_version": 1,
            "title": "Synthetic benchmark",
            "methods": [
                {"id": m, "base": m, "variant": None, "label": LABELS[m], "kind": METHODS[m][0]}
                | {"color": None, "marker": None}
                for m in self.methods
            ],
            "datasets": self._datasets(),
            "tables": ["quality", "bdrate", "storage", "complexity"],
            "visual": visual if pictures else [],
            "variable_rate": ["hemgs"] if "hemgs" in self.methods else [],
        }

    def points_of(self, method: str, dataset: str, scene: str, fit: str, seed: int = 0) -> Path:
        return self.root / "points" / method / dataset / scene / fit / f"s{seed}" / "points.csv"

    def _datasets(self) -> list[dict[str, Any]]:
        return [
            {
                "id": dataset,
                "label": DATASET_LABELS.get(dataset, dataset),
                "scenes": [{"id": scene, "label": scene.capitalize()} for scene in scenes],
            }
            for dataset, scenes in self.scenes.items()
        ]

    def _plan(self, fits: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "title": "Synthetic benchmark",
            "methods": [
                {"id": m, "base": m, "variant": None, "label": LABELS[m], "kind": METHODS[m][0], "rates": METHODS[m][1]}
                for m in self.methods
            ],
            "datasets": self._datasets(),
            "fits": fits,
        }

    def _fit(self, folder: Path, key: tuple[str, str, str, str, int], rates: tuple[str, ...]) -> dict[str, Any]:
        method, dataset, scene, fit, seed = key
        logs = self.root / "logs"
        name = f"{method}-{dataset}-{scene}-{fit}-s{seed}.log"
        return {
            "method": method,
            "variant": None,
            "dataset": dataset,
            "scene": scene,
            "fit": fit,
            "seed": seed,
            "rates": list(rates),
            "iterations": self.iterations.get(method, 30000),
            "points": str(folder / "points.csv"),
            "views": str(folder / "views.csv"),
            "showcase": str(folder / "showcase"),
            "logs": {rule: str(logs / rule / name) for rule in ("train_model", "encode_points", "evaluate_points")},
        }

    def _write_fit(
        self,
        folder: Path,
        key: tuple[str, str, str, str, int],
        rates: tuple[str, ...],
        change: Change | None,
        pictures: bool,
    ) -> None:
        method, dataset, scene, fit, seed = key
        rows, views = [], []
        for rate in rates:
            row = point(method, dataset, scene, fit, seed, rate, self.iterations.get(method, 30000))
            changed = change(row) if change else row
            if changed is None:
                continue
            rows.append(changed)
            for number in range(2):
                view = blank_row(VIEW_COLUMNS)
                view |= {name: row[name] for name in ("method", "dataset", "scene", "fit", "seed", "rate")}
                view |= {"psnr": row["psnr"], "ssim": row["ssim"], "view": f"view_{number}", "width": 96, "height": 64}
                views.append(view)
        if not rows:
            return
        write_points(folder / "points.csv", rows)
        write_views(folder / "views.csv", views)
        if pictures:
            write_showcase(folder / "showcase", {str(row["rate"]): float(row["psnr"] or 20.0) for row in rows})

    @staticmethod
    def _write_json(path: Path, data: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))


def point(method: str, dataset: str, scene: str, fit: str, seed: int, rate: str, iterations: int) -> dict[str, Value]:
    """A row whose figures follow smooth curves: files shrink and PSNR falls as λ rises."""
    lmbda = None if rate == "single" else float(rate.rpartition("_")[2])
    scale = {"knot": 1.0, "tower": 1.4, "chair": 0.8}.get(scene, 1.0) * (1.0 + 0.01 * seed)
    level = {"knot": 0.0, "tower": -1.5, "chair": 4.0}.get(scene, 0.0) + 0.05 * seed
    if lmbda is None:
        sizes = (
            {"colors": 90 * MIB, "rotations": 8 * MIB} if method == "gs3d" else {"features": 10 * MIB, "networks": 0}
        )
        sections = {name: int(size * scale) for name, size in sizes.items()}
        sections |= {"locations": int(4 * MIB * scale), "scalings": int(3 * MIB * scale)}
        psnr = 28.9 if method == "gs3d" else 29.3
        estimated = None
    else:
        factor = (lmbda / 1e-3) ** -0.45 * (1.3 if method == "hac" else 1.0)
        sections = {
            "locations": int(0.1 * MIB * scale),
            "masks": int(0.04 * MIB * scale),
            "hash_grid": 26000,
            "networks": 61000 if method == "hemgs" else 41000,
            "features": int(0.6 * MIB * scale * factor),
            "scalings": int(0.3 * MIB * scale * factor),
            "offsets": int(0.35 * MIB * scale * factor),
        }
        psnr = 29.4 - 0.5 * math.log(lmbda / 1e-3) - (0.1 if method == "hac" else 0.0)
        estimated = 8 * 0.997 * sum(sections[name] for name in ("features", "scalings", "offsets"))
    sections["container"] = 420
    row = blank_row()
    row |= {f"bytes_{name}": size for name, size in sections.items()}
    row |= {"method": method, "label": LABELS[method], "dataset": dataset, "scene": scene, "fit": fit, "seed": seed}
    row |= {"rate": rate, "lmbda": lmbda, "iterations": iterations, "status": "ok"}
    row |= {"bytes_total": sum(sections.values()), "estimated_bits": estimated}
    coded = None if estimated is None else 8 * sum(sections[name] for name in ("features", "scalings", "offsets"))
    row |= {"coded_bits": coded, "psnr": psnr + level, "ssim": 1 - 10 ** (-(psnr + level) / 25)}
    row |= {"lpips_squeeze": 0.25 - 0.004 * (psnr + level), "num_views": 2, "num_gaussians": int(50000 * scale)}
    row |= {"reason": "lpips_vgg_unit, lpips_vgg: the package 'torchvision' cannot be imported"}
    row |= {"train_s": METHODS[method][2], "encode_s": 1.5, "decode_s": 0.9, "render_s": 0.02, "fps": 50.0}
    row |= {"train_peak_mib": 900.0, "encode_peak_mib": 400.0, "decode_peak_mib": 300.0}
    row |= {
        "code_version": "0.1.0",
        "code_fingerprint": "f" * 12,
        "config_hash": "c" * 12,
        "scene_hash": f"hash-{scene}",
    }
    row |= {"bitstream_sha256": "b" * 64, "hardware": "Example CPU (2 cores), 8 GiB", "device": "cpu"}
    if coded is not None:
        row |= {f"estimated_bits_{name}": 8 * 0.997 * sections[name] for name in ("features", "scalings", "offsets")}
    return row | {"torch_version": "2.13.0"}


def write_showcase(folder: Path, psnrs: Mapping[str, float]) -> None:
    """A smooth picture as photograph, and noisy versions of the right PSNR per rate."""
    ys, xs = np.mgrid[0:64, 0:96]
    target = np.stack([0.5 + 0.4 * np.sin(xs / 7), 0.5 + 0.4 * np.cos(ys / 5), (xs + ys) / 160], axis=-1)
    noise = np.random.default_rng(0).normal(size=target.shape) * (1.0 + (xs > 60)[..., None])
    for name, sigma in {"target": 0.0, **{rate: 10 ** (-psnr / 20) for rate, psnr in psnrs.items()}}.items():
        pixels = (np.clip(target + sigma * noise, 0, 1) * 255).round().astype(np.uint8)
        for number in range(2):
            path = folder / name / f"view_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
