"""The command-line grammar: verbs in the order of work, and the options several of them share.

Does not import anything heavy: help must come at once.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from hemgs.cli.console import report_error

_DESCRIPTION = """\
Compression of 3D Gaussian splats: train a scene, write it as one small file, decode it elsewhere, measure it.

  capture --prepare--> scene --train--> model --encode--> bitstream.gsc --decode--> decoded scene
                                                                |--render / evaluate / export / inspect

Each verb makes one step and says what it needs; `hemgs VERB --help` shows examples.
"""
_EPILOG = """\
first steps:
  hemgs doctor                                          is everything installed?
  hemgs describe hemgs                                  what can be set, and its defaults
  make demo                                             the whole benchmark on a small scene

Exit codes: 0 done, 1 a failed check or a fault of the program, 2 wrong input, 130 interrupted.
"""
#: Help of the options that choose a device.
DEVICE_HELP = "auto (HEMGS_DEVICE, else a GPU if there is one), cpu, cuda or cuda:N [%(default)s]"

Verbs = Any  # argparse's sub-parser action, whose class is private


class Parser(argparse.ArgumentParser):
    """Mistakes in arguments look like every other error of the program."""

    def error(self, message: str) -> NoReturn:
        """Usage, the error in one line, exit code 2."""
        self.print_usage()
        report_error(message, f"see `{self.prog} --help`")
        raise SystemExit(2)

    def print_usage(self, file: Any = None) -> None:
        """The usage goes to standard error: it is part of a complaint."""
        super().print_usage(file or sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``hemgs``; a parsed command has ``run``, the function to call with it."""
    from hemgs.cli import ablation, benchmark, bitstreams, checking, estimating, fetching, machine, models, scenes

    parser = Parser(
        prog="hemgs",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in (estimating, fetching, scenes, models, bitstreams, ablation, benchmark, machine, checking):
        module.add_verbs(verbs)
    return parser


def add_verb(verbs: Verbs, name: str, summary: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Adds one verb; ``examples`` are shown below its options."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traceback", action="store_true", help="on an error, show where in the program it arose")
    return parser


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device``."""
    parser.add_argument("--device", default="auto", metavar="DEVICE", help=DEVICE_HELP)


class _Version(argparse.Action):
    """Prints the version; asks for it only then, since that runs git in a checkout."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from hemgs.cli.console import say
        from hemgs.core.provenance import code_version

        say(f"hemgs {code_version()}")
        parser.exit()
