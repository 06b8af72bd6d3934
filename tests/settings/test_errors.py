"""What messages show of values."""

import pytest

from purejaxrl_gae.settings.errors import shown


def nested(levels):
    """A list that would be 10^levels numbers long if it were written out."""
    value = [0] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


LARGE = {
    "text": "x" * 10**6,
    "list": [1] * 10**6,
    "digits": 10**400,
    "more_digits_than_python_writes": -(10**100_000),
    "nested": nested(20),
    "mapping": {number: number for number in range(1000)},
    "nested_in_mapping": {"a": nested(9)},
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_no_value_is_shown_at_length(value):
    assert len(shown(value)) <= 200


@pytest.mark.parametrize("value", [1, 1.5, "text", None, True, ["a", 1], {"a": 1}, 1e39, "two\nlines"])
def test_short_values_are_shown_as_python_writes_them(value):
    assert shown(value) == repr(value)
