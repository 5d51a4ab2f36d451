"""Verbs that download and prepare captures and weights: ``fetch``, ``hash-archive``, ``prepare``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hemgs.cli.console import say, size_text
from hemgs.cli.parser import Parser, explain, file_of, new_folder
from hemgs.core.errors import ConfigError


def add_fetch(parser: Parser) -> None:
    """Add the options of ``fetch``."""
    explain(
        parser,
        "Download the archives of scenes that are not in place yet, or weights, and check size and SHA-256.\n"
        "Interrupted downloads continue. A scene whose folder exists already needs no download. `prepare` also\n"
        "downloads archives. Use this verb if jobs have no network, and for weights, which no job downloads.",
        "  hemgs fetch --dataset workflow/config/datasets/mipnerf360.yaml --scenes garden,room\n"
        "  hemgs fetch --asset lpips_squeeze_backbone --asset lpips_squeeze_heads\n"
        "  hemgs fetch --asset all",
    )
    parser.add_argument("--dataset", type=Path, action="append", metavar="FILE.yaml", help="dataset file; repeatable")
    parser.add_argument("--scenes", metavar="ID,...", help="only these scenes, as scene or dataset/scene")
    parser.add_argument("--archive", metavar="NAME", help="only this archive, by its file name; needs room for all")
    parser.add_argument("--asset", action="append", metavar="ID", help="id of weights, or all; repeatable")
    parser.add_argument(
        "--out",
        type=file_of(".json"),
        metavar="FILE.json",
        help="record of the downloaded files; progress goes to .jsonl",
    )
    _add_archives(parser)
    parser.set_defaults(run=_fetch)


def add_hash_archive(parser: Parser) -> None:
    """Add the options of ``hash-archive``."""
    explain(
        parser,
        "Print the two lines that pin a file in a dataset's YAML. With --dataset, print those of its downloaded\n"
        "archives. --write replaces null in the dataset's file by these lines, which then rule out any other archive.",
        "  hemgs hash-archive ~/downloads/tandt_db.zip\n"
        "  hemgs hash-archive --dataset workflow/config/datasets/deepblending.yaml --write",
    )
    parser.add_argument("file", nargs="*", type=Path, metavar="FILE", help="files to hash")
    parser.add_argument("--dataset", type=Path, metavar="FILE.yaml", help="dataset file")
    parser.add_argument("--write", action="store_true", help="write them into the dataset's file")
    _add_archives(parser)
    parser.set_defaults(run=_hash_archive)


def add_prepare(parser: Parser) -> None:
    """Add the options of ``prepare``."""
    explain(
        parser,
        "Read a capture (COLMAP, Blender or procedural) as its dataset file defines it. Apply split and resize once,\n"
        "and write scene.json, images/ and points.npz with checksums. Every method is trained and measured on these.",
        "  hemgs prepare --dataset workflow/config/datasets/procedural.yaml --scene court --out results/court\n"
        "  HEMGS_TEST_DATA=~/captures hemgs prepare --dataset workflow/config/datasets/bonsai_capture.yaml \\\n"
        "      --scene bonsai --out results/bonsai",
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE.yaml", help="dataset file")
    parser.add_argument("--scene", required=True, metavar="ID", help="one of its scenes")
    parser.add_argument("--out", type=new_folder, required=True, metavar="SCENE_DIR", help="folder to write")
    parser.add_argument(
        "--archives", type=Path, metavar="DIR", help="where downloaded archives are kept [results/data/archives]"
    )
    parser.set_defaults(run=_prepare)


def _add_archives(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--archives", type=Path, metavar="DIR", help="where downloaded archives are kept [results/data/archives]"
    )


def _fetch(arguments: argparse.Namespace) -> int:
    if not arguments.dataset and not arguments.asset:
        raise ConfigError("nothing to fetch is named", "give --dataset or --asset")
    records = _fetch_archives(arguments) if arguments.dataset else []
    if arguments.asset:
        _fetch_assets(arguments.asset)
    if arguments.out:
        from hemgs.core.files import write_text

        # The record also contains the request, so that a later request for less needs no download.
        asked = {"datasets": [str(path) for path in arguments.dataset or ()], "scenes": _named(arguments.scenes)}
        write_text(arguments.out, json.dumps({"archives": records, **asked}, indent=1, sort_keys=True) + "\n")
    return 0


def _named(scenes: str | None) -> list[str]:
    return [name for name in (scenes or "").split(",") if name]


def _fetch_archives(arguments: argparse.Namespace) -> list[dict[str, object]]:
    from hemgs.config.dataset import load_dataset
    from hemgs.core.events import terminal_events
    from hemgs.core.reading import closest
    from hemgs.data.fetch.archives import DEFAULT_ARCHIVES, fetch_archives, wanted_archives

    folder = arguments.archives or DEFAULT_ARCHIVES
    scenes = _named(arguments.scenes)
    wanted = wanted_archives([load_dataset(path) for path in arguments.dataset], scenes, folder)
    if arguments.archive and arguments.archive not in wanted:
        raise ConfigError(
            f"no requested scene is in the archive '{arguments.archive}'", closest(arguments.archive, wanted)
        )
    # A job has no terminal, so progress goes to a log next to its record.
    log = arguments.out.with_suffix(".jsonl") if arguments.out else None
    with terminal_events("fetching, MiB", log) as events:
        records = fetch_archives(wanted, folder, events, arguments.archive)
    if not records:
        say("nothing to fetch: no archive is declared for these scenes")
    for record in records:
        for scene, place in record["in_place"].items():
            say(f"{scene}: in place at {place}")
        if "file" in record:
            say(f"{record['file']}: {size_text(record['size_bytes'])}, sha256 {record['sha256']}")
    return records


def _fetch_assets(names: list[str]) -> None:
    from hemgs.core.assets import list_assets
    from hemgs.core.events import terminal_events
    from hemgs.core.reading import closest
    from hemgs.data.fetch.archives import fetch_asset

    known = list_assets()
    for name in known if names == ["all"] else names:
        if name not in known:
            raise ConfigError(f"there is no asset '{name}'", closest(name, known))
        with terminal_events(f"fetching {name}, MiB") as events:
            say(f"{name}: {fetch_asset(known[name], events)}")


def _hash_archive(arguments: argparse.Namespace) -> int:
    from hemgs.core.files import sha256_of

    if arguments.dataset and not arguments.file:
        return _hash_fetched(arguments)
    if not arguments.file or arguments.write:
        raise ConfigError("no dataset to look at or write to", "give FILE, or --dataset without any")
    for path in arguments.file:
        _say_pin(path, sha256_of(path))
    return 0


def _hash_fetched(arguments: argparse.Namespace) -> int:
    from hemgs.config.dataset import load_dataset
    from hemgs.data.fetch.archives import DEFAULT_ARCHIVES, pin_archives
    from hemgs.data.fetch.http import fetched_sha256

    folder = arguments.archives or DEFAULT_ARCHIVES
    dataset = load_dataset(arguments.dataset)
    paths = [folder / archive.name for archive in dataset.archives]
    there = [path for path in paths if path.is_file()]
    if not there:
        raise ConfigError(
            f"none of {len(paths)} archives of '{dataset.id}' is in {folder}",
            f"run `hemgs fetch --dataset {arguments.dataset}`",
        )
    for path in there:
        _say_pin(path, fetched_sha256(path))
    if arguments.write:
        pinned = pin_archives(arguments.dataset, dataset, folder)
        say(f"{arguments.dataset}: {', '.join(pinned) or 'nothing left to pin'}")
    return 0


def _say_pin(path: Path, sha256: str) -> None:
    say(f"# {path}")
    say(f"size_bytes: {path.stat().st_size}")
    say(f"sha256: {sha256}")


def _prepare(arguments: argparse.Namespace) -> int:
    from hemgs.core.events import terminal_events
    from hemgs.core.yaml_files import load_yaml
    from hemgs.data.fetch.archives import DEFAULT_ARCHIVES
    from hemgs.data.prepare import prepare_scene

    dataset = load_yaml(arguments.dataset)
    with terminal_events(f"preparing {arguments.scene}") as events:
        scene = prepare_scene(
            dataset, arguments.scene, arguments.out, events=events, archives=arguments.archives or DEFAULT_ARCHIVES
        )
    width, height = (max(getattr(view.camera, side) for view in scene.views) for side in ("width", "height"))
    num_masks = sum(view.mask is not None for view in scene.views)
    masks = f"{num_masks} of {len(scene.views)} views with masks, " if num_masks else ""
    say(
        f"{arguments.out}: {len(scene.split('train'))} training and {len(scene.split('test'))} test views, "
        f"{masks}at most {width} x {height} px, {len(scene.points)} points, hash {scene.hash[:12]}"
    )
    return 0
