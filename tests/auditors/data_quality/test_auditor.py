"""The data auditor on the loans data, with planted faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loans import Loans

from auditkit import audit
from auditkit.auditors.data_quality.auditor import DataChecks
from auditkit.auditors.data_quality.representation import read_population
from auditkit.errors import InputError
from auditkit.evidence.report import Outcome, Report


def checked(
    loans: Loans, frame: pd.DataFrame, checks: DataChecks | None = None, **options: Any
) -> tuple[Report, Outcome]:
    report = audit(loans.model, frame, auditors=[checks or DataChecks()], **options)
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "data")
    assert outcome.error is None
    return report, outcome


def values(report: Report, id: str, by: tuple[str, ...]) -> dict[str, Any]:
    measurement = report.measurement(id, by)
    assert measurement is not None
    return {part.group.text: part.value for part in measurement.slices}


@pytest.fixture(scope="module")
def frames(loans: Loans) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, test = (pd.read_csv(path, dtype=object, keep_default_na=False) for path in (loans.train, loans.test))
    return train, test


def test_every_planted_fault_is_found(loans: Loans, frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    train, test = frames
    test = test.assign(
        leak=np.where(test["approved"] == "yes", "7", "3"), same="x", years=[*["?"] * 100, *test["years"][100:]]
    )
    test = pd.concat([test, test.iloc[200:250]], ignore_index=True)
    shared = test[train.columns].iloc[300:400]
    drifted = train.assign(income=train["income"].astype(float) + 6)
    training = pd.concat([drifted, shared], ignore_index=True)
    report, outcome = checked(loans, test, training_data=training)
    numbers = {m.id: m.value for m in outcome.measurements if not m.by}
    assert numbers["data.row_count"] == 1050
    assert numbers["data.duplicate_rate"] == pytest.approx(50 / 1050)
    assert numbers["data.shared_row_rate"] == pytest.approx(100 / 1050)
    assert numbers["data.constant_column_count"] == 1
    missing = values(report, "data.missing_rate", ("column",))
    assert missing["years"] == pytest.approx(100 / 1050)
    assert missing["income"] == 0
    assert missing["job"] == pytest.approx((test["job"] == "").mean())
    by_group = values(report, "data.missing_rate", ("column", "group"))
    north = test["group"] == "north"
    assert by_group["years & north"] == pytest.approx((test["years"][north] == "?").mean())
    areas = values(report, "data.single_column_roc_auc", ("column",))
    assert areas["leak"] > 0.99
    assert max(area for name, area in areas.items() if name != "leak") < 0.95
    drift = values(report, "data.drift_distance", ("column",))
    assert max(drift, key=lambda name: drift[name]) == "income"
    assert any("columns differ significantly between training and audited data" in note for note in outcome.notes)
    assert values(report, "data.class_share", ("class",))["yes"] == pytest.approx((test["approved"] == "yes").mean())
    assert values(report, "data.base_rate", ("group",))["north"] == pytest.approx(
        (test["approved"][north] == "yes").mean()
    )
    facts = next(exhibit for exhibit in outcome.exhibits if exhibit.kind == "facts")
    assert ("Constant columns", "same") in facts.rows


def test_every_number_has_its_interval_and_its_source(loans: Loans, frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    _, outcome = checked(loans, frames[1], training_data=frames[0])
    assert {m.id for m in outcome.measurements} <= set(DataChecks.measures)
    for measurement in outcome.measurements:
        assert measurement.definition
        for part in measurement.slices or (measurement,):
            if part.value is not None:
                assert part.interval is not None, measurement.id
                assert part.interval.low <= part.value <= part.interval.high, measurement.id


def test_the_training_data_itself_is_recognised_by_its_hash(loans: Loans) -> None:
    report = audit(loans.model, loans.train, auditors=[DataChecks()])
    shared = report.measurement("data.shared_row_rate")
    assert shared is not None
    assert shared.value == 1
    assert "sha256" in shared.definition


def test_without_training_data_the_reason_is_given(loans: Loans, frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    report, _ = checked(loans, frames[1])
    for id, by in (("data.shared_row_rate", ()), ("data.drift_distance", ("column",))):
        measurement = report.measurement(id, by)
        assert measurement is not None
        assert measurement.value is None
        assert "--train-dataset" in (measurement.reason or "")


def test_groups_against_a_population(loans: Loans, frames: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    path = tmp_path / "shares.toml"
    path.write_text("[group]\nnorth = 0.5\nsouth = 0.4\nwest = 0.1\n")
    report, _ = checked(loans, frames[1], DataChecks(population=read_population(path)))
    share = (frames[1]["group"] == "north").mean()
    found = values(report, "data.group_share_difference", ("group",))
    assert found["north"] == pytest.approx(share - 0.5)
    assert found["west"] == pytest.approx(-0.1), "a group that is absent is not left out"
    assert values(report, "data.group_share", ("group",))["north"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[group]\na = 0.5\nb = 0.6\n", "sum to 1, got 1.1"),
        ("[group]\na = 1.0\n", "at least two"),
        ("[group]\na = 'x'\n", "must give each group its share"),
        ("group = 1\n", "must give each group its share"),
        ("[group\n", "not valid TOML"),
    ],
)
def test_populations_that_are_none(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "shares.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=match):
        DataChecks(population=read_population(path))
    with pytest.raises(InputError, match="No such file"):
        read_population(tmp_path / "none.toml")
