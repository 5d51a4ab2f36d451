"""Memory grows with Gaussians, pixels and their intersections, not with Gaussians times pixels."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch

from hemgs.core.types import Camera
from hemgs.render import rasterization, render_view
from tests.unit.render.render_cases import Case, arguments_of, gaussians_of

REPOSITORY = Path(__file__).resolve().parents[3]


def extra_peak_mib(num: int, side: int) -> float:
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.render.render_peak", str(num), str(side)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return float(run.stdout)


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_gaussians_times_pixels() -> None:
    small, large = extra_peak_mib(10_000, 256), extra_peak_mib(40_000, 512)
    # Four times the Gaussians and four times the pixels: one byte per pair would be 10,000 MiB.
    assert large < 150
    assert large < 8 * max(small, 10)


def test_results_are_freed_without_the_garbage_collector() -> None:
    inputs = arguments_of(Case(num=50), torch.float32)
    gc.collect()
    gc.disable()
    try:
        image, alpha, meta = rasterization(**inputs, absgrad=True, packed=False)
        references = [weakref.ref(image), weakref.ref(meta["means2d"])]
        image.sum().backward()
        del image, alpha, meta
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_views_are_freed_without_the_garbage_collector() -> None:
    inputs = arguments_of(Case(num=50), torch.float32)
    camera = Camera("view", 97, 83, 90.0, 90.0, 48.0, 41.0, inputs["viewmats"][0].detach().double().numpy())
    gaussians = gaussians_of(inputs)
    gc.collect()
    gc.disable()
    try:
        for backward in (False, True):
            view = render_view(**gaussians, camera=camera, background=(0.0, 0.0, 0.0), absgrad=True)
            references = [weakref.ref(view.image), weakref.ref(view.means2d)]
            if backward:
                view.image.sum().backward()
            del view
            assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()
