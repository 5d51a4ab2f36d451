"""The check of words finds what CONTRIBUTING.md rules out, and nothing in code, links and tables."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.check_words import MAX_WORDS, check, tracked_files

LONG = "We " + "a " * MAX_WORDS + "word."


def messages(name: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.message) for finding in check(Path(name), text)]


@pytest.mark.parametrize(
    "name, text, line",
    [
        ("a.md", "# Title\n\nWe mend it.\n", 3),
        ("a.md", "| a | b |\n|---|---|\n| 1 | told |\n", 3),
        ("a.md", "Tables tell the rate.\n", 1),
        ("a.md", "The file is to be closed.\n", 1),
        ("a.py", '"""Decode it.\n\nRead it so as\nto check it.\n"""\n', 3),
        ("a.md", "One line,\nand files are decoded for\never by all.\n", 2),
        ("a.py", '"""Read it.\n\n    Both are read alike.\n"""\n', 3),
        ("a.py", "x = 1\n# made anew\n", 2),
        ("a.py", 'raise ValueError(f"{1} stands in the file")\n', 1),
        ("a.py", "\ntold = 1\n", 2),
        ("a.py", "def f(rates_told): pass\n", 1),
        ("a.py", "class ReadAlike: pass\n", 1),
        ("a.yaml", "a: 1  # beside it\n", 1),
        ("a.smk", "rule a:\n    # in vain\n    input: 1\n", 2),
        ("Makefile", "test: ## run it anew\n", 1),
    ],
)
def test_words_not_used_are_found_with_their_line_and_a_correction(name: str, text: str, line: int) -> None:
    ((found, message),) = messages(name, text)
    assert found == line
    assert "write" in message


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.md", "    mend told anew\n"),
        ("a.md", "```\nmend told\n```\n"),
        ("a.md", "> *bad*: It tells us.\n"),
        ("a.md", "Call `told` besides a stand-in that is `beside` it.\n"),
        ("a.md", "We amend what a page foretells.\n"),
        ("a.md", f"| {'wide ' * 30}|\n"),
        ("a.md", "See [the page](https://example.org/" + "a" * 120 + ").\n"),
        ("a.md", "https://example.org/" + "a" * 120 + "\n"),
        ("a.md", f"* {'one ' * 20}\n* {'two ' * 20}\n"),
        ("a.md", "Wang et al. wrote it. " + "Now it is.\n" * 20),
        ("a.py", f'"""Read it.\n\n    {LONG}\n\nThat is a nested block.\n"""\n'),
        ("a.py", 'PATH = "told"\n'),
        ("a.csv", "told,mend\n"),
    ],
)
def test_code_links_tables_and_short_sentences_pass(name: str, text: str) -> None:
    assert messages(name, text) == []


@pytest.mark.parametrize(
    "name, text, line",
    [
        ("a.md", f"Short. {LONG}\n", 1),
        ("a.md", f"* One.\n* {LONG}\n", 2),
        ("a.py", f'def f():\n    """Read it.\n\n    {LONG}\n    """\n', 4),
        ("a.py", "x = 1\n# The coder\n# " + LONG + "\n", 2),
        ("a.yaml", f"a: 1\n# {LONG}\n", 2),
    ],
)
def test_long_sentences_are_found(name: str, text: str, line: int) -> None:
    ((found, message),) = messages(name, text)
    assert found == line
    assert "one claim a sentence" in message


def test_a_sentence_of_the_limit_passes_and_one_word_more_does_not() -> None:
    assert messages("a.md", "a " * (MAX_WORDS - 1) + "\nword.\n") == []
    assert len(messages("a.md", "a " * MAX_WORDS + "\nword.\n")) == 1


def test_markdown_wraps() -> None:
    text = "It is. " * 15
    assert messages("a.md", "short\n" + text[:100].strip() + "\n") == []
    ((line, message),) = messages("a.md", "short\n" + text[:101].strip() + "x\n")
    assert (line, message) == (2, "101 columns: wrap Markdown at 100")


def test_exempt_files_are_left_out(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "pyproject.toml").write_text('[tool.check_words]\nexempt = ["made/"]\n')
    for name in ("made/a.md", "new.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("We mend it.\n")
    assert tracked_files(tmp_path) == [Path("new.md"), Path("pyproject.toml")]
