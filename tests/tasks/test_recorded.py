"""Recorded outcomes: numbers that happened, compared between groups without a model or a label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import auditkit
from auditkit.cli import call
from auditkit.evidence.report import Report, read_report

RNG = np.random.default_rng(2)


@pytest.fixture(scope="module")
def waits() -> pd.DataFrame:
    """Waiting times of three wards; those of C are 2 days longer, and one is missing."""
    frame = pd.DataFrame({"ward": RNG.choice(["A", "B", "C"], 600), "patient": RNG.integers(0, 200, 600)})
    frame["days"] = RNG.gamma(4, 2, 600) + 2.0 * (frame["ward"] == "C")
    frame["w"] = RNG.uniform(1, 3, 600)
    frame.loc[5, "days"] = np.nan
    return frame


def audited(frame: pd.DataFrame, **options: Any) -> Report:
    return auditkit.audit(None, frame, **{"outcome": "days", "sensitive": ["ward"], **options})


def test_means_and_their_difference(waits: pd.DataFrame) -> None:
    report = audited(waits)
    means = waits.groupby("ward")["days"].mean()
    found = report["fairness.mean_outcome", "ward"]
    assert {part.group.text: part.value for part in found.slices} == pytest.approx(means.to_dict())
    gap = report["fairness.mean_outcome_difference", "ward"]
    assert gap.value == pytest.approx(means.max() - means.min())
    assert gap.interval is not None
    assert 0 < gap.interval.low < 2 < gap.interval.high
    assert gap.compared is not None
    assert gap.compared[1].text == "C"
    first = found.slices[0]
    assert first.interval is not None
    assert first.simultaneous_interval is not None
    assert first.simultaneous_interval.low < first.interval.low
    own = waits.loc[waits["ward"] == "A", "days"].dropna()
    ends = stats.t.interval(0.95, len(own) - 1, own.mean(), own.sem())
    assert (first.interval.low, first.interval.high) == pytest.approx(ends, abs=0.1)
    assert report["fairness.mean_outcome"].value == pytest.approx(waits["days"].mean())


def test_nothing_else_is_claimed(waits: pd.DataFrame) -> None:
    report = audited(waits)
    judged = {finding.measurement.partition(".")[0] for finding in report.findings if finding.verdict != "not_run"}
    assert judged == {"data"}, "no limit was agreed on outcomes"
    assert not [outcome.error for outcome in report.outcomes if outcome.error]
    reasons = {outcome.auditor: outcome.reason for outcome in report.outcomes}
    assert "no predictions" in (reasons["performance"] or "")
    assert reasons["fairness"] is None


def test_outcomes_are_weighted_and_clustered(waits: pd.DataFrame) -> None:
    report = audited(waits, weight="w", cluster="patient", only=["fairness"])
    known = waits.dropna()
    expected = known.groupby("ward").apply(lambda rows: np.average(rows["days"], weights=rows["w"]))
    found = report["fairness.mean_outcome", "ward"]
    assert {part.group.text: part.value for part in found.slices} == pytest.approx(expected.to_dict())
    assert all(part.effective_count for part in found.slices)
    assert report["fairness.mean_outcome_difference", "ward"].effective_count is not None


def test_a_policy_limits_the_difference(waits: pd.DataFrame, tmp_path: Path) -> None:
    data, policy, out = tmp_path / "d.csv", tmp_path / "policy.toml", tmp_path / "out"
    waits.to_csv(data, index=False)
    policy.write_text(
        'name = "waiting"\n[[limit]]\nmeasurement = "fairness.mean_outcome_difference"\nby = "*"\nat_most = 1.0\n'
        'rationale = "A day."\n'
    )
    given = ["--outcome", "days", "--sensitive", "ward", "--policy", str(policy), "--out", str(out), "--to", "html"]
    assert call(["run", "--dataset", str(data), *given]) == 1
    report = read_report(out)
    assert report.config.model.outcome == "days"
    assert report.subject.schema_["task"] == "outcome"
    assert call(["gate", str(out), "--policy", str(policy), "--quiet"]) == 1
    assert call(["replay", str(out), "--dataset", str(data)]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "days"}, "leave out target"),
        ({"outcome": "dys"}, "'dys'"),
        ({"outcome": "ward", "sensitive": ["patient"]}, "numeric"),
    ],
)
def test_what_is_no_outcome_is_refused(waits: pd.DataFrame, options: dict[str, Any], said: str) -> None:
    with pytest.raises(auditkit.InputError, match=said):
        audited(waits, **options)
