"""Rows without a recorded decision: a selection by group is said, and gaps are bounded whatever was decided."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.evidence.measurement import Interval, Measurement, Slice, Table
from auditkit.evidence.report import Report
from auditkit.stats.counts import Counts, tally
from auditkit.stats.missing_labels import Undecided, Unlabelled
from auditkit.stats.rates import group_rates
from auditkit.stats.sampling import Sampling


def decisions(rows: int = 1200, seed: int = 0) -> pd.DataFrame:
    """Return decisions 35 points apart between two groups."""
    draws = np.random.default_rng(seed)
    sex = np.where(draws.random(rows) < 0.5, "F", "M")
    approved = (draws.random(rows) < np.where(sex == "M", 0.65, 0.3)).astype(float)
    return pd.DataFrame({"sex": sex, "approved": approved, "w": draws.uniform(0.5, 2, rows)})


def without(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the same with the cells of so many refused women empty."""
    blank = frame.index[(frame["sex"] == "F") & (frame["approved"] == 0)][:count]
    return frame.assign(approved=frame["approved"].where(~frame.index.isin(blank)))


def audited(frame: pd.DataFrame, **options: Any) -> Report:
    given = {"prediction": "approved", "sensitive": ["sex"], "only": ["fairness"], **options}
    return auditkit.audit(None, frame, **given)


def gap(report: Report, name: str = "demographic_parity_difference") -> tuple[Measurement, Interval]:
    found = report.measurement(f"fairness.{name}", ("sex",))
    assert found is not None
    assert found.interval is not None
    return found, found.interval


def numbers_of(measurement: Measurement) -> list[Measurement | Slice]:
    return [*measurement.slices] or [measurement]


def said(report: Report) -> list[str]:
    return [text for text in report.subject.statements if "a value is recorded for" in text]


@pytest.mark.parametrize("count", [100, 200, 260, 300, 350])
def test_empty_cells_of_one_group_never_turn_a_fail_into_a_pass(count: int) -> None:
    """Emptied cells of 260 to 300 refused women make the rates of the others equal: that passed."""
    whole, report = audited(decisions()), audited(without(decisions(), count))
    assert whole.verdict == "fail"
    assert report.verdict in ("fail", "inconclusive")
    (sentence,) = said(report)
    assert "100.0 % of M (sex)" in sentence
    for name in ("demographic_parity_difference", "demographic_parity_ratio"):
        truth, (_, interval) = gap(whole, name)[0].value, gap(report, name)
        assert truth is not None
        assert interval.low <= truth <= interval.high
        assert "whatever the missing decisions are" in interval.method


def test_a_breach_among_the_recorded_decisions_stays_one() -> None:
    naive, bounded = gap(audited(without(decisions(), 0))), gap(audited(without(decisions(), 60)))
    found, interval = bounded
    assert found.value is not None
    assert interval.low > 0.1, "as of the recorded decisions alone"
    assert interval.high > naive[1].high


def test_cells_that_are_empty_by_chance_or_alike_change_nothing() -> None:
    frame = decisions()
    frame["approved"] = frame["approved"].where(np.arange(1200) % 10 != 0)
    report = audited(frame)
    assert said(report) == []
    assert "missing" not in gap(report)[1].method
    assert any("120 of 1,200 rows have no value in approved" in note for note in report.subject.notes)


@pytest.mark.parametrize("options", [{"weight": "w"}, {"cluster": "office"}, {"weight": "w", "cluster": "office"}])
def test_weighted_and_clustered_rows_are_bounded_too(options: dict[str, str]) -> None:
    frame = decisions().assign(office=np.arange(1200) // 6)
    frame.loc[frame.index[:2], "w"] = 3.0
    whole, report = audited(frame, **options), audited(without(frame, 280), **options)
    assert whole.verdict == "fail"
    assert report.verdict in ("fail", "inconclusive")
    assert len(said(report)) == 1
    for name in ("demographic_parity_difference", "demographic_parity_ratio"):
        truth, (_, interval) = gap(whole, name)[0].value, gap(report, name)
        assert truth is not None
        assert interval.low <= truth <= interval.high


def test_a_sample_is_bounded_too_and_a_row_without_decision_and_weight_stands_for_nobody() -> None:
    frame = without(decisions(), 280)
    assert gap(audited(frame, limit=500))[1].high > 0.25
    same = audited(frame, weight="w")
    frame.loc[1200] = {"sex": "F", "approved": np.nan, "w": np.nan}
    assert gap(audited(frame, weight="w")) == gap(same)


def test_the_bound_of_weighted_rows_is_that_of_the_weighted_shares() -> None:
    """Missing: a weight of 6 of 12 of the women. Their rate lies from 3 of 12 to 9 of 12, not 1 of 2 each way."""
    columns, groups, classes = ("g",), (("F",), ("M",)), ("no", "yes")
    weights = np.array([3.0, 3, 5, 5])
    known = tally(columns, groups, np.array([0, 0, 1, 1]), np.zeros(4, int), np.array([0, 1, 0, 1]), classes,
                  Sampling(weights))  # fmt: skip
    missing = tally(
        columns, groups, np.array([0]), np.zeros(1, int), np.zeros(1, int), classes, Sampling(np.array([6.0]))
    )
    for best, rate in ((False, 3 / 12), (True, 9 / 12)):
        found = group_rates(Undecided(known, missing).completed("selection_rate", best=best), "selection_rate").values
        np.testing.assert_allclose(found, [rate, 0.5])


def test_impact_ratios_and_differences_from_a_reference_reach_to_what_was_left_out() -> None:
    frame = decisions()
    options = {"settings": {"fairness": {"reference_group": ("sex=M",)}}}
    whole, report = audited(frame, **options), audited(without(frame, 280), **options)
    for name in ("impact_ratio", "selection_rate_difference_from_reference"):
        truth, bounded = (one.measurement(f"fairness.{name}", ("sex",)) for one in (whole, report))
        assert truth is not None
        assert bounded is not None
        of_women, now = truth.slices[0], bounded.slices[0]
        assert now.group.key == of_women.group.key == ("F",)
        for interval in (now.interval, now.simultaneous_interval):
            assert interval is not None
            assert of_women.value is not None
            assert interval.low <= of_women.value <= interval.high
            assert "whatever the missing decisions are" in interval.method
        assert now.interval is not None
    tables = [one for outcome in report.outcomes for one in outcome.exhibits if isinstance(one, Table)]
    (women,) = [row for table in tables if "impact ratios" in table.title for row in table.rows if row[0] == "F"]
    assert str(women[6]).startswith("0.3"), women


def test_each_of_several_classes_is_bounded() -> None:
    frame = decisions().assign(grade=lambda rows: np.where(rows["approved"] == 1, "high", "low"))
    frame["grade"] = frame["grade"].where(np.arange(1200) % 5 > 0, "medium")
    blank = frame.index[(frame["sex"] == "F") & (frame["grade"] == "low")][:200]
    report = audited(frame.assign(grade=frame["grade"].where(~frame.index.isin(blank))), prediction="grade")
    whole = audited(frame, prediction="grade")
    assert len(said(report)) == 1
    found, truth = (
        one.measurement("fairness.demographic_parity_difference", ("sex", "class")) for one in (report, whole)
    )
    assert found is not None
    assert truth is not None
    for mine, true in zip(found.slices, truth.slices, strict=True):
        assert mine.interval is not None
        assert true.value is not None
        assert true.value <= mine.interval.high
        assert "whatever the missing decisions are" in mine.interval.method


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the decisions with a label: of the qualified, 80 % of the men and 45 % of the women are approved."""
    draws = np.random.default_rng(7)
    repaid = (draws.random(len(frame)) < 0.6).astype(int)
    rate = np.where(repaid == 0, 0.2, np.where(frame["sex"] == "M", 0.8, 0.45))
    return frame.assign(repaid=repaid, approved=(draws.random(len(frame)) < rate).astype(float))


@pytest.mark.parametrize("options", [{}, {"weight": "w"}, {"cluster": "office"}])
@pytest.mark.parametrize("label_share", [1.0, 0.5])
def test_rates_that_need_labels_are_bounded_too(options: dict[str, str], label_share: float) -> None:
    """Emptied cells of refused women who would have repaid make their true positive rate that of the men."""
    frame = labelled(decisions()).assign(office=np.arange(1200) // 6)
    whole = audited(frame, target="repaid", **options)
    refused = frame.index[(frame["sex"] == "F") & (frame["approved"] == 0) & (frame["repaid"] == 1)]
    frame["approved"] = frame["approved"].where(~frame.index.isin(refused[:150]))
    given = frame["approved"].ne(0) | (np.random.default_rng(1).random(1200) < label_share)
    report = audited(frame.assign(repaid=frame["repaid"].where(given)), target="repaid", **options)
    for name in ("equal_opportunity_difference", "equalized_odds_difference", "accuracy_ratio"):
        truth, (_, interval) = gap(whole, name)[0].value, gap(report, name)
        assert truth is not None
        assert interval.low <= truth <= interval.high
        assert "whatever the missing decisions are" in interval.method
    rates, true = (one.measurement("fairness.true_positive_rate", ("sex",)) for one in (report, whole))
    assert rates is not None
    assert true is not None
    for mine, of_all in zip(rates.slices, true.slices, strict=True):
        assert mine.interval is not None
        assert of_all.value is not None
        assert mine.interval.low <= of_all.value <= mine.interval.high
    (sentence,) = said(report)
    assert "whatever their labels are" in sentence


def test_accuracy_and_the_rates_of_several_classes_are_bounded_too() -> None:
    frame = labelled(decisions())
    for name in ("approved", "repaid"):
        frame[name] = np.where(np.arange(1200) % 5 == 0, "medium", np.where(frame[name] == 1, "high", "low"))
    whole = audited(frame, prediction="approved", target="repaid")
    blank = frame.index[(frame["sex"] == "F") & (frame["approved"] == "low") & (frame["repaid"] == "high")][:150]
    report = audited(frame.assign(approved=frame["approved"].where(~frame.index.isin(blank))), target="repaid")
    for name, by in (("accuracy_difference", ("sex",)), ("equal_opportunity_difference", ("sex", "class"))):
        found, true = (one.measurement(f"fairness.{name}", by) for one in (report, whole))
        assert found is not None
        assert true is not None
        for mine, of_all in zip(numbers_of(found), numbers_of(true), strict=True):
            assert mine.interval is not None
            assert of_all.value is not None
            assert of_all.value <= mine.interval.high
            assert "whatever the missing decisions are" in mine.interval.method


def test_recorded_outcomes_without_a_value_are_a_statement_too() -> None:
    frame = decisions().assign(wait=lambda rows: np.where(rows["sex"] == "F", 40, 30) + np.arange(1200) % 7)
    frame["wait"] = frame["wait"].where((frame["sex"] == "M") | (frame["wait"] < 43))
    report = auditkit.audit(None, frame, outcome="wait", sensitive=["sex"], only=["fairness"])
    assert len(said(report)) == 1
    assert said(report)[0].startswith("wait: a value is recorded for")
    assert said(report)[0].endswith("no interval of a mean allows for them.")


@pytest.mark.parametrize("name", ["true_positive_rate", "false_positive_rate", "accuracy"])
def test_no_decisions_and_labels_give_a_higher_or_a_lower_rate(name: str) -> None:
    """Two rows without a decision and one without a label, which is decided yes, in every way to fill them."""
    columns, groups, classes = ("g",), (("a",),), ("no", "yes")
    known = Counts(columns, groups, classes, np.array([[[3, 2], [1, 4]]]))
    undecided = Counts(columns, groups, classes, np.array([[[2, 0], [0, 0]]]))
    unlabelled = Counts(columns, groups, classes, np.array([[[0, 1], [0, 0]]]))
    values = []
    for label, *cells in product((0, 1), product((0, 1), repeat=2), product((0, 1), repeat=2)):
        table = known.table.copy()
        for one in ((label, 1), *cells):
            table[(0, *one)] += 1
        values.append(group_rates(Counts(columns, groups, classes, table), name).values[0])
    given = Undecided(known, undecided, Unlabelled(known, unlabelled))
    for best, extreme in ((False, min(values)), (True, max(values))):
        assert group_rates(given.completed(name, best=best), name).values == pytest.approx(extreme)


def test_no_decisions_give_a_higher_or_a_lower_rate() -> None:
    columns, groups, classes = ("g",), (("a",), ("b",)), ("no", "yes")
    known = Counts(columns, groups, classes, np.array([[[3, 2], [0, 0]], [[1, 4], [0, 0]]]))
    missing = Counts(columns, groups, classes, np.array([[[3, 0], [0, 0]], [[0, 0], [0, 0]]]))
    values = []
    for chosen in product((0, 1), repeat=3):
        table = known.table.copy()
        for decision in chosen:
            table[0, 0, decision] += 1
        values.append(group_rates(Counts(columns, groups, classes, table), "selection_rate").values)
    for best, extreme in ((False, np.min), (True, np.max)):
        found = group_rates(Undecided(known, missing).completed("selection_rate", best=best), "selection_rate").values
        np.testing.assert_allclose(found, extreme(values, axis=0))
