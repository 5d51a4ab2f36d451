"""The verb for authors of methods: ``check``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from hemgs.cli.console import note, say
from hemgs.cli.models import parse_assignments
from hemgs.cli.parser import Verbs, add_verb


def add_verbs(verbs: Verbs) -> None:
    """Adds this module's verbs."""
    parser = add_verb(
        verbs,
        "check",
        "run a method through the contract that all methods keep",
        "Trains the method for a moment on a tiny scene and checks what the benchmark relies on: equal bytes each\n"
        "time, decoding in another process from the file alone, damaged files refused, killed trainings resumed.\n"
        "Exit code 1 if a check fails.",
        "  hemgs check scaffold_gs\n  hemgs check my_package.method:MyMethod --set iterations=60",
    )
    parser.add_argument("method", metavar="METHOD", help="id, or package.module:Class")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    texts = parse_assignments(arguments.set)
    from hemgs.bench.conformance import CHECKS, Case, ConformanceError, make_specimen, make_tiny_scene

    failed = 0
    with tempfile.TemporaryDirectory(prefix="hemgs_check_") as folder:
        scene = make_tiny_scene(Path(folder) / "scene")
        specimen = make_specimen(Case(arguments.method, scene, Path(folder), texts=texts))
        for check in CHECKS:
            name = check.__name__.removeprefix("check_").replace("_", " ")
            try:
                check(specimen)
            except ConformanceError as fault:
                failed += 1
                say(f"FAIL  {name}")
                note(f"      {fault}")
            else:
                say(f"ok    {name}")
    say(f"{specimen.method.spec.id} keeps the contract" if not failed else f"{failed} of {len(CHECKS)} checks failed")
    return 1 if failed else 0
