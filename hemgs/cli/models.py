"""Verbs of the codec: ``train``, ``encode``, ``decode``, ``inspect``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemgs.cli.console import say, say_json, seconds_text, size_text, table
from hemgs.cli.parser import Verbs, add_device, add_verb
from hemgs.cli.targets import psnr_lines, size_lines
from hemgs.core.errors import BitstreamError, ConfigError

if TYPE_CHECKING:
    from hemgs.coding.container import ContainerReport
    from hemgs.core.types import Rate

_SUFFIX = ".gsc"


def add_verbs(verbs: Verbs) -> None:
    """Adds this module's verbs."""
    _add_train(verbs)
    _add_encode(verbs)
    _add_decode(verbs)
    _add_inspect(verbs)


def _add_train(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "train",
        "fit a model to a prepared scene",
        "Fits one model. Stopped at any moment (Ctrl-C, time limit, power cut), the same command continues from the\n"
        "last checkpoint in MODEL_DIR/work. Writes model.safetensors, train.json and events.jsonl.",
        "  hemgs train results/court --method hemgs --out results/court_hemgs\n"
        "  hemgs train results/court --method hemgs --set iterations=3000 --set voxel_size=0.01 --out results/short\n"
        "  hemgs train results/court --method my_package.method:MyMethod --rate lmbda_0.0020 --out results/mine",
    )
    parser.add_argument("scene", type=Path, metavar="SCENE_DIR", help="what `hemgs prepare` wrote")
    parser.add_argument("--method", required=True, metavar="ID", help="id, or package.module:Class")
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL_DIR", help="folder to write")
    parser.add_argument("--rate", metavar="ID", help="rate id, for methods that are trained once per rate")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting over the method's default; may be repeated, and wins over --params-json",
    )
    parser.add_argument("--params-json", metavar="JSON", help="several settings as a JSON mapping, or @FILE")
    parser.add_argument("--seed", type=int, default=0, help="of everything random [%(default)s]")
    parser.add_argument("--variant", default="", metavar="ID", help="id of the variant these settings make")
    parser.add_argument("--label", default="", metavar="TEXT", help="name for print [the method's own]")
    add_device(parser)
    parser.set_defaults(run=_train)


def _add_encode(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "encode",
        "write a model as bitstreams, at one or many rates",
        "Encodes a trained model. A larger lambda gives a smaller file of lower quality. With a folder as --out,\n"
        "writes bitstreams/<rate>.gsc and encode.json with sizes by section; with a file (.gsc), just that file.\n"
        "Instead of lambda, a size or a quality may be named; about ten files are then tried, and the lambda of the\n"
        "one that is written is printed: --lmbda with that number gives the same file at once.",
        "  hemgs encode results/court_hemgs --out results/court_points                  the usual sixteen rates\n"
        "  hemgs encode results/court_hemgs --lmbda 0.001 0.004 --out results/court_points\n"
        "  hemgs encode results/court_hemgs --lmbda 0.002 --out court.gsc\n"
        "  hemgs encode results/court_hemgs --target-bytes 250000 --out court.gsc\n"
        "  hemgs encode results/court_hemgs --target-psnr 27.5 --scene results/court --out court.gsc\n"
        "  hemgs encode results/court_hemgs --target-psnr 27.5 --scene results/court --views 4 --out court.gsc",
    )
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="what `hemgs train` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR|FILE.gsc", help="folder or file to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--lmbda", type=float, nargs="+", metavar="X", help="rate–distortion trade-offs, positive")
    which.add_argument("--rates", metavar="ID,ID", help="the same by rate id, as in lmbda_0.0010,lmbda_0.0040")
    which.add_argument("--target-bytes", type=int, metavar="N", help="best quality in a file of at most N bytes")
    which.add_argument(
        "--target-psnr",
        type=float,
        metavar="D",
        help="smallest file whose decoded test views have a mean PSNR of at least D dB; needs --scene",
    )
    parser.add_argument(
        "--scene",
        type=Path,
        metavar="SCENE_DIR",
        help="with --target-psnr: the prepared scene the model was trained on",
    )
    parser.add_argument(
        "--views",
        type=int,
        metavar="N",
        help="with --target-psnr: measure N test views, evenly spread, to save time [all]",
    )
    add_device(parser)
    parser.set_defaults(run=_encode)


def _add_decode(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "decode",
        "read a bitstream back",
        "Decodes one bitstream; nothing but that file is needed. The decoded scene is written as safetensors.\n"
        "The time shown is that of a second decoding, so that compiling and loading stay outside the clock\n"
        "(the first one's if it took more than ten seconds).",
        "  hemgs decode court.gsc --out court.safetensors\n"
        "  hemgs decode court.gsc --out court.safetensors --json stats.json",
    )
    _add_bitstream(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors", help="file to write")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write time, memory and counts")
    parser.add_argument("--once", action="store_true", help="decode once only; the time then includes compiling")
    parser.add_argument("--method", metavar="ENTRY", help="package.module:Class, for a method that is not installed")
    add_device(parser)
    parser.set_defaults(run=_decode)


def _add_inspect(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "inspect",
        "list the sections of a bitstream and check them",
        "Shows which method wrote a bitstream, the size of every section and whether its checksum holds.\n"
        "Exit code 2 if the file is damaged.",
        "  hemgs inspect court.gsc\n  hemgs inspect court.gsc --json",
    )
    _add_bitstream(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_inspect)


def _add_bitstream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bitstream", type=Path, metavar="FILE.gsc", help="what `hemgs encode` wrote")


def _train(arguments: argparse.Namespace) -> int:
    params, texts = parse_params(arguments.params_json), parse_assignments(arguments.set)
    from hemgs.bench.runner import TrainRequest, run_train
    from hemgs.core.device import choose_device

    request = TrainRequest(
        scene=arguments.scene,
        method=arguments.method,
        out=arguments.out,
        rate=arguments.rate,
        params=params,
        texts=texts,
        seed=arguments.seed,
        variant=arguments.variant,
        label=arguments.label,
    )
    record = run_train(request, choose_device(arguments.device), sys.stderr)
    counts = ", ".join(f"{value} {name.removeprefix('num_')}" for name, value in record.counts.items())
    say(
        f"{arguments.out}: {record.label} on {record.dataset}/{record.scene}, {record.iterations} iterations in "
        f"{seconds_text(record.train_s)}, {record.train_peak_mib:.0f} MiB at most" + (f", {counts}" if counts else "")
    )
    return 0


def parse_params(params_json: str | None) -> dict[str, Any]:
    """Settings from ``--params-json``, which is a JSON mapping or ``@`` and a file that holds one.

    Raises:
        ConfigError: it cannot be read, or is not a mapping.
    """
    if params_json is None:
        return {}
    text = params_json
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(f"--params-json {params_json}: {fault}", "check the path after the @") from fault
    try:
        params = json.loads(text)
    except ValueError as fault:
        raise ConfigError(f"--params-json is not JSON ({fault})", 'write {"iterations": 3000}') from fault
    if not isinstance(params, dict):
        raise ConfigError(f"--params-json is {text.strip()[:60]!r}, not a mapping", 'write {"iterations": 3000}')
    return params


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """Settings from ``--set KEY=VALUE``, values as they were typed.

    Raises:
        ConfigError: no name or no ``=``.
    """
    texts = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {assignment!r} is not KEY=VALUE", "write, for example, --set iterations=3000")
        texts[key.strip()] = value
    return texts


def _encode(arguments: argparse.Namespace) -> int:
    _check_target(arguments)
    rates = _rates(arguments)
    from hemgs.core.device import choose_device

    device = choose_device(arguments.device)
    if arguments.target_bytes is not None or arguments.target_psnr is not None:
        return _encode_to_target(arguments, device)
    if arguments.out.suffix == _SUFFIX:
        return _encode_file(arguments, rates, device)
    from hemgs.bench.runner import run_encode

    record = run_encode(arguments.model, arguments.out, rates, device, sys.stderr)
    rows = [
        [rate, str(encoded.total_bytes), size_text(encoded.total_bytes), seconds_text(encoded.encode_s)]
        for rate, encoded in record.rates.items()
    ]
    say(table(["rate", "bytes", "size", "time"], rows))
    return 0


def _check_target(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for options of a target that do not go together or cannot be."""
    psnr = arguments.target_psnr
    if psnr is None and (arguments.scene is not None or arguments.views is not None):
        raise ConfigError("--scene and --views are for --target-psnr", "leave them out, or name a PSNR")
    if psnr is not None and arguments.scene is None:
        raise ConfigError("--target-psnr needs views to measure", "name the prepared scene with --scene SCENE_DIR")
    if psnr is not None and not math.isfinite(psnr):
        raise ConfigError(f"--target-psnr {psnr}", "give a number of dB such as 27.5")
    if arguments.views is not None and arguments.views < 1:
        raise ConfigError(
            f"--views {arguments.views}", "give a number of test views from 1 up, or leave it out for all"
        )
    if arguments.target_bytes is not None and arguments.target_bytes < 1:
        raise ConfigError(f"--target-bytes {arguments.target_bytes}", "give a number of bytes such as 250000")
    option = "--target-bytes" if arguments.target_bytes is not None else "--target-psnr" if psnr is not None else ""
    if option and arguments.out.suffix != _SUFFIX:
        raise ConfigError(f"{option} makes one file, and --out {arguments.out} is a folder", "name a .gsc file")


def _rates(arguments: argparse.Namespace) -> list[Rate]:
    from hemgs.bench.rates import parse_rate, rate_of

    if arguments.lmbda:
        return [rate_of(lmbda) for lmbda in arguments.lmbda]
    return [parse_rate(text.strip()) for text in arguments.rates.split(",")] if arguments.rates else []


def _encode_file(arguments: argparse.Namespace, rates: list[Rate], device: Any) -> int:
    from hemgs.bench.runner import run_encode_file

    if len(rates) > 1:
        raise ConfigError(f"--out {arguments.out} is one file, {len(rates)} rates were named", "name a folder")
    encoded = run_encode_file(arguments.model, arguments.out, rates[0] if rates else None, device)
    say(f"{arguments.out}: {encoded.total_bytes} bytes in {seconds_text(encoded.encode_s)}")
    return 0


def _encode_to_target(arguments: argparse.Namespace, device: Any) -> int:
    from hemgs.bench.target import run_encode_to_psnr, run_encode_to_size

    out = arguments.out
    if arguments.target_bytes is not None:
        found = run_encode_to_size(arguments.model, out, arguments.target_bytes, device, sys.stderr)
        lines = size_lines(found, arguments.target_bytes)
    else:
        found = run_encode_to_psnr(
            arguments.model, out, arguments.target_psnr, arguments.scene, device, arguments.views, sys.stderr
        )
        lines = psnr_lines(found, arguments.target_psnr)
    say(f"{out}: {found.chosen.total_bytes} bytes at λ {found.chosen.lmbda}, {len(found.trials)} files tried")
    for line in lines:
        say(line)
    return 0


def _decode(arguments: argparse.Namespace) -> int:
    from hemgs.bench.decoding import run_decode
    from hemgs.bench.runs import write_json
    from hemgs.core.bundle import save_bundle
    from hemgs.core.device import choose_device

    device = choose_device(arguments.device)
    renderable, stats = run_decode(arguments.bitstream, device, arguments.method, repeat=not arguments.once)
    save_bundle(arguments.out, renderable)
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
    if arguments.json:
        say_json(_report_json(report))
    else:
        _say_report(arguments.bitstream, report)
    if not report.intact:
        raise BitstreamError(f"{arguments.bitstream}: the file is damaged", "copy it again, or encode it again")
    return 0


def _report_json(report: ContainerReport) -> dict[str, Any]:
    return {
        "method": report.method,
        "version": report.version,
        "intact": report.intact,
        "file_bytes": report.file_bytes,
        "expected_bytes": report.expected_bytes,
        "symbols_digest": report.symbols_digest.hex(),
        "sections": {
            "container": {"offset": 0, "bytes": report.header_bytes, "intact": report.header_intact},
            **{row.name: {"offset": row.offset, "bytes": row.size_bytes, "intact": row.intact} for row in report.rows},
        },
    }


def _say_report(path: Path, report: ContainerReport) -> None:
    say(f"{path}: method {report.method}, format {report.version}, symbols {report.symbols_digest.hex()}")
    sections = [("container", report.header_bytes, report.header_intact)]
    sections += [(row.name, row.size_bytes, row.intact) for row in report.rows]
    rows = [
        [name, str(size), f"{100 * size / max(report.expected_bytes, 1):.1f} %", "ok" if intact else "DAMAGED"]
        for name, size, intact in sections
    ]
    rows.append(["all", str(report.file_bytes), size_text(report.file_bytes), "ok" if report.intact else "DAMAGED"])
    say(table(["section", "bytes", "share", "checksum"], rows))
