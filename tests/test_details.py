"""The tables of implementation details: they are those of their records, and every row is a config that trains."""

import json

import pytest

from benchmarks import details


@pytest.mark.parametrize("algorithm", details.TASKS)
def test_the_page_has_the_table_of_the_records(algorithm):
    found = details.table(algorithm, details.by_row(json.loads(details.RESULTS.read_text())))
    assert found in (details.DOCS / "algorithms" / f"{algorithm}.md").read_text()
    assert "?" not in found


def test_every_row_is_valid_and_no_two_train_alike():
    rows = details.rows()
    for _, _, config in rows:
        config.validate()
    assert len({repr(config) for _, _, config in rows}) == len(rows)


def test_a_preset_that_has_it_already_has_an_empty_cell():
    right, _ = details.TASKS["reinforce"]
    detail = details.Detail("as it is", {"advantage": right.advantage})
    assert details.changed(right, detail) is None
    assert details.changed(right, details.Detail("elsewhere", {"advantage": "q"}, only=("Pendulum-v1",))) is None
