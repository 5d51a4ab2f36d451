"""The command-line grammar: verbs in the order of work, and the options that several of them share.

Owns the list of verbs. Each entry names the module that adds its options. Only the module of the given verb is
imported, by name, so help takes no time.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hemgs.cli.console import report_error, say
from hemgs.core.errors import ConfigError

_DESCRIPTION = """\
Compression of 3D Gaussian splats: train a scene, write it as one small file, decode it elsewhere, measure it.

  capture --prepare--> scene --train--> model --encode--> bitstream.gsc --decode--> decoded scene
                                                                |--render / evaluate / export / inspect

Each verb makes one step and reports what it needs. `hemgs VERB --help` shows examples.
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
#: Suffixes of files that this program, viewers of splats and spreadsheets write.
FILE_SUFFIXES = frozenset(
    {".csv", ".gsc", ".html", ".jpg", ".json", ".ksplat", ".npz", ".parquet", ".pdf", ".ply", ".png", ".safetensors"}
    | {".sog", ".splat", ".spz", ".svg", ".zip"}
)


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        module: module of this package. Its function ``add_<verb>`` adds description, options and ``run`` to a parser.
        summary: the line in ``hemgs --help``.
    """

    module: str
    summary: str


#: All verbs by name, in the order of work.
VERBS = {
    "estimate": Verb("benchmark", "what a benchmark will cost: jobs, GPU hours, disk"),
    "fetch": Verb("scenes", "download what scenes and metrics need, beforehand"),
    "hash-archive": Verb("scenes", "print size and SHA-256 of archives, or pin them in a dataset's file"),
    "prepare": Verb("scenes", "read a capture; split, resize and check it once"),
    "train": Verb("models", "fit a model to a prepared scene"),
    "encode": Verb("models", "write a model as bitstreams, at one or many rates"),
    "decode": Verb("bitstreams", "read a bitstream back"),
    "inspect": Verb("bitstreams", "list the sections of a bitstream and check them"),
    "render": Verb("bitstreams", "draw pictures from a bitstream"),
    "evaluate": Verb("bitstreams", "measure bitstreams: bytes, quality, speed"),
    "export": Verb("bitstreams", "write a bitstream's scene as a standard splat PLY"),
    "refit": Verb("models", "compare entropy models on the symbols of one trained model"),
    "summarise": Verb("benchmark", "gather all measured points"),
    "tables": Verb("benchmark", "write the tables as CSV, Markdown and LaTeX"),
    "figures": Verb("benchmark", "draw the figures as PDF, SVG and PNG"),
    "page": Verb("benchmark", "make one self-contained HTML page of all results"),
    "describe": Verb("methods", "explain a method or a dataset"),
    "doctor": Verb("doctor", "check the installation and name fixes"),
    "setup": Verb("setup", "make `snakemake --profile NAME` work as typed"),
    "check": Verb("methods", "run a method through the contract that all methods keep"),
}


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong arguments in the format of all errors of the program."""

    def error(self, message: str) -> NoReturn:
        """Print usage and the error in one line, and exit with code 2."""
        self.print_usage()
        report_error(message, f"see `{self.prog} --help`")
        raise SystemExit(2)

    def print_usage(self, file: Any = None) -> None:
        """Print usage to standard error, since it is part of an error."""
        super().print_usage(file or sys.stderr)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command; the result has ``run``, the function to call with it.

    Args:
        arguments: words after the program's name.

    Raises:
        SystemExit: the words ask for help or the version (0), or are wrong (2).
    """
    parser = Parser(
        prog="hemgs",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    asked = next((word for word in arguments if not word.startswith("-")), None)
    for name, verb in VERBS.items():
        own = verbs.add_parser(name, help=verb.summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == asked:
            module = importlib.import_module(f"hemgs.cli.{verb.module}")
            getattr(module, f"add_{name.replace('-', '_')}")(own)
            own.add_argument("--traceback", action="store_true", help="on an error, show the program's traceback")
    return parser.parse_args(arguments)


def explain(parser: Parser, description: str, examples: str) -> None:
    """Set the text of ``hemgs VERB --help`` above and below the options."""
    parser.description = description
    parser.epilog = f"examples:\n{examples}"


def add_device(parser: Parser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", default="auto", metavar="DEVICE", help=DEVICE_HELP)


def add_settings(parser: Parser, help_text: str) -> None:
    """Add ``--set KEY=VALUE``, which ``parse_assignments`` reads."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=help_text)


def parse_assignments(assignments: Sequence[str]) -> dict[str, str]:
    """Split the words of ``--set`` into names and values, which it does not change.

    Raises:
        ConfigError: a word has no name or no ``=``.
    """
    texts = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {assignment!r} is not KEY=VALUE", "write, for example, --set iterations=3000")
        texts[key.strip()] = value
    return texts


def file_of(suffix: str) -> Callable[[str], Path]:
    """Return a type of options: a file to be written, which must have the suffix of its format, in capitals or not.

    Viewers choose a reader by the suffix, so that none opens a PLY that is named ``court.splat``.
    """

    def read(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() != suffix:
            raise argparse.ArgumentTypeError(f"{text}: a {suffix} file is written; name it {path.stem}{suffix}")
        return path

    return read


def new_folder(text: str) -> Path:
    """Read an option that names a folder to be written; refuse a new one with the suffix of a file."""
    path = Path(text)
    if path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: a folder is written; name it {path.stem}")
    return path


class _Version(argparse.Action):
    """The action of ``--version``. It computes the version only when asked, since that runs git in a checkout."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from hemgs.core.provenance import code_version

        say(f"hemgs {code_version()}")
        parser.exit()
