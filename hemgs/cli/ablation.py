"""The verb ``ablate``: entropy models compared on the symbols of one trained model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hemgs.cli.console import say, table
from hemgs.cli.models import parse_assignments
from hemgs.cli.parser import Verbs, add_device, add_verb


def add_verbs(verbs: Verbs) -> None:
    """Adds this module's verb."""
    parser = add_verb(
        verbs,
        "ablate",
        "compare entropy models on the symbols of one trained model",
        "Quantises the attributes of a trained HEMGS model once, with its own steps, and fits one entropy model per\n"
        "variant to them: base (hash grid only), sa (with the scene-agnostic network), ar (with the autoregressive\n"
        "networks), both. The table holds the bytes of real streams. Pictures do not change, so neither does quality.\n"
        "Locations, masks and rendering networks are the same for all variants and left out.",
        "  hemgs ablate results/court_hemgs --out court_lossless.csv\n"
        "  hemgs ablate results/court_hemgs --variants base,ar --lmbda 0.004 --iterations 5000 --out court_ar.csv\n"
        "  hemgs ablate results/court_hemgs --variants ar --set context_multiplier=4 --out court_wide.csv",
    )
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="what `hemgs train` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="table to write")
    parser.add_argument("--variants", default="base,sa,ar,both", metavar="NAME,NAME", help="to compare [%(default)s]")
    parser.add_argument("--iterations", type=int, default=3000, metavar="N", help="steps of each fit [%(default)s]")
    parser.add_argument(
        "--lmbda", type=float, default=0.002, metavar="X", help="rate–distortion trade-off [%(default)s]"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the variants over that of the model; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the fits [%(default)s]")
    add_device(parser)
    parser.set_defaults(run=_ablate)


def _ablate(arguments: argparse.Namespace) -> int:
    texts = parse_assignments(arguments.set)
    from hemgs.bench.lossless import LosslessRequest, run_lossless
    from hemgs.codec.refit import SECTIONS
    from hemgs.core.device import choose_device

    variants = tuple(name.strip() for name in arguments.variants.split(","))
    request = LosslessRequest(
        arguments.model, arguments.out, variants, arguments.iterations, arguments.lmbda, texts, arguments.seed
    )
    rows = run_lossless(request, choose_device(arguments.device), sys.stderr)
    header = ["variant", *SECTIONS, "total", "bits/anchor"]
    lines = [
        [row["variant"], *(row[f"bytes_{name}"] for name in (*SECTIONS, "total")), row["bits_per_anchor"]]
        for row in rows
    ]
    say(table(header, [[str(cell) for cell in line] for line in lines]))
    return 0
