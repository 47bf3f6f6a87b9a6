"""Labels are optional: each metric uses the rows that it can, and labels known for a selection are a finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.data.dataset import Data
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.report import Report

OPTIONS: dict[str, Any] = {"prediction": "approved", "sensitive": ["sex"]}


def lending(known: str, rows: int = 1000, seed: int = 1) -> pd.DataFrame:
    """Return decisions of which F are approved in 28 %, M in 71 %, and labels that are known for some rows."""
    draws = np.random.default_rng(seed)
    sex = np.where(np.arange(rows) % 2, "M", "F")
    approved = (np.arange(rows) // 2 % 100 < np.where(sex == "M", 71, 28)).astype(int)
    mask = {
        "all": np.ones(rows, dtype=bool),
        "the approved": approved == 1,
        "the refused": approved == 0,
        "women": sex == "F",
        "by chance": draws.random(rows) < 0.5,
    }[known]
    repaid = pd.Series(draws.integers(0, 2, rows)).astype(object).where(pd.Series(mask), None)
    return pd.DataFrame(
        {"sex": sex, "approved": approved, "repaid": repaid, "score": approved / 2 + draws.random(rows)}
    )


def number(report: Report, id: str, by: tuple[str, ...] = ()) -> Measurement:
    found = report.measurement(id, by)
    assert found is not None, id
    return found


@pytest.mark.parametrize("target", ["repaid", None])
@pytest.mark.parametrize("known", ["the approved", "the refused", "women", "by chance"])
def test_selection_is_measured_over_all_rows_whatever_labels_are_known(known: str, target: str | None) -> None:
    report = auditkit.audit(None, lending(known), target=target, only=["fairness"], **OPTIONS)
    gap = number(report, "fairness.demographic_parity_difference", ("sex",))
    assert gap.value == pytest.approx(0.43)
    assert gap.count == 1000
    rates = number(report, "fairness.selection_rate", ("sex",))
    assert {part.group.text: round(part.value or 0, 3) for part in rates.slices} == {"F": 0.28, "M": 0.71}
    (finding,) = (one for one in report.findings if one.measurement == gap.id)
    assert finding.verdict == "fail"


@pytest.mark.parametrize(
    ("known", "selective"),
    [("the approved", 3), ("the refused", 3), ("women", 3), ("by chance", 0), ("all", None)],
)
def test_labels_known_for_a_selection_are_a_finding_and_stand_on_the_first_screen(
    known: str, selective: int | None
) -> None:
    report = auditkit.audit(None, lending(known), target="repaid", only=["data"], score="score", **OPTIONS)
    found = report.measurement("data.selective_label_count", ())
    if selective is None:
        assert found is None
        assert not any("known for a selection" in text for text in report.subject.statements)
        return
    assert found is not None
    assert found.value == selective
    said = [one.message for one in report.findings if one.verdict == "warn" and "selective" in one.measurement]
    assert bool(said) == bool(selective)
    assert any("known for a selection" in text for text in report.subject.statements) == bool(selective)


def test_metrics_that_need_labels_use_the_labelled_rows_and_say_how_many() -> None:
    frame = lending("by chance")
    report = auditkit.audit(None, frame, target="repaid", only=["fairness", "performance"], **OPTIONS)
    known = frame["repaid"].notna()
    accuracy = number(report, "performance.accuracy")
    assert accuracy.count == known.sum()
    assert accuracy.value == pytest.approx((frame["approved"] == frame["repaid"])[known].mean())
    assert number(report, "fairness.true_positive_rate", ("sex",)).count == (frame["repaid"] == 1).sum()
    assert any(f"{known.sum():,} of 1,000 rows have a label" in note for note in report.subject.notes)


def test_without_any_label_what_needs_one_is_not_measured_and_nothing_is_an_error() -> None:
    report = auditkit.audit(None, lending("all").drop(columns="repaid"), **OPTIONS)
    assert report.verdict == "fail", "the gap of 43 points"
    assert {outcome.auditor for outcome in report.outcomes if outcome.error} == set()
    assert number(report, "fairness.equalized_odds_difference").reason == "no row has a label"
    ran = {outcome.auditor for outcome in report.outcomes if outcome.reason is None}
    assert {"data", "fairness", "proxies"} <= ran


def test_a_model_is_audited_on_rows_without_labels(model_file: Path, data: Data) -> None:
    frame = data.frame
    whole = auditkit.audit(model_file, frame, only=["fairness", "data"], device="cpu")
    bare = auditkit.audit(
        model_file, frame.drop(columns="income"), only=["fairness", "data", "robustness"], device="cpu"
    )
    for id in ("fairness.selection_rate", "fairness.impact_ratio"):
        one, other = number(whole, id, ("sex",)), number(bare, id, ("sex",))
        assert [part.value for part in one.slices] == [part.value for part in other.slices]
    flips = [one for outcome in bare.outcomes for one in outcome.measurements if one.id.endswith("flip_rate")]
    assert flips
    assert not any("accuracy_loss" in one.id for outcome in bare.outcomes for one in outcome.measurements)


def test_missing_labels_by_chance_are_called_selective_in_at_most_one_run_of_twenty() -> None:
    from auditkit.stats.drift import holm
    from auditkit.stats.missing_labels import dependence

    draws = np.random.default_rng(5)
    alarms = 0
    for _ in range(400):
        sizes = [draws.multinomial(300, share) for share in ([0.5, 0.5], [0.25] * 4, [0.7, 0.2, 0.05, 0.05])]
        found = [dependence(draws.binomial(rows, 0.8), rows) for rows in sizes]
        alarms += bool((holm(np.array(found)) < 0.05).any())
    assert alarms <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)


def policy_of(limits: list[tuple[str, str, float]], path: Path) -> str:
    """Write a policy of limits by sex, each a measurement, a bound and its number."""
    lines = [
        f'[[limit]]\nmeasurement = "{name}"\nby = ["sex"]\n{bound} = {at}\nrationale = "A test."'
        for name, bound, at in limits
    ]
    path.write_text("\n".join(['name = "gaps"', *lines]) + "\n")
    return str(path)


LABEL_GAPS = ("equalized_odds", "equal_opportunity", "predictive_parity", "accuracy")


@pytest.mark.parametrize("known", ["the approved", "the refused", "women"])
def test_a_gap_that_needs_labels_never_passes_on_a_selection_of_them(known: str, tmp_path: Path) -> None:
    """Where labels are known for the approved alone, everyone with a label is approved, and equalized odds read 0.0."""
    limits = [(f"fairness.{gap}_difference", "at_most", 0.1) for gap in LABEL_GAPS]
    limits += [(f"fairness.{gap}_ratio", "at_least", 0.8) for gap in LABEL_GAPS]
    report = auditkit.audit(
        None,
        lending(known),
        target="repaid",
        only=["fairness"],
        policy=policy_of(limits, tmp_path / "policy.toml"),
        **OPTIONS,
    )
    verdicts = {one.measurement: one.verdict for one in report.findings}
    assert len(verdicts) == 2 * len(LABEL_GAPS)
    assert "pass" not in verdicts.values()
    for gap in LABEL_GAPS:
        found = number(report, f"fairness.{gap}_difference", ("sex",))
        if found.interval is not None:
            assert found.interval.method.startswith("bounds that hold whatever the missing labels are")
            assert found.interval.low <= (found.value or 0) <= found.interval.high


def test_the_bounds_hold_the_gap_of_all_labels() -> None:
    whole, part = lending("all"), lending("the approved")
    whole["repaid"] = (np.arange(len(whole)) % 5 < np.where(whole["sex"] == "F", 4, 3)).astype(int)
    part["repaid"] = whole["repaid"].astype(object).where(part["repaid"].notna(), None)
    reports = [auditkit.audit(None, frame, target="repaid", only=["fairness"], **OPTIONS) for frame in (whole, part)]
    for gap in LABEL_GAPS:
        for kind in ("difference", "ratio"):
            true, bounded = (number(report, f"fairness.{gap}_{kind}", ("sex",)) for report in reports)
            if bounded.interval is not None:
                assert bounded.interval.low <= (true.value or 0) <= bounded.interval.high


def test_labels_missing_by_chance_leave_the_interval_of_those_known() -> None:
    report = auditkit.audit(None, lending("by chance"), target="repaid", only=["fairness"], **OPTIONS)
    found = number(report, "fairness.accuracy_difference", ("sex",))
    assert found.interval is not None
    assert not found.interval.method.startswith("bounds")


def single(measurement: Measurement) -> list[tuple[float, str]]:
    """Return the lower limit, and the method, of every interval of a measurement."""
    parts = [measurement] if measurement.value is not None else [*measurement.slices]
    return [(part.interval.low, str(part.interval.method)) for part in parts if part.interval is not None]


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("known", ["the approved", "women"])
def test_single_rates_reach_what_the_missing_labels_allow(known: str, weight: str | None) -> None:
    frame = lending(known).assign(w=np.random.default_rng(0).uniform(0.5, 2, 1000))
    report = auditkit.audit(
        None, frame, target="repaid", only=["fairness", "performance"], weight=weight, min_group=1, **OPTIONS
    )
    whole = lending("all").assign(w=frame["w"])
    truth = np.average(whole["approved"] == whole["repaid"], weights=frame["w"] if weight else None)
    for id, by in (
        ("performance.accuracy", ()),
        ("performance.accuracy", ("sex",)),
        ("fairness.accuracy", ("sex",)),
        ("fairness.positive_predictive_value", ()),
    ):
        ends = single(number(report, id, by))
        assert ends
        assert {method for _, method in ends} == {"bounds that hold whatever the missing labels are (Manski 2003)"}, (
            "also of a group whose labels are all known"
        )
    found = number(report, "performance.accuracy").interval
    assert found is not None
    assert found.low <= truth <= found.high
    assert found.high - found.low > 0.3
    chance = auditkit.audit(None, lending("by chance"), target="repaid", only=["performance"], **OPTIONS)
    assert not single(number(chance, "performance.accuracy"))[0][1].startswith("bounds")


@pytest.mark.parametrize("weight", [None, "w"])
def test_classes_against_the_rest_are_bounded_too(weight: str | None, tmp_path: Path) -> None:
    """Labels are known only where class c was decided: then every decision that can be checked is one for c."""
    draws = np.random.default_rng(3)
    labels, sex = draws.choice(list("abc"), 900), np.where(np.arange(900) % 2, "M", "F")
    decided = np.where(draws.random(900) < 0.7, labels, draws.choice(list("abc"), 900))
    frame = pd.DataFrame({"y": labels, "p": decided, "sex": sex, "w": draws.uniform(0.5, 2, 900)})
    part = frame.assign(y=frame["y"].astype(object).where(frame["p"] == "c", None))
    given: dict[str, Any] = {
        "prediction": "p", "target": "y", "sensitive": ["sex"], "classes": ["a", "b", "c"], "only": ["fairness"],
        "weight": weight,
    }  # fmt: skip
    policy = policy_of([(f"fairness.{gap}_difference", "at_most", 0.1) for gap in LABEL_GAPS], tmp_path / "p.toml")
    whole, some = auditkit.audit(None, frame, **given), auditkit.audit(None, part, policy=policy, **given)
    assert "pass" not in {one.verdict for one in some.findings}
    for id, by in (("fairness.accuracy", ("sex",)), ("fairness.true_positive_rate", ("sex", "class"))):
        true, bounded = (number(report, id, by) for report in (whole, some))
        values = {part.group: part.value for part in true.slices}
        for part_of in bounded.slices:
            if part_of.interval is not None:
                assert part_of.interval.low <= (values[part_of.group] or 0) <= part_of.interval.high
    gap = number(some, "fairness.accuracy_difference", ("sex",))
    assert gap.interval is not None
    assert gap.interval.low <= (number(whole, gap.id, ("sex",)).value or 0) <= gap.interval.high


def test_the_table_of_known_labels_stands_beside_what_needs_labels() -> None:
    report = auditkit.audit(
        None, lending("the approved"), target="repaid", only=["fairness", "performance", "weak_spots"], **OPTIONS
    )
    for outcome in report.outcomes:
        titles = [str(getattr(exhibit, "title", "")) for exhibit in outcome.exhibits]
        assert ("Rows with a known label, by group and decision" in titles) == (outcome.reason is None), outcome.auditor
    complete = auditkit.audit(None, lending("all"), target="repaid", only=["performance"], **OPTIONS)
    assert not any("known label" in str(getattr(one, "title", "")) for one in complete.outcomes[0].exhibits)


BOUNDED = ("balanced_accuracy", "f1_score", "matthews_correlation", "roc_auc", "log_loss", "brier_score")


def scored(known: np.ndarray, rows: int = 800) -> pd.DataFrame:
    draws = np.random.default_rng(4)
    score = draws.random(rows).round(3)
    frame = pd.DataFrame({"sex": np.where(draws.random(rows) < 0.5, "F", "M"), "score": score})
    frame["approved"] = (score >= 0.5).astype(int)
    frame["repaid"] = pd.Series((draws.random(rows) < score).astype(int)).astype(object).where(pd.Series(known), None)
    return frame


@pytest.mark.parametrize("by", [(), ("sex",)])
def test_metrics_have_intervals_that_hold_whatever_the_missing_labels_are(by: tuple[str, ...]) -> None:
    whole = scored(np.ones(800, dtype=bool))
    selected = scored((whole["approved"] == 1).to_numpy() | (np.arange(800) % 4 == 0))
    reports = [
        auditkit.audit(None, frame, target="repaid", score="score", only=["performance"], **OPTIONS)
        for frame in (whole, selected)
    ]
    for name in (*BOUNDED, "calibration_error"):
        truth, found = (number(report, f"performance.{name}", by) for report in reports)
        pairs = [(truth.value, found.interval)] if not by else []
        pairs += [(one.value, other.interval) for one, other in zip(truth.slices, found.slices, strict=True)]
        assert len(pairs) == (2 if by else 1)
        for true, bound in pairs:
            assert true is not None
            assert bound is not None
            assert bound.method == "bounds that hold whatever the missing labels are (Manski 2003)"
            assert bound.low < true < bound.high, name
        for part in found.slices:
            own, together = part.interval, part.simultaneous_interval
            assert own is not None
            assert together is not None
            assert together.low <= own.low < own.high <= together.high
    unbounded = number(reports[1], "performance.average_precision").interval
    assert unbounded is not None
    assert "missing labels" not in unbounded.method


def test_labels_that_are_missing_by_chance_widen_nothing() -> None:
    frame = scored(np.random.default_rng(5).random(800) < 0.5)
    report = auditkit.audit(None, frame, target="repaid", score="score", only=["performance"], **OPTIONS)
    interval = number(report, "performance.roc_auc").interval
    assert interval is not None
    assert "missing labels" not in interval.method


def test_the_table_of_known_labels_stands_beside_robustness(model_file: Path, data: Data) -> None:
    frame = data.frame.copy()
    frame.loc[frame.index % 3 == 0, "income"] = None
    title = "Rows with a known label, by group and decision"
    for given, expected in ((frame, True), (data.frame, False)):
        settings = {"robustness": {"rows": 50}}
        report = auditkit.audit(model_file, given, only=["robustness"], settings=settings, device="cpu")
        (outcome,) = (one for one in report.outcomes if one.auditor == "robustness")
        assert outcome.error is None
        assert any(one.title == title for one in outcome.exhibits) == expected
