"""Verbs of the whole benchmark: ``estimate`` before it, and the verbs that publish its results. None needs torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemgs.cli.console import say, say_json, table
from hemgs.cli.parser import Parser, explain, new_folder
from hemgs.core.errors import ConfigError

if TYPE_CHECKING:
    from hemgs.bench.estimate import Estimate
    from hemgs.config.benchmark import Benchmark

_GB = 1e9
_DEFAULT_CONFIG = Path("workflow/config/config.yaml")


def add_estimate(parser: Parser) -> None:
    """Add the options of ``estimate``."""
    explain(
        parser,
        "Multiply the jobs of a configuration with measured figures, before anything runs. Finished jobs are not\n"
        "counted. The output names the figures that were measured and those that are extrapolated.",
        "  hemgs estimate\n"
        "  hemgs estimate --configfile workflow/config/ablations.yaml\n"
        "  hemgs estimate --config 'run={datasets: [deepblending], scenes: [playroom], methods: [hemgs]}'",
    )
    parser.add_argument(
        "--configfile", type=Path, default=_DEFAULT_CONFIG, metavar="FILE", help="configuration [%(default)s]"
    )
    parser.add_argument(
        "--config",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change keys, as snakemake takes them; repeatable",
    )
    parser.add_argument("--costs", type=Path, metavar="FILE", help="measured figures [results/measured/costs.yaml]")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="finished results [%(default)s]"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_estimate)


def add_summarise(parser: Parser) -> None:
    """Add the options of ``summarise``."""
    explain(
        parser,
        "Read every points.csv that the plan names, and write one table of all points, means over complete sets of\n"
        "scenes, BD-rates, comparisons with published values, and a list of missing results with reasons.",
        "  hemgs summarise --plan results/summary/plan.json --published workflow/published --out results/summary",
    )
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="plan.json, which the workflow writes")
    parser.add_argument("--published", type=Path, required=True, metavar="DIR", help="values that papers print, as CSV")
    parser.add_argument("--out", type=new_folder, required=True, metavar="DIR", help="folder to write")
    parser.set_defaults(run=_summarise)


def add_tables(parser: Parser) -> None:
    """Add the options of ``tables``."""
    explain(
        parser,
        "Write the tables that style.json lists.",
        "  hemgs tables --summary results/summary --style results/summary/style.json --out results/tables",
    )
    _add_published(parser)
    parser.set_defaults(run=_tables)


def add_figures(parser: Parser) -> None:
    """Add the options of ``figures``."""
    explain(
        parser,
        "Draw the rate-distortion, variable-rate and visual figures that style.json lists, each with its CSV.",
        "  hemgs figures --summary results/summary --style results/summary/style.json --out results/figures",
    )
    _add_published(parser)
    parser.set_defaults(run=_figures)


def add_page(parser: Parser) -> None:
    """Add the options of ``page``."""
    explain(
        parser,
        "Make index.html, which needs no other file and no network. It contains tables, an interactive plot, and\n"
        "pictures to compare.",
        "  hemgs page --summary results/summary --style results/summary/style.json \\\n"
        "      --tables results/tables --figures results/figures --out results/page",
    )
    _add_published(parser)
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="folder that `hemgs tables` wrote")
    parser.add_argument("--figures", type=Path, required=True, metavar="DIR", help="folder that `hemgs figures` wrote")
    parser.set_defaults(run=_page)


def _estimate(arguments: argparse.Namespace) -> int:
    from hemgs.bench.costs import DEFAULT_COSTS, load_costs
    from hemgs.bench.estimate import estimate

    costs = load_costs(arguments.costs or DEFAULT_COSTS)
    benchmark = _benchmark(arguments.configfile, arguments.config)
    found = estimate(benchmark, costs, _default_iterations, arguments.results)
    if arguments.json:
        say_json(found.as_json())
    else:
        _say(found, benchmark, costs.training.num_at_once)
    return 0


def _benchmark(file: Path, changes: list[str]) -> Benchmark:
    from hemgs.config.benchmark import load_benchmark
    from hemgs.core.yaml_files import load_yaml

    settings = load_yaml(file)
    for change in changes:
        _update(settings, _parsed(change))
    folder = _DEFAULT_CONFIG.parent if _DEFAULT_CONFIG.parent.is_dir() else file.parent
    return load_benchmark(settings, [file], folder)


def _parsed(change: str) -> dict[str, Any]:
    from hemgs.core.yaml_files import parse_yaml

    key, equals, text = change.partition("=")
    try:
        value = parse_yaml(text, "--config")
    except ConfigError as fault:
        raise ConfigError(
            f"--config {change}: the value is not YAML", "quote it, as in 'run={scenes: [room]}'"
        ) from fault
    if not (key and equals):
        raise ConfigError(f"--config {change}", "give KEY=VALUE")
    return {key: value}


def _update(settings: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Change single keys, nested ones too, as Snakemake does with --config."""
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(settings.get(key), dict):
            _update(settings[key], value)
        else:
            settings[key] = value


def _default_iterations(entry: str) -> int:
    from hemgs.bench.registry import get_method

    return int(getattr(get_method(entry).Params(), "iterations", 0))


def _say(found: Estimate, benchmark: Benchmark, num_at_once: int) -> None:
    header = (
        "method",
        "fits",
        "rates",
        "M steps",
        "GPU h alone",
        f"{num_at_once} at once",
        "scaled",
        "encode h",
        "decode h",
    )
    rows = []
    for method in found.methods:
        hours = (method.alone_h, method.together_h, method.scaled_h, method.encode_h, method.decode_h)
        counts = (str(method.fits), str(method.rates), f"{method.steps / 1e6:.2f}")
        rows.append((method.method, *counts, *(f"{value:.1f}" for value in hours)))
    sums = [sum(float(row[column]) for row in rows) for column in range(1, len(header))]
    rows.append(
        ("all", *(f"{value:.0f}" for value in sums[:2]), f"{sums[2]:.2f}", *(f"{value:.1f}" for value in sums[3:]))
    )
    scenes = f"{sum(map(len, benchmark.scenes.values()))} scenes of {len(benchmark.scenes)} datasets"
    say(f"{benchmark.title}: {scenes}; {found.done} fits are done already")
    say()
    say(table(header, rows))
    say()
    jobs = ", ".join(f"{number} {rule}" for rule, number in found.jobs.items())
    say(f"{sum(found.jobs.values())} jobs: {jobs}")
    say()
    disk = [(name, f"{size / _GB:.1f} GB") for name, size in found.disk_bytes.items()]
    say(table(("disk", ""), [*disk, ("all", f"{sum(found.disk_bytes.values()) / _GB:.1f} GB")]))
    say()
    for note in found.notes:
        say(f"* {note}")


def _add_published(parser: Parser) -> None:
    """Add the common options of verbs that publish results."""
    parser.add_argument("--summary", type=Path, required=True, metavar="DIR", help="that of `hemgs summarise`")
    parser.add_argument("--style", type=Path, required=True, metavar="FILE", help="style.json, written by the workflow")
    parser.add_argument("--out", type=new_folder, required=True, metavar="DIR", help="folder to write")


def _summarise(arguments: argparse.Namespace) -> int:
    from hemgs.analysis.summary import summarise

    summarise(arguments.plan, arguments.published, arguments.out)
    say(f"{arguments.out}: summary of all points")
    return 0


def _tables(arguments: argparse.Namespace) -> int:
    from hemgs.analysis.publish import make_tables

    make_tables(arguments.summary, arguments.style, arguments.out)
    say(f"{arguments.out}: tables")
    return 0


def _figures(arguments: argparse.Namespace) -> int:
    from hemgs.analysis.publish import make_figures

    make_figures(arguments.summary, arguments.style, arguments.out)
    say(f"{arguments.out}: figures")
    return 0


def _page(arguments: argparse.Namespace) -> int:
    from hemgs.analysis.publish import make_page

    make_page(arguments.summary, arguments.style, arguments.tables, arguments.figures, arguments.out)
    say(f"{arguments.out / 'index.html'}: open it in a browser")
    return 0
