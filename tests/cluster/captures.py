"""Small captures laid out as the four datasets of the paper are published: folders, file names and camera models."""

from __future__ import annotations

from pathlib import Path

from hemgs.config.dataset import Procedural
from hemgs.core.events import EventLog
from hemgs.data.procedural import write_procedural
from tests.unit.data.capture_builders import blender_capture

#: One scene per dataset, and where `HEMGS_DATASETS` has it; the paths are those of the published archives.
COLMAP_SCENES = {
    "mipnerf360/bicycle": "mipnerf360/bicycle",
    "tanksandtemples/train": "tandt_db/tandt/train",
    "deepblending/playroom": "tandt_db/db/playroom",
}
BLENDER_SCENES = {"synthetic_nerf/lego": "synthetic_nerf/nerf_synthetic/lego"}
SCENES = (*COLMAP_SCENES, *BLENDER_SCENES)
SETTINGS = Procedural(num_views=9, width=32, height=24, num_points=80)


def write_captures(folder: Path) -> Path:
    """Writes one scene per dataset; gives the folder for ``HEMGS_DATASETS``."""
    for path in COLMAP_SCENES.values():
        with EventLog() as events:
            write_procedural(folder / path, "court", SETTINGS, (0.0, 0.0, 0.0), events)
    for path in BLENDER_SCENES.values():
        (folder / path).mkdir(parents=True)
        blender_capture(folder / path, num_train=8, num_test=2)
    return folder
