"""Verbs that open bitstreams: ``decode``, ``inspect``, ``render``, ``evaluate``, ``export``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemgs.cli.console import note, say, say_json, seconds_text, size_text, table
from hemgs.cli.parser import Parser, add_device, explain, file_of, new_folder
from hemgs.core.errors import BitstreamError, ConfigError

if TYPE_CHECKING:
    from hemgs.coding.container import ContainerReport


def add_decode(parser: Parser) -> None:
    """Add the options of ``decode``."""
    explain(
        parser,
        "Decode one bitstream, which needs no other file. Write the decoded scene as safetensors.\n"
        "The printed time is that of a second decoding, so that it contains no compiling and loading.\n"
        "If the first decoding took more than ten seconds, its time is printed.",
        "  hemgs decode court.gsc --out court.safetensors\n"
        "  hemgs decode court.gsc --out court.safetensors --json stats.json",
    )
    _add_bitstream(parser)
    parser.add_argument(
        "--out", type=file_of(".safetensors"), required=True, metavar="FILE.safetensors", help="file to write"
    )
    parser.add_argument("--json", type=file_of(".json"), metavar="FILE.json", help="also write time, memory and counts")
    parser.add_argument("--once", action="store_true", help="decode once only; the time then includes compiling")
    parser.add_argument("--method", metavar="ENTRY", help="package.module:Class, for a method that is not installed")
    add_device(parser)
    parser.set_defaults(run=_decode)


def add_inspect(parser: Parser) -> None:
    """Add the options of ``inspect``."""
    explain(
        parser,
        "List the method that wrote a bitstream, the size of every section, and whether its checksum is right.\n"
        "Check that its method, if it is installed here, accepts its sections and settings. Nothing is decoded.\n"
        "The exit code is 2 if the file is damaged or refused.",
        "  hemgs inspect court.gsc\n  hemgs inspect court.gsc --json",
    )
    _add_bitstream(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_inspect)


def add_render(parser: Parser) -> None:
    """Add the options of ``render``."""
    explain(
        parser,
        "Decode a bitstream and draw PNGs of a prepared scene's views, or of your own cameras in a JSON file.\n"
        "With a scene, compare/ contains photograph, picture and error (four times amplified) of each view.",
        "  hemgs render court.gsc --scene results/court --out pictures\n"
        "  hemgs render court.gsc --scene results/court --split train --out pictures\n"
        "  hemgs render court.gsc --camera cameras.json --background 1,1,1 --out pictures\n\n"
        "cameras.json contains one mapping or a list of {name, width, height, fx, fy, cx, cy, world_to_camera}:\n"
        "pixels, and a 4 x 4 matrix with x right, y down, z forward.",
    )
    _add_bitstream(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--scene", type=Path, metavar="SCENE_DIR", help="draw the views of this prepared scene")
    source.add_argument("--camera", type=Path, metavar="FILE.json", help="draw these cameras")
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which views [%(default)s]")
    parser.add_argument("--background", metavar="R,G,B", help="in [0, 1], with --camera [0,0,0]; a scene has its own")
    parser.add_argument("--out", type=new_folder, required=True, metavar="DIR", help="folder for the pictures")
    add_device(parser)
    parser.set_defaults(run=_render)


def add_evaluate(parser: Parser) -> None:
    """Add the options of ``evaluate``."""
    explain(
        parser,
        "Decode every bitstream of an encoding in its own process, and render the test views. Write points.csv (one\n"
        "row per rate), views.csv (one row per rate and view) and a few pictures in showcase/. This needs no model.",
        "  hemgs evaluate results/court_points --scene results/court --out results/court_points\n"
        "  hemgs evaluate results/court_points --scene results/court --out measured --showcase 0 --keep-going",
    )
    parser.add_argument("points", type=Path, metavar="POINT_DIR", help="folder that `hemgs encode` wrote")
    parser.add_argument("--scene", type=Path, required=True, metavar="SCENE_DIR", help="the model's training scene")
    parser.add_argument(
        "--out", type=new_folder, required=True, metavar="DIR", help="folder to write; may be POINT_DIR"
    )
    parser.add_argument("--showcase", type=int, default=2, metavar="N", help="test views to keep pictures of [2]")
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="a bitstream that fails becomes a row with status `failed` and its reason, unless all of them fail",
    )
    add_device(parser)
    parser.set_defaults(run=_evaluate)


def add_export(parser: Parser) -> None:
    """Add the options of ``export``."""
    explain(
        parser,
        "Decode a bitstream and write plain Gaussians as the PLY that 3DGS viewers read. If a method's Gaussians\n"
        "depend on the view, they are frozen for a mean view. With --scene, the loss from freezing is printed.\n"
        "Every record has the 45 coefficients f_rest_* that the viewer of 3DGS expects; missing bands are zero.",
        "  hemgs export court.gsc --ply court.ply\n  hemgs export court.gsc --ply court.ply --scene results/court",
    )
    _add_bitstream(parser)
    parser.add_argument("--ply", type=file_of(".ply"), required=True, metavar="FILE.ply", help="file to write")
    parser.add_argument("--scene", type=Path, metavar="SCENE_DIR", help="state the loss on this scene's test views")
    parser.add_argument(
        "--lean",
        action="store_true",
        help="leave out missing bands: a smaller file, which the viewer of 3DGS cannot read",
    )
    add_device(parser)
    parser.set_defaults(run=_export)


def _add_bitstream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bitstream", type=Path, metavar="FILE.gsc", help="bitstream that `hemgs encode` wrote")


def _decode(arguments: argparse.Namespace) -> int:
    from hemgs.bench.decoding import run_decode
    from hemgs.bench.runs import write_json
    from hemgs.core.bundle import save_bundle
    from hemgs.core.device import choose_device

    device = choose_device(arguments.device)
    renderable, stats = run_decode(arguments.bitstream, device, arguments.method, repeat=not arguments.once)
    save_bundle(arguments.out, renderable.to_bundle())
    if arguments.json is not None:
        write_json(arguments.json, asdict(stats))
    say(
        f"{arguments.out}: {stats.method}, decoded in {seconds_text(stats.decode_s)}, "
        f"{stats.decode_peak_mib:.0f} MiB at most"
    )
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from hemgs.coding.container import inspect_container

    report = inspect_container(arguments.bitstream)
    refusal = _refusal_of(arguments.bitstream) if report.intact else None
    if arguments.json:
        say_json({**_report_json(report), "refused": refusal.message if refusal else report.fault or None})
    else:
        _say_report(arguments.bitstream, report)
    if refusal is not None:
        raise refusal
    if not report.intact:
        fault = f" ({report.fault.removeprefix(f'{arguments.bitstream}: ')})" if report.fault else ""
        raise BitstreamError(f"{arguments.bitstream}: the file is damaged{fault}", "copy it again, or encode it again")
    return 0


def _refusal_of(path: Path) -> BitstreamError | None:
    try:
        from hemgs.bench.decoding import refusal_of
    except ImportError:  # Methods need torch. The container's checks do not.
        return None
    return refusal_of(path)


def _report_json(report: ContainerReport) -> dict[str, Any]:
    return {
        "method": report.method,
        "version": report.version,
        "intact": report.intact,
        "file_bytes": report.file_bytes,
        "expected_bytes": report.expected_bytes,
        "symbols_digest": report.symbols_digest.hex(),
        "lmbda": report.trade_off.lmbda,
        "lmbda_interval": None if (interval := report.trade_off.interval) is None else [interval.low, interval.high],
        "sections": {
            "container": {"offset": 0, "bytes": report.header_bytes, "intact": report.header_intact},
            **{row.name: {"offset": row.offset, "bytes": row.size_bytes, "intact": row.intact} for row in report.rows},
        },
    }


def _say_report(path: Path, report: ContainerReport) -> None:
    say(f"{path}: method {report.method}, format {report.version}, symbols {report.symbols_digest.hex()}")
    if report.trade_off.lmbda is not None:
        interval = report.trade_off.interval
        served = "" if interval is None else f", of a model that serves {interval.low:g} to {interval.high:g}"
        say(f"encoded at λ {report.trade_off.lmbda:g}{served}")
    sections = [("container", report.header_bytes, report.header_intact)]
    sections += [(row.name, row.size_bytes, row.intact) for row in report.rows]
    rows = [
        [name, str(size), f"{100 * size / max(report.expected_bytes, 1):.1f} %", "ok" if intact else "DAMAGED"]
        for name, size, intact in sections
    ]
    rows.append(["all", str(report.file_bytes), size_text(report.file_bytes), "ok" if report.intact else "DAMAGED"])
    say(table(["section", "bytes", "share", "checksum"], rows))


def parse_background(text: str | None) -> tuple[float, float, float]:
    """Read ``R,G,B`` as three numbers in [0, 1]; black if ``None``.

    Raises:
        ConfigError: the text is anything else.
    """
    if text is None:
        return 0.0, 0.0, 0.0
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        red = green = blue = -1.0
    if not all(0.0 <= value <= 1.0 for value in (red, green, blue)):
        raise ConfigError(f"--background {text!r}", "give three numbers from 0 to 1, such as 1,1,1")
    return red, green, blue


def _render(arguments: argparse.Namespace) -> int:
    if arguments.scene is not None and arguments.background is not None:
        raise ConfigError("--background is for --camera; a prepared scene has its own", "leave it out")
    background = parse_background(arguments.background)
    from hemgs.bench.viewing import run_render, run_render_cameras
    from hemgs.core.device import choose_device

    device = choose_device(arguments.device)
    if arguments.camera is not None:
        pictures = run_render_cameras(arguments.bitstream, arguments.camera, background, arguments.out, device)
        say(f"{arguments.out}: {len(pictures)} pictures")
        return 0
    pictures = run_render(arguments.bitstream, arguments.scene, arguments.split, arguments.out, device, sys.stderr)
    say(table(["picture", "PSNR dB"], [[str(picture.file), f"{picture.psnr:.2f}"] for picture in pictures]))
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.showcase < 0:
        raise ConfigError(f"--showcase {arguments.showcase} is negative", "give a number of views, 0 for none")
    from hemgs.bench.evaluation import EvaluateRequest, run_evaluate
    from hemgs.core.device import choose_device

    request = EvaluateRequest(
        points=arguments.points,
        scene=arguments.scene,
        out=arguments.out,
        num_showcase=arguments.showcase,
        keep_going=arguments.keep_going,
    )
    result = run_evaluate(request, choose_device(arguments.device), sys.stderr)
    rows = []
    for point in result.points:
        if point["status"] != "ok":
            note(f"{point['rate']}: {point['status']}: {point['reason']}")
            continue
        rows.append(
            [
                str(point["rate"]),
                size_text(float(point["bytes_total"] or 0)),
                f"{point['psnr']:.2f}",
                f"{point['ssim']:.4f}",
                f"{point['decode_s']:.3f}",
                f"{point['fps']:.1f}",
            ]
        )
    say(table(["rate", "size", "PSNR dB", "SSIM", "decode s", "FPS"], rows))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from hemgs.bench.viewing import run_export
    from hemgs.core.device import choose_device

    device = choose_device(arguments.device)
    number, loss = run_export(arguments.bitstream, arguments.ply, arguments.scene, device, lean=arguments.lean)
    say(f"{arguments.ply}: {number} Gaussians")
    if loss is not None:
        say(
            f"PSNR {loss.decoded:.2f} dB decoded, {loss.exported:.2f} dB exported: "
            f"freezing the view costs {loss.loss_db:.2f} dB"
        )
    return 0
