"""Verbs that publish: ``summarise``, ``tables``, ``figures``, ``page``. None of them needs torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from hemgs.cli.console import say
from hemgs.cli.parser import Verbs, add_verb


def add_verbs(verbs: Verbs) -> None:
    """Adds this module's verbs."""
    parser = add_verb(
        verbs,
        "summarise",
        "gather all measured points",
        "Reads every points.csv that the plan names and writes one table of all points, means over complete sets of\n"
        "scenes, BD-rates, comparisons with published values, and a list of what is missing and why.",
        "  hemgs summarise --plan results/summary/plan.json --reference workflow/reference --out results/summary",
    )
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="plan.json, which the workflow writes")
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="published values, as CSV")
    _add_out(parser)
    parser.set_defaults(run=_summarise)
    _add_tables(verbs)
    _add_figures(verbs)
    _add_page(verbs)


def _add_tables(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "tables",
        "write the tables as CSV, Markdown and LaTeX",
        "Writes the tables that style.json asks for.",
        "  hemgs tables --summary results/summary --style results/summary/style.json --out results/tables",
    )
    _add_inputs(parser)
    _add_out(parser)
    parser.set_defaults(run=_tables)


def _add_figures(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "figures",
        "draw the figures as PDF, SVG and PNG",
        "Draws the rate-distortion, variable-rate and visual figures that style.json asks for, each with its CSV.",
        "  hemgs figures --summary results/summary --style results/summary/style.json --out results/figures",
    )
    _add_inputs(parser)
    _add_out(parser)
    parser.set_defaults(run=_figures)


def _add_page(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "page",
        "make one self-contained HTML page of all results",
        "Makes index.html, which needs no other file and no network: tables, an interactive plot, pictures to compare.",
        "  hemgs page --summary results/summary --style results/summary/style.json \\\n"
        "      --tables results/tables --figures results/figures --out results/page",
    )
    _add_inputs(parser)
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="what `hemgs tables` wrote")
    parser.add_argument("--figures", type=Path, required=True, metavar="DIR", help="what `hemgs figures` wrote")
    _add_out(parser)
    parser.set_defaults(run=_page)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--summary", type=Path, required=True, metavar="DIR", help="what `hemgs summarise` wrote")
    parser.add_argument("--style", type=Path, required=True, metavar="FILE", help="style.json, written by the workflow")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def _summarise(arguments: argparse.Namespace) -> int:
    from hemgs.analysis.publish import summarise

    summarise(arguments.plan, arguments.reference, arguments.out)
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
