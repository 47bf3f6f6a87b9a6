"""Local Law 144's arithmetic, by hand."""

from __future__ import annotations

import itertools

import pytest

from auditkit.auditors.fairness.local_law_144 import impact_table
from auditkit.errors import InputError

# By hand: sex x race of 1,000 applicants, 20 of unknown sex; the highest rate is 60/150 = 0.4.
#   Female & Asian  45 / 150 = 0.30 -> 0.75      Male & Asian  60 / 150 = 0.40 -> 1.00
#   Female & White  90 / 300 = 0.30 -> 0.75      Male & White 126 / 350 = 0.36 -> 0.90
#   Female & Other   1 /  10 = 0.10 -> 0.25, 1.0 % of the rows      Male & Other 2 / 20 = 0.10 -> 0.25, 2.0 %
CROSSED = [
    (("Female", "Asian"), 45, 150),
    (("Female", "White"), 90, 300),
    (("Female", "Other"), 1, 10),
    (("Male", "Asian"), 60, 150),
    (("Male", "White"), 126, 350),
    (("Male", "Other"), 2, 20),
    (("(missing)", "White"), 7, 20),
]


def test_the_table_is_the_one_computed_by_hand() -> None:
    table = impact_table(("sex", "race"), CROSSED)
    rows = {row.category: row for row in table.rows}
    assert (table.applicant_count, table.unknown_count, table.highest_rate) == (1000, 20, 0.4)
    assert "(missing) & White" not in rows
    ratios = {name: row.impact_ratio for name, row in rows.items()}
    expected = {"Female & Asian": 0.75, "Female & White": 0.75, "Female & Other": 0.25}
    expected |= {"Male & Asian": 1.0, "Male & White": 0.9, "Male & Other": 0.25}
    assert ratios == pytest.approx(expected)
    assert [name for name, row in rows.items() if row.small] == ["Female & Other"], "2.0 % is not under 2 %"


def test_a_small_category_may_be_left_out_and_keeps_its_count_and_rate() -> None:
    categories = [(("A",), 10, 100), (("B",), 5, 5), (("C",), 60, 200)]
    assert impact_table(("race",), categories).highest_rate == 1.0
    table = impact_table(("race",), categories, left_out=[("B",)])
    left_out = table.rows[1]
    assert (left_out.left_out, left_out.rate, left_out.impact_ratio) == (True, 1.0, None)
    assert "under 2 %" in left_out.reason
    assert table.rows[0].impact_ratio == pytest.approx(0.1 / 0.3)


@pytest.mark.parametrize(("name", "words"), [("A", "only a category under 2 %"), ("D", "no category")])
def test_only_a_small_category_may_be_left_out(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        impact_table(("race",), [(("A",), 10, 100), (("B",), 5, 5)], left_out=[(name,)])


def test_what_is_undefined_has_a_reason_and_no_number() -> None:
    table = impact_table(("race",), [(("A",), 0, 100), (("B",), 0, 50), (("C",), None, 30), (("D",), 0, 0)])
    assert table.highest_rate == 0
    assert all(row.impact_ratio is None and row.reason for row in table.rows)
    assert impact_table(("race",), []).highest_rate is None


def test_order_and_names_change_nothing() -> None:
    known = {row.category: row.impact_ratio for row in impact_table(("x", "y"), CROSSED).rows}
    for order in itertools.islice(itertools.permutations(CROSSED), 0, 5040, 300):
        assert {row.category: row.impact_ratio for row in impact_table(("x", "y"), order).rows} == known


def test_rows_that_a_report_withholds_count_in_the_shares() -> None:
    table = impact_table(("race",), [(("A",), 10, 50), (("B",), 10, 950)], withheld_count=2000)
    assert table.applicant_count == 3000
    assert table.rows[0].small
