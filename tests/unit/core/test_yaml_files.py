"""What YAML files may contain, and what the errors report that refuse the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from hemgs.core.errors import ConfigError
from hemgs.core.yaml_files import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES, load_yaml, parse_yaml

#: Ten lines that stand for ten to the power of nine values.
ALIAS_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)
MERGE_BOMB = "a0: &a0 {x0: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}], x{level}: 1}}\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is given twice"),
        ("a:\n  b: 1\n  b: 1\n", "line 3: the key 'b' is given twice"),
        ("a: [1\n", "not valid YAML"),
        ("- a\n- b\n", "a mapping of keys is expected"),
        ("", "a mapping of keys is expected"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("a: 1\nb: 2026-13-45\n", "line 2: '2026-13-45' is no timestamp"),
        (f"a: {'9' * 5000}\n", "line 1: a number of 5000 characters"),
        ("a:\n- !!int abc\n", "line 2: 'abc' is no int"),
        ("a: !!float x\n", "line 1: 'x' is no float"),
        ("a: !!bool maybe\n", "line 1: 'maybe' is no bool"),
        ("a: !!map [1]\n", "line 1: this is no mapping"),
        ('a: "\\U00110000"\n', "not valid YAML"),
        (f"a: 1{':59' * 100_000}\n", "line 1: a number of 300001 characters"),
        ("a: !!timestamp soon\n", "line 1: 'soon' is no timestamp"),
        (f"a: {'[' * (MAX_DEPTH + 1)}{']' * (MAX_DEPTH + 1)}\n", f"nested more than {MAX_DEPTH} levels"),
        (f"a: {'[' * 100_000}\n", f"nested more than {MAX_DEPTH} levels"),
        (ALIAS_BOMB, f"more than {MAX_VALUES} values"),
        (MERGE_BOMB, f"more than {MAX_VALUES} values"),
        ("a: &a [*a]\n", "line 1: this value contains itself"),
        ("scenes: {on: {}}\n", "line 1: YAML reads the key 'on' as a truth value (true) — quote it"),
        ("scenes:\n  off: {}\n", "line 2: YAML reads the key 'off' as a truth value (false)"),
        ("scenes: {24: {}}\n", "the key '24' is a number — names begin with a letter, such as scan24"),
        ("a: {~: 1}\n", "the key '~' is no text"),
        ("a: {2026-01-02: 1}\n", "the key '2026-01-02' is no text"),
        ("a: {[1]: 1}\n", "a key is a list or a mapping"),
        (f"a: {'x' * MAX_CHARACTERS}\n", f"longer than {MAX_CHARACTERS} characters"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as fault:
        load_yaml(path)
    assert str(path) in str(fault.value)
    assert message in str(fault.value)
    assert fault.value.fix


def test_a_file_that_is_not_there_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_yaml(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "binary.yaml")
    with pytest.raises(ConfigError, match="longer than"):
        load_yaml(Path("/dev/zero"))


def test_merge_keys_aliases_and_byte_order_marks_work(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("\ufeffa: &base {x: 1}\nb:\n  <<: *base\n  y: 2\nc: [*base, *base]\n", encoding="utf-8")
    assert load_yaml(path) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}]}


@pytest.mark.parametrize("levels", [1, MAX_DEPTH - 2])
def test_what_is_just_deep_enough_is_read(levels: int) -> None:
    assert parse_yaml("[" * levels + "]" * levels, "here") is not None


@pytest.mark.parametrize("name", ["config", "demo", "bonsai"])
def test_configurations_of_this_project_use_no_key_that_yaml_reads_as_something_else(name: str) -> None:
    assert load_yaml(Path(__file__).parents[3] / f"workflow/config/{name}.yaml")
