"""Verbs about scenes: ``prepare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from hemgs.cli.console import say
from hemgs.cli.parser import Verbs, add_verb


def add_verbs(verbs: Verbs) -> None:
    """Adds this module's verbs."""
    parser = add_verb(
        verbs,
        "prepare",
        "read a capture; split, resize and check it once",
        "Reads a capture (COLMAP, Blender or procedural) as its data set file says, applies split and resize once,\n"
        "and writes scene.json, images/ and points.npz with checksums. Every method trains and is measured on that.",
        "  hemgs prepare --dataset workflow/config/datasets/procedural.yaml --scene court --out results/court\n"
        "  HEMGS_TEST_DATA=~/captures hemgs prepare --dataset workflow/config/datasets/bonsai_capture.yaml \\\n"
        "      --scene bonsai --out results/bonsai",
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE.yaml", help="data set file")
    parser.add_argument("--scene", required=True, metavar="ID", help="one of its scenes")
    parser.add_argument("--out", type=Path, required=True, metavar="SCENE_DIR", help="folder to write")
    parser.add_argument(
        "--archives", type=Path, metavar="DIR", help="where downloaded archives are kept [results/data/archives]"
    )
    parser.set_defaults(run=_prepare)


def _prepare(arguments: argparse.Namespace) -> int:
    from hemgs.core.events import terminal_events
    from hemgs.core.reading import load_yaml, validate
    from hemgs.data.fetch.archives import DEFAULT_ARCHIVES
    from hemgs.data.prepare import prepare_scene

    dataset = load_yaml(arguments.dataset)
    validate(dataset, "dataset", str(arguments.dataset))
    with terminal_events(f"preparing {arguments.scene}") as events:
        scene = prepare_scene(
            dataset, arguments.scene, arguments.out, events=events, archives=arguments.archives or DEFAULT_ARCHIVES
        )
    width, height = (max(getattr(view.camera, side) for view in scene.views) for side in ("width", "height"))
    say(
        f"{arguments.out}: {len(scene.split('train'))} training and {len(scene.split('test'))} test views, "
        f"at most {width} x {height} px, {len(scene.points)} points, hash {scene.hash[:12]}"
    )
    return 0
