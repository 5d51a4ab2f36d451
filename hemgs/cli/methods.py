"""Methods and data sets in words.

Owns the text of ``hemgs describe``; the words themselves stand in docstrings and data set files.
"""

from __future__ import annotations

import fnmatch
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hemgs.cli.console import size_text
from hemgs.config.dataset import DatasetConfig, SceneConfig, load_dataset
from hemgs.protocol import Method

_KINDS = {
    "single": "one model, one bitstream, no rate knob",
    "per_rate": "one training per rate",
    "all_rates": "one model serves every rate (λ is chosen when encoding)",
    "post": "starts from another method's model",
}
_WIDTH = 100
_NAMES = re.compile(r"^([A-Za-z_][\w*]*(?:, [A-Za-z_][\w*]*)*):\s*(.*)$")


@dataclass(frozen=True)
class Setting:
    """One field of a method's ``Params``."""

    name: str
    type: str
    default: object
    text: str


def method_text(method: Method) -> str:
    """A method's purpose, properties and settings."""
    spec = method.spec
    lines = [
        f"{spec.id}: {spec.label}",
        f"  kind        {spec.kind}: {_KINDS[spec.kind]}",
        f"  needs       {', '.join(spec.needs) or 'nothing'}",
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
    """The fields of a dataclass with their defaults and what its docstring, or that of a base, says of them.

    Docstrings name fields in an ``Attributes:`` section, several at once (``a, b`` or ``a_*``) where one text serves
    them.
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
    """Name → text of the ``Attributes:`` section of a docstring."""
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
    """A data set's origin, protocol and scenes, and whether its files are here.

    Raises:
        ConfigError: the file cannot be read as a data set.
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
        lines += ["", "settings of methods on this data set:"]
        lines += [f"  {name:<16} {_pairs(params)}" for name, params in dataset.method_params.items()]
    return "\n".join(lines)


def _archive(entry: Mapping[str, Any]) -> str:
    size, sha256 = entry.get("size_bytes"), entry.get("sha256")
    known = (
        f"{size_text(size) if size else 'size not stated'}, {'pinned' if sha256 else 'not pinned: hemgs hash-archive'}"
    )
    return f"  archive     {entry['url']} and {len(entry.get('mirrors', ()))} mirrors ({known})"


def _settings_lines(dataset: DatasetConfig) -> list[str]:
    scene = next(iter(dataset.scenes.values()))
    return [f"  protocol    {_pairs(scene.protocol)}", f"  points      {_pairs(scene.initial_points)}"]


def _place(scene: SceneConfig) -> str:
    source = scene.source
    if "local" not in source:
        return str(source["kind"])
    return f"{source['kind']} in {Path(str(source['local'])) / str(source['path'])}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {_shown(value)}" for key, value in values.items())


def _shown(value: Any) -> str:
    """A value as YAML would write it on one line."""
    if isinstance(value, Mapping):
        return "{" + _pairs(value) + "}"
    return "null" if value is None else str(value)


def _summary(kind: type) -> str:
    return _plain((inspect.getdoc(kind) or "").partition("Attributes:")[0])


def _plain(text: str) -> str:
    """A docstring's text on one line, without its markup."""
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
