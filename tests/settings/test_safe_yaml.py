"""YAML is read as plain data: numbers as they are written, every key once, nothing that runs."""

from pathlib import Path

import pytest

from purejaxrl_gae.settings import safe_yaml
from purejaxrl_gae.settings.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e6", 1e6),
        ("-1.5", -1.5),
        (".inf", float("inf")),
        ("12", 12),
        ("010", 10),  # YAML 1.1: 8
        ("0x10", 16),
        ("1_000", 1000),
        ("1:30", "1:30"),  # YAML 1.1: 90
        ("1:30.5", "1:30.5"),
        ("2026-11-24", "2026-11-24"),  # YAML 1.1: a date
        ("2026-99-99", "2026-99-99"),  # YAML 1.1: ValueError
        ("nan", "nan"),
        ("true", True),
        ("null", None),
        ("9" * 5000, "9" * 5000),  # Python reads no number of so many digits
        ("[1, x]", [1, "x"]),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
    ],
)
def test_scalars_are_what_they_look_like(text, value):
    read = safe_yaml.load(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "the key 'a' stands twice"),
        ("{a: 1, b: {c: 1, c: 2}}", "the key 'c' stands twice"),
        ("a: [", "is not YAML"),
        ("a: !!int x", "is not YAML"),
        ("!!timestamp 2026-99-99", "is not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("[" * 2000, "is nested too deeply"),
    ],
)
def test_what_is_wrong_is_one_line(text, message):
    with pytest.raises(UserError) as error:
        safe_yaml.load(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def bomb(levels, width=10):
    """Each level repeats the one before it `width` times."""
    repeated = ", ".join(["x"] * width)
    lines = [f"x0: &x0 [{repeated}]"]
    for level in range(1, levels):
        repeated = ", ".join([f"*x{level - 1}"] * width)
        lines.append(f"x{level}: &x{level} [{repeated}]")
    return "\n".join(lines)


def merge_bomb(levels):
    repeated = [", ".join([f"*x{level}"] * 10) for level in range(levels)]
    lines = [f"x{level + 1}: &x{level + 1} {{<<: [{repeated[level]}]}}" for level in range(levels)]
    return "\n".join(["x0: &x0 {a: 1, b: 2}", *lines])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(9), "has aliases that expand to more than 200,000 characters"),
        (merge_bomb(12), "has aliases that expand to more than 200,000 characters"),
        ("a: &a " + "x" * 20_000 + "\nb: [" + ", ".join(["*a"] * 100) + "]", "has aliases that expand to more than"),
        ("a: &a [*a]", "is nested too deeply: at most 50 levels"),
        ("a: &a {b: *a}", "is nested too deeply: at most 50 levels"),
        ("a: " + "[" * 60 + "]" * 60, "is nested too deeply: at most 50 levels"),
        ("a: [" + "1, " * 100_000 + "]", "has more than 200,000 characters"),
    ],
)
def test_what_would_fill_the_memory_is_refused_before_it_is_built(monkeypatch, text, message):
    monkeypatch.setattr(safe_yaml.Loader, "construct_document", None)
    with pytest.raises(UserError, match=message):
        safe_yaml.load(text)


def test_a_few_aliases_and_merges_are_read():
    assert safe_yaml.load("a: &a {b: 1}\nc: {<<: *a, d: [*a, *a]}") == {
        "a": {"b": 1},
        "c": {"b": 1, "d": [{"b": 1}, {"b": 1}]},
    }


def test_a_file_without_end_is_read_to_the_limit_only():
    with pytest.raises(UserError, match="has more than 200,000 bytes"):
        safe_yaml.read(Path("/dev/zero"))


def test_a_file_that_is_not_utf8_is_refused_naming_the_byte(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"env: \xff\xfe")
    with pytest.raises(UserError, match="is not UTF-8 text: byte 5"):
        safe_yaml.read(path)
