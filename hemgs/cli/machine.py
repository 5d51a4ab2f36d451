"""Verbs about the installation and what it knows: ``describe``, ``doctor``, ``setup``."""

from __future__ import annotations

import argparse
from pathlib import Path

from hemgs.cli.console import say
from hemgs.cli.parser import Verbs, add_verb
from hemgs.core.errors import ConfigError

#: Profiles that `hemgs setup` offers; folders of profiles/.
PROFILES = ("slurm", "slurm-gres", "local-gpu", "demo")


def add_verbs(verbs: Verbs) -> None:
    """Adds this module's verbs."""
    parser = add_verb(
        verbs,
        "describe",
        "explain a method or a data set",
        "Prints what a method is and every setting with its default, or the scenes and protocol of a data set file.\n"
        "Without a name, lists the methods that are installed.",
        "  hemgs describe\n  hemgs describe hemgs\n  hemgs describe workflow/config/datasets/mipnerf360.yaml",
    )
    parser.add_argument("name", nargs="?", metavar="METHOD|FILE.yaml", help="method id, package.module:Class, or file")
    parser.set_defaults(run=_describe)

    parser = add_verb(
        verbs,
        "doctor",
        "check the installation and say how to mend it",
        "Checks Python, libraries, compiled-code caches, GPU, workflow tools, assets and disk space.\n"
        "Exit code 1 if something that everyone needs is missing.",
        "  hemgs doctor",
    )
    parser.set_defaults(run=_doctor)

    parser = add_verb(
        verbs,
        "setup",
        "make `snakemake --profile NAME` work as typed",
        "Links a profile of this repository into the user's Snakemake folder, where `--profile NAME` is looked up.\n"
        "Anything of another origin that is there already is left alone, unless --force is given.",
        "  hemgs setup --profile slurm\n  hemgs setup --profile slurm --copy      a copy to edit, instead of a link",
    )
    parser.add_argument("--profile", required=True, metavar="NAME", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--copy", action="store_true", help="copy the profile instead of linking it")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.set_defaults(run=_setup)


def _describe(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        from hemgs.bench.registry import list_methods

        say("installed methods:")
        for name, entry in list_methods().items():
            say(f"  {name:<16} {entry}")
        return 0
    if arguments.name.endswith((".yaml", ".yml")):
        from hemgs.cli.methods import dataset_text

        say(dataset_text(Path(arguments.name)))
        return 0
    from hemgs.bench.registry import get_method
    from hemgs.cli.methods import method_text

    say(method_text(get_method(arguments.name)))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from hemgs.cli.doctor import MARKS, examine

    findings = examine()
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        say(f"{MARKS[finding.status]:<4}  {finding.topic:<{width}}  {finding.text}")
        if finding.fix:
            say(f"{'':<4}  {'':<{width}}  -> {finding.fix}")
    failed = sum(finding.status == "fail" for finding in findings)
    say("everything needed is there" if not failed else f"{failed} things need mending")
    return 1 if failed else 0


def _setup(arguments: argparse.Namespace) -> int:
    if arguments.profile not in PROFILES:
        raise ConfigError(f"there is no profile {arguments.profile!r}", f"use one of {', '.join(PROFILES)}")
    from hemgs.cli.setup import install_profile

    for line in install_profile(arguments.profile, copy=arguments.copy, force=arguments.force):
        say(line)
    return 0
