"""What reaches a terminal, whatever it can show and whatever a file contains."""

from __future__ import annotations

import io
import sys

import pytest

from hemgs.cli import main
from hemgs.cli.console import note, say, table


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii", "cp1252", "utf-8"])
def test_letters_that_a_terminal_lacks_are_replaced(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    assert main(["describe", "hemgs"]) == 0
    say("λ \udc80")
    sys.stdout.flush()
    assert "λ" in shown.getvalue().decode(encoding) or b"?" in shown.getvalue()
    assert shown.getvalue().endswith(b"?\n")


@pytest.mark.parametrize("write", [say, note])
def test_a_name_from_a_file_does_not_steer_the_terminal(write: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(write)
    write(table(["section"], [["a\x1b]0;owned\x07"], ["b\x9b31m\r"], ["c\u202egpj"], ["d\tλ"]]))
    text = "".join(capsys.readouterr())
    assert [letter for letter in text if ord(letter) < 32 and letter not in "\t\n"] == []
    assert "\x9b" not in text and "\u202e" not in text
    assert "a\\x1b]0;owned\\x07" in text
    assert "d\tλ" in text
