"""Verbs about methods and datasets: ``describe`` explains them, ``check`` tests a method.

Owns the format of ``describe``. Does not own the explanations: docstrings and dataset files contain them.
"""

from __future__ import annotations

import argparse
import fnmatch
import inspect
import re
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from hemgs.cli.console import note, say, size_text
from hemgs.cli.parser import Parser, add_settings, explain, parse_assignments
from hemgs.config.dataset import Archive, DatasetConfig, SceneConfig, load_dataset

if TYPE_CHECKING:
    from hemgs.protocol import Method

_KINDS = {
    "single": "one model, one bitstream, no rate knob",
    "per_rate": "one training per rate",
    "all_rates": "one model serves every rate (λ is chosen when encoding)",
    "post": "starts from Gaussians that another method has trained (--base); one bitstream, no rate knob",
}
_WIDTH = 100
_NAMES = re.compile(r"^([A-Za-z_][\w*]*(?:, [A-Za-z_][\w*]*)*):\s*(.*)$")


def add_describe(parser: Parser) -> None:
    """Add the options of ``describe``."""
    explain(
        parser,
        "Print a method's purpose and every setting with its default, or the scenes and protocol of a dataset file.\n"
        "Without a name, list the installed methods.",
        "  hemgs describe\n  hemgs describe hemgs\n  hemgs describe workflow/config/datasets/mipnerf360.yaml",
    )
    parser.add_argument("name", nargs="?", metavar="METHOD|FILE.yaml", help="method id, package.module:Class, or file")
    parser.set_defaults(run=_describe)


def add_check(parser: Parser) -> None:
    """Add the options of ``check``."""
    explain(
        parser,
        "Train the method for some seconds on a tiny scene, and check the contract of the benchmark: equal bytes each\n"
        "time, decoding in another process from the file alone, damaged files refused, killed trainings resumed.\n"
        "The exit code is 1 if a check fails.",
        "  hemgs check scaffold_gs\n  hemgs check my_package.method:MyMethod --set iterations=60",
    )
    parser.add_argument("method", metavar="METHOD", help="id, or package.module:Class")
    add_settings(parser, "a setting; may be repeated")
    parser.set_defaults(run=_check)


def _describe(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        from hemgs.bench.registry import list_methods

        say("installed methods:")
        for name, entry in list_methods().items():
            say(f"  {name:<16} {entry}")
        return 0
    if arguments.name.endswith((".yaml", ".yml")):
        say(dataset_text(Path(arguments.name)))
        return 0
    from hemgs.bench.registry import get_method

    say(method_text(get_method(arguments.name)))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    texts = parse_assignments(arguments.set)
    from hemgs.bench.conformance import CHECKS, CannotCheckError, Case, ConformanceError, make_specimen, make_tiny_scene

    failed = skipped = 0
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
            except CannotCheckError as reason:
                skipped += 1
                say(f"skip  {name} ({reason})")
            else:
                say(f"ok    {name}")
    verdict = f"{failed} of {len(CHECKS)} checks failed" if failed else f"{specimen.method.spec.id} keeps the contract"
    say(f"{verdict}; checks left out: {skipped}" if skipped else verdict)
    return 1 if failed else 0


@dataclass(frozen=True)
class Setting:
    """One field of a method's ``Params``."""

    name: str
    type: str
    default: object
    text: str


def method_text(method: Method) -> str:
    """Write a method's purpose, properties and settings."""
    spec = method.spec
    lines = [
        f"{spec.id}: {spec.label}",
        f"  kind        {spec.kind}: {_KINDS[spec.kind]}",
        f"  codes       {', '.join(spec.attributes)}",
        f"  class       {type(method).__module__}:{type(method).__name__}",
        "",
        *_wrapped(_summary(method.Params), ""),
        "",
        "settings (--set NAME=VALUE), with defaults:",
    ]
    for setting in settings_of(method.Params):
        lines.append(f"  {setting.name} = {setting.default!r} ({setting.type})")
        lines += _wrapped(setting.text, "      ")
    return "\n".join(lines)


def settings_of(kind: type) -> list[Setting]:
    """List the fields of a dataclass with defaults and the text in its docstring or in that of a base.

    Docstrings name fields in an ``Attributes:`` section. One entry may describe several fields (``a, b`` or ``a_*``).
    """
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            texts |= attribute_texts(inspect.getdoc(base) or "")
    hints = get_type_hints(kind)
    return [
        Setting(field.name, _type_name(hints[field.name]), _default(field), _text_of(field.name, texts))
        for field in fields(kind)
    ]


def attribute_texts(docstring: str) -> dict[str, str]:
    """Read the ``Attributes:`` section of a docstring, as name → text."""
    lines = inspect.cleandoc(docstring).splitlines()
    if "Attributes:" not in lines:
        return {}
    section = []
    for line in lines[lines.index("Attributes:") + 1 :]:
        if line and not line.startswith(" "):
            break
        section.append(line)
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in textwrap.dedent("\n".join(section)).splitlines():
        entry = _NAMES.match(line)
        if entry:
            names = entry.group(1).split(", ")
        text = entry.group(2) if entry else line.strip()
        for name in names:
            texts[name] = f"{texts.get(name, '')} {text}".strip()
    return {name: _plain(text) for name, text in texts.items()}


def _text_of(name: str, texts: Mapping[str, str]) -> str:
    if name in texts:
        return texts[name]
    return next((text for pattern, text in texts.items() if fnmatch.fnmatchcase(name, pattern)), "")


def dataset_text(path: Path) -> str:
    """Write a dataset's origin, protocol and scenes, and whether its files are here.

    Raises:
        ConfigError: the file cannot be read as a dataset.
    """
    dataset = load_dataset(path)
    lines = [f"{dataset.id}: {dataset.label}"]
    for name, text in (("url", dataset.url), ("licence", dataset.licence), ("citation", dataset.citation)):
        lines += _wrapped(" ".join(text.split()), "              ", f"  {name:<12}") if text else []
    if dataset.archives:
        lines += [_archive(entry) for entry in dataset.archives]
    lines += _settings_lines(dataset)
    lines += ["", "scenes:"]
    lines += [f"  {scene.id:<16} {_place(scene)}" for scene in dataset.scenes.values()]
    if dataset.method_params:
        lines += ["", "settings of methods on this dataset:"]
        lines += [f"  {name:<16} {_pairs(params)}" for name, params in dataset.method_params.items()]
    return "\n".join(lines)


def _archive(archive: Archive) -> str:
    size = size_text(archive.size_bytes) if archive.size_bytes else "size not stated"
    pin = "pinned" if archive.sha256 else "not pinned: hemgs hash-archive"
    return f"  archive     {archive.url} and {len(archive.mirrors)} mirrors ({size}, {pin})"


def _settings_lines(dataset: DatasetConfig) -> list[str]:
    settings = next(iter(dataset.scenes.values())).settings
    return [f"  protocol    {_pairs(settings['protocol'])}", f"  points      {_pairs(settings['initial_points'])}"]


def _place(scene: SceneConfig) -> str:
    source = scene.source
    return f"{source.kind} in {Path(source.local) / source.path}" if source.local else source.kind


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {_shown(value)}" for key, value in values.items())


def _shown(value: Any) -> str:
    """Write a value as YAML would on one line."""
    if isinstance(value, Mapping):
        return "{" + _pairs(value) + "}"
    return "null" if value is None else str(value)


def _summary(kind: type) -> str:
    return _plain((inspect.getdoc(kind) or "").partition("Attributes:")[0])


def _plain(text: str) -> str:
    """Put a docstring's text on one line, without its markup."""
    return " ".join(re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "").split())


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent if first is None else first.ljust(len(indent)), subsequent_indent=indent
    )


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _default(field: Any) -> object:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else "(none)"
