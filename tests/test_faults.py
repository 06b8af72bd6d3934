"""The table of the documents' faults: it is that of its records, and every row is a config that trains."""

import json
from dataclasses import replace

import pytest

from benchmarks import faults, time_limits


def test_the_page_has_the_table_of_the_records():
    assert faults.table(json.loads(faults.RESULTS.read_text())) in faults.PAGE.read_text()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.what)
def test_every_fault_is_a_change_of_a_valid_config(fault):
    wrong = replace(fault.right, **fault.fields)
    assert wrong != fault.right
    wrong.validate()


def test_the_difference_is_of_the_same_seeds():
    assert faults.cells_of({"right": [100.0, 0.0], "wrong": [90.0, -10.0]}) == ["50", "40", "-10 [-10, -10]"]


def test_the_drawn_treatments_are_those_of_the_truth_table():
    advantages = time_limits.treatments()
    assert advantages["truncated: right"].round(4).tolist() == pytest.approx([0.3973, 0.465, -0.0294, -0.01], abs=1e-4)
    assert advantages["taken for an end"].tolist() == pytest.approx([-2.8615, -3.0, -0.0294, -0.01], abs=1e-3)
