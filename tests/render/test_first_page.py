"""The first page: the findings that concern most people, in plain words, and the rates with the line of the limit."""

from __future__ import annotations

import pytest
from gallery import gallery_report

from auditkit.evidence.report import Report
from auditkit.render.first_page import first_page, key_findings, plain


@pytest.fixture(scope="module")
def census() -> Report:
    return gallery_report("census")


def test_whole_groups_come_before_small_intersections_and_each_limit_is_heard(census: Report) -> None:
    first = key_findings(census)[:3]
    assert [(one.verdict, one.by) for one in first] == [
        ("fail", ("sex",)),
        ("fail", ("race",)),
        ("inconclusive", ("sex",)),
    ]
    assert census.findings[0].by == ("sex", "race")  # furthest beyond its limit, and about 66 people


def test_two_findings_about_the_same_two_rates_are_one_fact(census: Report) -> None:
    shown = [(one.measurement, one.by) for one in key_findings(census)]
    assert ("fairness.demographic_parity_difference", ("sex",)) in shown
    assert ("fairness.demographic_parity_ratio", ("sex",)) not in shown


def test_a_finding_is_said_in_plain_words_with_both_rates(census: Report) -> None:
    finding = key_findings(census)[0]
    gap = census.measurement(finding.measurement, finding.by)
    said = plain(finding, gap)
    rates = census.measurement("fairness.selection_rate", ("sex",))
    assert gap is not None
    assert rates is not None
    # The model of the gallery is trained anew: its rates differ in the last digit from processor to processor.
    female, male = (f"{100 * (part.value or 0):.1f}" for part in rates.slices)
    assert (float(female), float(male)) == pytest.approx((8.0, 27.9), abs=1.5)
    assert said.text == (
        f"Selected: {female} % of Female and {male} % of Male. The gap of {100 * (gap.value or 0):.1f} points exceeds "
        "the limit (at most 10.0 points)."
    )
    assert gap.interval is not None
    low, high = 100 * gap.interval.low, 100 * gap.interval.high
    assert said.evidence.startswith(f"By sex; 95 % CI {low:.1f} to {high:.1f}; 5,421 and 10,860 records")


def test_the_bars_are_of_whole_groups_and_the_line_is_that_of_the_limit(census: Report) -> None:
    bars = first_page(census).bars
    assert [one.rates.by for one in bars] == [("sex",), ("race",)]
    sex = bars[0]
    male = sex.rows[0]
    assert male.group.text == "Male"
    assert male.value is not None
    assert sex.line == pytest.approx(male.value - 0.1)
    assert sex.line_words == "10.0 points below the highest rate"


def test_where_no_groups_were_compared_the_limits_stand_at_a_glance(report: Report) -> None:
    page = first_page(report)  # its gaps name no pair of rates
    assert page.bars == []
    assert page.glance[0].verdict == "fail"
