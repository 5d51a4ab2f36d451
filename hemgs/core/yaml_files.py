"""Reads YAML strictly and within limits, with errors that name file and line.

YAML has surprises for people (``on`` is a truth value) and means for attackers (ten lines of aliases that expand to
gigabytes). Owns what is refused. Does not know what any key means.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from hemgs.core.errors import ConfigError

#: Limits of a file: its length, its values with every alias written out, and the depth of their nesting. The largest
#: configuration of a benchmark with thousands of scenes stays below a tenth of the first two.
MAX_CHARACTERS, MAX_VALUES, MAX_DEPTH = 4_000_000, 400_000, 50
#: Characters of a number. Numbers to the base of 60, such as 1:59:59, take time in proportion to their length squared.
MAX_DIGITS = 100


class _RefusedError(yaml.YAMLError):
    """Something in a file that this project does not accept.

    Args:
        node: where.
        message: what is wrong there.
        fix: what to write instead.
    """

    def __init__(self, node: Node, message: str, fix: str) -> None:
        super().__init__(message)
        self.line, self.message, self.fix = node.start_mark.line + 1, message, fix


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses what would silently win, expand without end, or read as something else."""

    def get_single_node(self) -> Node | None:
        """Compose the document and measure it before anything is built."""
        node = super().get_single_node()
        if node is not None:
            _measure(node, {})
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Build a value; numbers and dates that there are not name their line."""
        if isinstance(node, ScalarNode) and node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
            raise _RefusedError(node, f"a number of {len(node.value)} characters", "correct it, or put it into quotes")
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as fault:
            text = str(node.value)[:40] if isinstance(node, ScalarNode) else ""
            kind = node.tag.rpartition(":")[2]
            raise _RefusedError(node, f"'{text}' is no {kind}", "correct it, or put it into quotes") from fault

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping from texts; refuse a key that is given twice."""
        if not isinstance(node, MappingNode):
            raise _RefusedError(node, "this is no mapping", "write KEY: VALUE")
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node)
            if not isinstance(key, str):
                raise _RefusedError(key_node, *_no_text(key_node, key))
            if key in seen:
                raise _RefusedError(key_node, f"the key '{key}' is given twice", "remove one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _no_text(node: Node, key: Any) -> tuple[str, str]:
    """Describe a key that YAML reads as something else, and its fix."""
    if not isinstance(node, ScalarNode):
        return "a key is a list or a mapping", "names are texts"
    if isinstance(key, bool):
        return f"YAML reads the key '{node.value}' as a truth value ({str(key).lower()})", "quote it, or rename it"
    if isinstance(key, int | float):
        return f"the key '{node.value}' is a number", f"names begin with a letter, such as scan{node.value}"
    return f"the key '{node.value}' is no text", "put it into quotes"


def _measure(node: Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the number of values below a node, with aliases written out, and their depth; refuse too many.

    Args:
        node: of the document.
        known: what has been returned, by node; a node that is being measured has depth 0.
    """
    if id(node) in known:
        if known[id(node)][1] == 0:
            raise _RefusedError(node, "this value contains itself", "write it out")
        return known[id(node)]
    known[id(node)] = (0, 0)
    values, depth = 1, 1
    children = node.value if isinstance(node, CollectionNode) else []
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            found = _measure(part, known)
            values, depth = values + found[0], max(depth, found[1] + 1)
    if values > MAX_VALUES:
        raise _RefusedError(node, f"more than {MAX_VALUES} values, with aliases written out", "use fewer aliases")
    if depth > MAX_DEPTH:
        raise _RefusedError(node, f"nested more than {MAX_DEPTH} levels deep", "use fewer levels")
    known[id(node)] = (values, depth)
    return values, depth


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, exceeds a limit, gives a key twice, or is not a mapping.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except FileNotFoundError as fault:
        raise ConfigError(f"{path}: no such file", "check the path") from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read ({fault})") from fault
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a mapping of keys is expected, not {str(data)[:60]!r}", "write KEY: VALUE")
    return data


def parse_yaml(text: str, origin: str) -> Any:
    """Return what YAML text describes: mappings, lists, texts, numbers, dates, truth values and ``None``.

    Args:
        text: of one document.
        origin: file or option that messages name.

    Raises:
        ConfigError: it is not YAML, exceeds a limit, or gives a key twice.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{origin}: longer than {MAX_CHARACTERS} characters", "split it, or name another file")
    try:
        # _StrictLoader derives from SafeLoader: it builds plain data only.
        return yaml.load(text, _StrictLoader)
    except _RefusedError as fault:
        raise ConfigError(f"{origin}: line {fault.line}: {fault.message}", fault.fix) from fault
    except (yaml.YAMLError, ValueError) as fault:  # ValueError: an escape of a character that does not exist
        raise ConfigError(f"{origin}: not valid YAML: {' '.join(str(fault).split())}", "correct that line") from fault
    except RecursionError as fault:
        raise ConfigError(f"{origin}: nested more than {MAX_DEPTH} levels deep", "use fewer levels") from fault
