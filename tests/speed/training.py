"""Time per training step of HEMGS, split by stage, in its three phases.

Run as ``python -m tests.speed.training``. One process trains one procedural scene. In each phase it times the stages of
every step where the trainer calls them, and prints means over the faster half of the steps. Phases differ in
what ``sample`` does: attributes as they are, with noise, or with predicted steps and their price (whose gradients are
part of ``backward``). All stages are measured side by side in one run, so their shares hold even where the absolute
figures do not.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from hemgs.anchor_codec.steps import BaseSteps
from hemgs.anchors import training as trainer
from hemgs.codec.model import EntropyModel
from hemgs.codec.params import HemgsParams
from hemgs.codec.training import HemgsAttributes
from hemgs.config.params import params_of
from hemgs.core.device import choose_device, synchronize
from hemgs.core.events import EventLog
from hemgs.core.types import Scene
from hemgs.data.prepare import prepare_scene
from hemgs.training.loop import ImageCache, ViewStack, seed_everything
from hemgs.training.networks import NetworkOptimizer
from hemgs.training.rows import RowParameters
from tests.speed.stages import StageTimer, timed_calls

#: Stage → what is timed as it: the names that the trainer calls, by owner.
STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "visible anchors": ((trainer, "visible_anchors"),),
    "sample and price": ((HemgsAttributes, "sample"),),
    "heads": ((trainer, "spawn_gaussians"),),
    "render": ((trainer, "render_view"),),
    "loss": ((trainer, "reconstruction_loss"),),
    "backward": ((torch.Tensor, "backward"),),
    "optimiser": ((RowParameters, "step"), (NetworkOptimizer, "step")),
    "growing": ((trainer.AnchorTrainee, "_record"), (trainer.AnchorTrainee, "_grow_and_prune")),
}
STEP = "whole step"
#: Steps before the clock starts, in each phase: compiling, caches, the calibration of the entropy model.
WARM_UP_STEPS = 5
#: Networks and hash grid of a size that suits the scene, as in the demonstration.
SMALL = {
    "feature_dim": 32,
    "grid_resolutions_3d": "12 20 34 58",
    "grid_resolutions_2d": "34 66",
    "grid_log2_entries_3d": 10,
    "grid_log2_entries_2d": 10,
    "feature_prior": 32,
    "feature_hidden": 32,
    "feature_step_hidden": 16,
    "geometry_prior": 32,
    "geometry_hidden": 32,
    "geometry_step_hidden": 16,
    "sample_share": 0.2,
}


def measure(
    width: int = 160, height: int = 120, num_points: int = 4000, steps: int = 30
) -> dict[str, dict[str, float]]:
    """Trains some steps in each phase.

    Args:
        width, height: of the views, pixels.
        num_points: initial points, about one anchor each.
        steps: timed in each phase.

    Returns:
        Phase → stage → mean seconds over the faster half of the steps; what ``whole step`` is more than the sum is
        bookkeeping.
    """
    device = choose_device("auto")
    params = params_of(HemgsParams, SMALL)
    with tempfile.TemporaryDirectory() as folder:
        scene = _scene(Path(folder) / "scene", width, height, num_points)
        seed_everything(0)
        anchors = trainer.initial_anchors(scene, params, device)
        attributes = HemgsAttributes(EntropyModel(params.entropy), BaseSteps.of(params), params.simulation)
        trainee = trainer.AnchorTrainee(anchors, params, attributes, scene.extent)
        views, stack = scene.split("train"), ViewStack(len(scene.split("train")), 0)
        images = ImageCache(scene, device, limit_mib=512)
        background = torch.tensor(scene.background, device=device)
        simulation = params.simulation
        starts = {"plain": 1, "noise": simulation.noise_start, "entropy": simulation.entropy_start}
        found = {}
        for phase, first in starts.items():
            timer = StageTimer(lambda: synchronize(device))
            with timed_calls(STAGES, timer):
                for iteration in range(first, first + WARM_UP_STEPS + steps):
                    if iteration == first + WARM_UP_STEPS:
                        timer.clear()
                    view = views[stack.draw()]
                    image = images.get(view)
                    with timer.repetition(), timer.stage(STEP):
                        trainee.step(iteration, view.camera, image, background)
            found[phase] = timer.typical(STEP)
    return found


def _scene(folder: Path, width: int, height: int, num_points: int) -> Scene:
    dataset = {
        "id": "procedural",
        "label": "Procedural",
        "source": {
            "kind": "procedural",
            "procedural": {"num_views": 10, "width": width, "height": height, "num_points": num_points},
        },
        "protocol": {"max_width": None, "split": {"kind": "every_nth", "n": 5}, "background": [0, 0, 0]},
        "initial_points": {"kind": "sfm"},
        "scenes": {"court": {}},
    }
    with EventLog() as events:
        return prepare_scene(dataset, "court", folder, events=events)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=160, help="of the views, pixels (default: %(default)s)")
    parser.add_argument("--height", type=int, default=120, help="of the views, pixels (default: %(default)s)")
    parser.add_argument("--points", type=int, default=4000, help="initial points (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=30, help="timed in each phase (default: %(default)s)")
    arguments = parser.parse_args()
    found = measure(arguments.width, arguments.height, arguments.points, arguments.steps)
    print(f"{'stage':20}" + "".join(f"{phase:>20}" for phase in found))
    for stage in (*STAGES, STEP):
        cells = [f"{1e3 * stages[stage]:8.2f} ms {stages[stage] / stages[STEP]:6.0%}" for stages in found.values()]
        print(f"{stage:20}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
