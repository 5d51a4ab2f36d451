"""Finds a scene's capture, by the kind of its source, and reads it.

Owns the choice of reader. Does not own the readers, where captures lie (``archives``), nor what is done with them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hemgs.core.errors import ConfigError
from hemgs.core.events import EventLog
from hemgs.data.capture import Capture
from hemgs.data.fetch.unpack import find_scene
from hemgs.data.procedural import ProceduralSettings, write_procedural
from hemgs.data.readers.blender import read_blender
from hemgs.data.readers.colmap import read_colmap
from hemgs.data.settings import SceneSettings

#: Where archives are kept once fetched, relative to the working directory (as every result of the workflow).
DEFAULT_ARCHIVES = Path("results/data/archives")


def open_capture(settings: SceneSettings, scratch: Path, archives: Path, events: EventLog) -> Capture:
    """Reads the capture of a scene.

    Args:
        scratch: empty folder for what is made on the way; may be removed once images are read.
        archives: folder where archives are kept once fetched.

    Raises:
        ConfigError: a source that cannot be used.
        SceneError: a capture that cannot be read.
    """
    source = settings.source
    with_points = settings.initial_points.kind == "sfm"
    if source["kind"] == "procedural":
        root = scratch / "capture"
        write_procedural(root, procedural_settings(settings), settings.protocol.background, events)
        return read_colmap(root, with_points=with_points)
    root = find_scene(settings, archives, scratch, events)
    if source["kind"] == "blender":
        return read_blender(root, settings.protocol.split_kind)
    images, sparse = source.get("images", "images"), source.get("sparse", "sparse/0")
    return read_colmap(root, images, sparse, with_points=with_points)


def procedural_settings(settings: SceneSettings) -> ProceduralSettings:
    """The ``source.procedural`` section; the layout is the scene's id unless it says otherwise.

    Raises:
        ConfigError: an unknown key or a value out of range.
    """
    values = {"layout": settings.scene, **settings.source.get("procedural", {})}
    known = {field.name for field in dataclasses.fields(ProceduralSettings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"source.procedural has the unknown key {unknown[0]!r}", f"known keys are {', '.join(sorted(known))}"
        )
    return ProceduralSettings(**values)
