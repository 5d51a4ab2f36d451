"""Check the wording of this repository: words that are not used, long sentences, and the width of Markdown.

Usage: ``python tools/check_words.py [FILE ...]``. Without files it checks all that git tracks. It prints one finding a
line as ``file:line: what is wrong: how to correct it``, and exits with 1 if there are any. CONTRIBUTING.md explains the
rules. ``exempt`` of ``[tool.check_words]`` in pyproject.toml lists paths that are skipped: generated ones, and data.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_COLUMNS = 100
MAX_WORDS = 30
"""Aim for 25 words. The program counts in a simple way, so it complains a little later."""

NOT_USED = {
    "aforesaid": "leave it out",
    "albeit": "write 'although'",
    "alike": "write 'in the same way', 'equal' or 'both'",
    "amongst": "write 'among'",
    "anew": "write 'again'",
    "are not to be": "write 'must not be'",
    "are to be": "write 'must be' or 'will be'",
    "aught": "write 'anything'",
    "be had": "write 'is available' or where it can be downloaded",
    "beside": "write 'next to', 'with' or 'in addition to'",
    "ere": "write 'before'",
    "for ever": "write 'permanently' or 'every later version'",
    "forthwith": "write 'immediately'",
    "hence": "write 'therefore' or 'so'",
    "henceforth": "write 'from now on'",
    "hereafter": "write 'below' or 'from now on'",
    "hereby": "leave it out",
    "herein": "write 'here'",
    "hereof": "write 'of this'",
    "heretofore": "write 'until now'",
    "hitherto": "write 'until now'",
    "in vain": "write 'without effect' or what fails",
    "inasmuch": "write 'since'",
    "insofar": "write 'as far as'",
    "is not to be": "write 'must not be'",
    "is to be": "write 'must be' or 'will be'",
    "lest": "write 'so that … not'",
    "likewise": "write 'in the same way' or 'also'",
    "mend": "write 'fix' or 'correct'",
    "mended": "write 'fixed' or 'corrected'",
    "mending": "write 'fixing' or 'correcting'",
    "mends": "write 'fixes' or 'corrects'",
    "naught": "write 'nothing'",
    "notwithstanding": "write 'despite'",
    "nought": "write 'zero' or 'nothing'",
    "of which no": "write a sentence of its own",
    "once more": "write 'again'",
    "said of": "write who states it, and what it states",
    "say of": "write who states it, and what it states",
    "says of": "write who states it, and what it states",
    "seldom": "write 'rarely'",
    "shall": "write 'must' or 'will'",
    "so as to": "write 'to'",
    "stand in": "write 'is in' or 'contains'",
    "stands in": "write 'is in' or 'contains'",
    "stood in": "write 'was in' or 'contained'",
    "tell": "write 'returns', 'contains', 'lists' or 'predicts'",
    "telling": "write 'returns', 'contains', 'lists' or 'predicts'",
    "tells": "write 'returns', 'contains', 'lists' or 'predicts'",
    "thence": "write 'from there'",
    "thereafter": "write 'after that'",
    "thereby": "write 'so' or 'by that'",
    "therefrom": "write 'from it'",
    "therein": "write 'in it'",
    "thereof": "write 'of it'",
    "thereupon": "write 'then'",
    "therewith": "write 'with it'",
    "thus": "write 'so' or 'therefore'",
    "told": "write 'given', 'an input of' or 'reported'",
    "unto": "write 'to'",
    "upon": "write 'on'",
    "was to be": "write 'had to be'",
    "were to be": "write 'had to be'",
    "what of it": "write what it is",
    "whence": "write 'from where'",
    "whereat": "write 'at which'",
    "whereby": "write 'by which'",
    "wherein": "write 'in which'",
    "whereof": "write 'of which'",
    "whereupon": "write 'then'",
    "whilst": "write 'while'",
}

_NOT_USED = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, NOT_USED))})(?![\w-])", re.IGNORECASE)
_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|et al|cf|vs|etc|Fig|Eq|Sec|No)\.")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]*]*\s+")
_LIST_ITEM = re.compile(r"\s*([*+-]|\d+\.)\s+")
_SUFFIXES_WITH_COMMENTS = {".yaml", ".yml", ".smk", ".toml", ".txt", ".def", ".rst"}


@dataclass(frozen=True)
class Passage:
    """Text of one file that belongs together.

    ``lines`` holds the number and the text of each line. The length of sentences counts where ``sentences`` is true.
    """

    lines: tuple[tuple[int, str], ...]
    sentences: bool

    def line_of(self, offset: int) -> int:
        """Return the line number of a position in :attr:`text`."""
        for number, line in self.lines:
            if offset <= len(line):
                return number
            offset -= len(line) + 1
        return self.lines[-1][0]

    @property
    def text(self) -> str:
        """All lines as one."""
        return " ".join(line for _, line in self.lines)


@dataclass(frozen=True)
class Finding:
    """A place that breaks a rule, and the correction."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def check(path: Path, text: str) -> list[Finding]:
    """Return the findings in a file with this text, in the order of lines."""
    found = [Finding(path, line, message) for line, message in _findings(path, text)]
    return sorted(found, key=lambda finding: (finding.line, finding.message))


def _findings(path: Path, text: str) -> Iterator[tuple[int, str]]:
    if path.suffix == ".md":
        yield from _wide_lines(text)
    for passage in _passages(path, text):
        for match in _NOT_USED.finditer(passage.text):
            advice = NOT_USED[match.group().lower()]
            yield passage.line_of(match.start()), f"'{match.group()}' is not used here: {advice}"
        if passage.sentences:
            yield from _long_sentences(passage)
    if path.suffix == ".py":
        yield from _identifiers(text)


def _passages(path: Path, text: str) -> Iterator[Passage]:
    if path.suffix == ".md":
        return _markdown(text)
    if path.suffix == ".py":
        return _python(text)
    if path.suffix in _SUFFIXES_WITH_COMMENTS or path.name in ("Makefile", "Snakefile"):
        return _comments_and_lines(text)
    return iter(())


def _markdown_blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, kind and text of each line; kinds are ``code``, ``table``, ``break`` and ``prose``.

    Examples of bad writing in CONTRIBUTING.md count as code.
    """
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            yield number, "code", line
        elif fenced or line.startswith(("    ", "> *bad*:")):
            yield number, "code", line
        elif line.lstrip().startswith("|"):
            yield number, "table", line
        elif not line.strip() or line.startswith("#"):
            yield number, "break", line
        else:
            yield number, "prose", line


def _wide_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines of Markdown that a line break would make shorter."""
    for number, kind, line in _markdown_blocks(text):
        width = len(re.sub(r"\]\([^)]*\)", "]", line))
        if kind in ("prose", "break") and width > MAX_COLUMNS and " " in line.strip():
            yield number, f"{width} columns: wrap Markdown at {MAX_COLUMNS}"


def _plain(line: str) -> str:
    """Return a line of Markdown or of a docstring with links and code as one word each, of the same meaning."""
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    return re.sub(r"(`+)[^`]+\1", "code", line)


def _markdown(text: str) -> Iterator[Passage]:
    block: list[tuple[int, str]] = []
    for number, kind, line in _markdown_blocks(text):
        if kind == "prose" and not _LIST_ITEM.match(line):
            block.append((number, _plain(line.strip())))
            continue
        if block:
            yield Passage(tuple(block), sentences=True)
        block = [(number, _plain(line.strip()))] if kind == "prose" else []
        if kind in ("table", "break"):
            yield Passage(((number, _plain(line)),), sentences=False)
    if block:
        yield Passage(tuple(block), sentences=True)


def _python(text: str) -> Iterator[Passage]:
    tree = ast.parse(text)
    docstrings = {id(node) for node in _docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            lines = [(node.lineno + index, line) for index, line in enumerate(node.value.splitlines())]
            if id(node) in docstrings:
                yield from _paragraphs(lines)
            else:
                yield Passage(tuple(lines), sentences=False)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]
    yield from _comment_blocks(comments)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield docstrings, and texts that stand alone below a field or a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _paragraphs(lines: list[tuple[int, str]]) -> Iterator[Passage]:
    """Yield paragraphs of a docstring; indented blocks and tables are not sentences."""
    indent = min((len(line) - len(line.lstrip()) for _, line in lines[1:] if line.strip()), default=0)
    block: list[tuple[int, str]] = []
    for number, line in [*lines, (0, "")]:
        stripped = line.strip()
        nested = number != lines[0][0] and len(line) - len(line.lstrip()) > indent
        apart = nested or stripped.startswith((">>>", "|", "=="))
        if block and (not stripped or apart or _LIST_ITEM.match(line)):
            yield Passage(tuple(block), sentences=True)
            block = []
        if stripped and apart:
            yield Passage(((number, _plain(stripped)),), sentences=False)
        elif stripped:
            block.append((number, _plain(stripped)))


def _comment_blocks(comments: list[tuple[int, str]]) -> Iterator[Passage]:
    """Yield comments; those on consecutive lines are one passage."""
    block: list[tuple[int, str]] = []
    for number, comment in comments:
        text = _plain(comment.lstrip("#").strip())
        if block and (number != block[-1][0] + 1 or not text):
            yield Passage(tuple(block), sentences=True)
            block = []
        block.append((number, text))
    if block:
        yield Passage(tuple(block), sentences=True)


def _comments_and_lines(text: str) -> Iterator[Passage]:
    comments = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#"):
            comments.append((number, line.strip()))
        else:
            yield Passage(((number, line),), sentences=False)
    yield from _comment_blocks(comments)


def _long_sentences(passage: Passage) -> Iterator[tuple[int, str]]:
    text = _ABBREVIATIONS.sub(lambda match: match.group().replace(".", "·"), passage.text)
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        count = sum(1 for word in text[start:end].split() if re.search(r"\w", word))
        if count > MAX_WORDS:
            yield (
                passage.line_of(start),
                f"a sentence of {count} words: write one claim a sentence, about 25 words at most",
            )
        start = end


def _identifiers(text: str) -> Iterator[tuple[int, str]]:
    """Yield names that a module gives and that contain a word not used."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case _:
                continue
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("_", " ")
        for match in _NOT_USED.finditer(words):
            advice = NOT_USED[match.group().lower()]
            yield node.lineno, f"the name '{name}' contains '{match.group()}': take a noun of the domain ({advice})"


def tracked_files(root: Path) -> list[Path]:
    """Return the files that git tracks or would track, relative to ``root``, without exempt ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["check_words"]
    skipped = tuple(settings["exempt"])
    return [Path(name) for name in listed if not name.startswith(skipped) and (root / name).is_file()]


def main(arguments: list[str] | None = None) -> int:
    """Print every finding and return the exit status: 1 if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="files to check; all that git tracks when absent")
    files = parser.parse_args(arguments).files or tracked_files(Path())
    known = [path for path in files if path.suffix in {".md", ".py", *_SUFFIXES_WITH_COMMENTS} or not path.suffix]
    found = [finding for path in known for finding in check(path, path.read_text(encoding="utf-8"))]
    sys.stdout.writelines(f"{finding}\n" for finding in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
