"""Verbs that make and use models: ``train``, ``encode``, ``refit``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemgs.cli.console import say, seconds_text, size_text, table
from hemgs.cli.parser import Parser, add_device, add_settings, explain, file_of, new_folder, parse_assignments
from hemgs.core.errors import ConfigError

if TYPE_CHECKING:
    from hemgs.bench.target import Found
    from hemgs.core.types import Rate

_SUFFIX = ".gsc"
#: The verb explains a file that is further below the target size than this share of it.
NEAR_SIZE = 0.01
#: The verb explains a file that is further above the target quality than this, dB; twice the tolerance of the search.
NEAR_PSNR_DB = 0.02


def add_train(parser: Parser) -> None:
    """Add the options of ``train``."""
    explain(
        parser,
        "Fit one model, and write model.safetensors, train.json and events.jsonl. If the command is stopped (Ctrl-C,\n"
        "time limit, power cut), the same command continues from the last checkpoint in MODEL_DIR/work.",
        "  hemgs train results/court --method hemgs --out results/court_hemgs\n"
        "  hemgs train results/court --method hemgs --set iterations=3000 --set voxel_size=0.01 --out results/short\n"
        "  hemgs train results/court --method my_package.method:MyMethod --rate lmbda_0.0020 --out results/mine\n"
        "  hemgs train results/court --method my_package.method:MyPost --base results/court_gs3d --out results/post",
    )
    parser.add_argument("scene", type=Path, metavar="SCENE_DIR", help="folder that `hemgs prepare` wrote")
    parser.add_argument("--method", required=True, metavar="ID", help="id, or package.module:Class")
    parser.add_argument("--out", type=new_folder, required=True, metavar="MODEL_DIR", help="folder to write")
    parser.add_argument("--rate", metavar="ID", help="rate id, for methods that are trained once per rate")
    add_settings(parser, "a setting that replaces the method's default and that of --params-json; may be repeated")
    parser.add_argument("--params-json", metavar="JSON", help="several settings as a JSON mapping, or @FILE")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers [%(default)s]")
    parser.add_argument(
        "--base",
        type=Path,
        metavar="MODEL_DIR|FILE.ply",
        help="for methods of kind post: trained Gaussians of the same scene, where training starts",
    )
    parser.add_argument("--variant", default="", metavar="ID", help="id of the variant that has these settings")
    parser.add_argument("--label", default="", metavar="TEXT", help="printed name [that of the method]")
    _add_overwrite(
        parser, "a training of another request, finished or interrupted; the same request is left or continued"
    )
    add_device(parser)
    parser.set_defaults(run=_train)


def _add_overwrite(parser: Parser, what: str) -> None:
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def add_encode(parser: Parser) -> None:
    """Add the options of ``encode``."""
    explain(
        parser,
        "Encode a trained model. A larger lambda gives a smaller file of lower quality. If --out is a folder, write\n"
        "bitstreams/<rate>.gsc and encode.json with sizes by section. If it is a file (.gsc), write only that file.\n"
        "You may give a size or a quality instead of lambda. The verb then tries about ten files, and prints the\n"
        "lambda of the file that it writes. --lmbda with that number gives the same file without a search.",
        "  hemgs encode results/court_hemgs --out results/court_points                  the usual sixteen rates\n"
        "  hemgs encode results/court_hemgs --lmbda 0.001 0.004 --out results/court_points\n"
        "  hemgs encode results/court_hemgs --lmbda 0.002 --out court.gsc\n"
        "  hemgs encode results/court_hemgs --target-bytes 250000 --out court.gsc\n"
        "  hemgs encode results/court_hemgs --target-psnr 27.5 --scene results/court --out court.gsc\n"
        "  hemgs encode results/court_hemgs --target-psnr 27.5 --scene results/court --views 4 --out court.gsc",
    )
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="folder that `hemgs train` wrote")
    parser.add_argument(
        "--out", type=_folder_or_bitstream, required=True, metavar="DIR|FILE.gsc", help="folder or file to write"
    )
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
    _add_overwrite(parser, "bitstreams of another model in the folder; those of this model stay in any case")
    add_device(parser)
    parser.set_defaults(run=_encode)


def add_refit(parser: Parser) -> None:
    """Add the options of ``refit``."""
    explain(
        parser,
        "Quantise the attributes of a trained HEMGS model once, with its own steps, and fit one entropy model per\n"
        "variant to them: base (hash grid only), sa (with the scene-agnostic network), ar (with the autoregressive\n"
        "networks), both. The table contains the bytes of real streams. Pictures and quality do not change.\n"
        "Locations, masks and rendering networks are the same for all variants and are left out.",
        "  hemgs refit results/court_hemgs --out court_refit.csv\n"
        "  hemgs refit results/court_hemgs --variants base,ar --lmbda 0.004 --iterations 5000 --out court_ar.csv\n"
        "  hemgs refit results/court_hemgs --variants ar --set context_multiplier=4 --out court_wide.csv",
    )
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="folder that `hemgs train` wrote")
    parser.add_argument("--out", type=file_of(".csv"), required=True, metavar="FILE.csv", help="table to write")
    parser.add_argument("--variants", metavar="NAME,NAME", help="to compare [base,sa,ar,both]")
    parser.add_argument("--iterations", type=int, default=3000, metavar="N", help="steps of each fit [%(default)s]")
    parser.add_argument(
        "--lmbda", type=float, default=0.002, metavar="X", help="rate–distortion trade-off [%(default)s]"
    )
    add_settings(parser, "a setting of the variants over that of the model; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the fits [%(default)s]")
    add_device(parser)
    parser.set_defaults(run=_refit)


def _train(arguments: argparse.Namespace) -> int:
    params, texts = parse_params(arguments.params_json), parse_assignments(arguments.set)
    from hemgs.bench.training import TrainRequest, run_train
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
        base=arguments.base,
        overwrite=arguments.overwrite,
    )
    record = run_train(request, choose_device(arguments.device), sys.stderr)
    counts = ", ".join(f"{value} {name.removeprefix('num_')}" for name, value in record.counts.items())
    say(
        f"{arguments.out}: {record.label} on {record.dataset}/{record.scene}, {record.iterations} iterations in "
        f"{seconds_text(record.train_s)}, {record.train_peak_mib:.0f} MiB at most" + (f", {counts}" if counts else "")
    )
    return 0


def parse_params(params_json: str | None) -> dict[str, Any]:
    """Read settings from ``--params-json``, which is a JSON mapping, or ``@`` followed by the path of a file with one.

    Raises:
        ConfigError: the text or file cannot be read, or is not a mapping.
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


def _encode(arguments: argparse.Namespace) -> int:
    _check_target(arguments)
    rates = _rates(arguments)
    from hemgs.core.device import choose_device

    device = choose_device(arguments.device)
    if arguments.target_bytes is not None or arguments.target_psnr is not None:
        return _encode_to_target(arguments, device)
    if _is_bitstream(arguments.out):
        return _encode_file(arguments, rates, device)
    from hemgs.bench.encoding import run_encode

    record = run_encode(arguments.model, arguments.out, rates, device, sys.stderr, overwrite=arguments.overwrite)
    rows = [
        [rate, str(encoded.total_bytes), size_text(encoded.total_bytes), seconds_text(encoded.encode_s)]
        for rate, encoded in record.rates.items()
    ]
    say(table(["rate", "bytes", "size", "time"], rows))
    return 0


def _is_bitstream(path: Path) -> bool:
    return path.suffix.lower() == _SUFFIX and not path.is_dir()


def _folder_or_bitstream(text: str) -> Path:
    try:
        return Path(text) if _is_bitstream(Path(text)) else new_folder(text)
    except argparse.ArgumentTypeError as fault:
        raise argparse.ArgumentTypeError(f"{fault}, or {Path(text).stem}{_SUFFIX} for one file") from fault


def _check_target(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options of a target that contradict each other or have impossible values."""
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
    if option and not _is_bitstream(arguments.out):
        raise ConfigError(f"{option} makes one file, and --out {arguments.out} is a folder", "name a .gsc file")


def _rates(arguments: argparse.Namespace) -> list[Rate]:
    from hemgs.bench.rates import parse_rate, rate_of

    if arguments.lmbda:
        return [rate_of(lmbda) for lmbda in arguments.lmbda]
    return [parse_rate(text.strip()) for text in arguments.rates.split(",")] if arguments.rates else []


def _encode_file(arguments: argparse.Namespace, rates: list[Rate], device: Any) -> int:
    from hemgs.bench.encoding import run_encode_file

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


def _refit(arguments: argparse.Namespace) -> int:
    texts = parse_assignments(arguments.set)
    from hemgs.bench.refit import run_refit
    from hemgs.core.catalogue import MODEL_SECTIONS
    from hemgs.core.device import choose_device
    from hemgs.protocol import RefitTask

    variants = tuple(name.strip() for name in arguments.variants.split(",")) if arguments.variants else ()
    task = RefitTask(variants, arguments.lmbda, arguments.iterations, arguments.seed)
    rows = run_refit(arguments.model, arguments.out, task, texts, choose_device(arguments.device), sys.stderr)
    header = ["variant", *MODEL_SECTIONS, "total", "bits/anchor"]
    lines = [
        [row["variant"], *(row[f"bytes_{name}"] for name in (*MODEL_SECTIONS, "total")), row["bits_per_anchor"]]
        for row in rows
    ]
    say(table(header, [[str(cell) for cell in line] for line in lines]))
    return 0


def size_lines(found: Found, target_bytes: int) -> list[str]:
    """Explain how far the file is below the requested size."""
    below = target_bytes - found.chosen.total_bytes
    lines = [f"{100 * below / target_bytes:.2f} % below the {target_bytes} bytes asked for"]
    if found.is_largest and below > 0:
        lines.append(
            f"{target_bytes} bytes cannot be reached: this is the largest file of the model, at the smallest λ that it "
            "serves; one with more anchors or features makes larger ones"
        )
    elif below > NEAR_SIZE * target_bytes and found.next_larger is not None:
        larger = found.next_larger
        lines.append(f"no nearer: the next larger file, at λ {larger.lmbda}, has {larger.total_bytes} bytes")
    return lines


def psnr_lines(found: Found, target_db: float) -> list[str]:
    """Explain what was measured on which views, and how far the file is above the requested quality."""
    above = (found.chosen.psnr or 0.0) - target_db
    lines = [
        f"PSNR {found.chosen.psnr:.3f} dB, {above:.3f} dB above the {target_db:g} dB asked for; mean of "
        f"{found.num_views} of {found.num_test_views} test views of the decoded file"
    ]
    if found.is_smallest:
        lines.append("this is the smallest file of the model, at the largest λ that it serves")
    elif above > NEAR_PSNR_DB:
        lines.append("no nearer: all smaller files that were tried fall short")
    if not found.falls_with_lmbda:
        lines.append("PSNR does not fall steadily with λ here: a smaller file that reaches it too may have been missed")
    return lines
