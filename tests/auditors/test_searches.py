"""Weak spots, proxies and the trade-off, audited end to end on data with a planted gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loans import Loans, write_loans

import auditkit
from auditkit.auditors.fairness.proxies import ProxyColumns
from auditkit.auditors.fairness.tradeoff import Tradeoff
from auditkit.auditors.weak_spots.auditor import WeakSpots
from auditkit.data.dataset import data_from_frame, read_data
from auditkit.engine.load import load_subject
from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.models.formats.opening import open_model

AUDITORS: list[Any] = [WeakSpots(), ProxyColumns(), Tradeoff()]


@pytest.fixture(scope="module")
def report(loans: Loans) -> auditkit.Report:
    return auditkit.audit(loans.model, loans.test, auditors=AUDITORS, seed=3)


@pytest.fixture(scope="module")
def frame(loans: Loans) -> pd.DataFrame:
    return read_data(loans.test).frame


def subject(loans: Loans, frame: pd.DataFrame) -> Subject:
    return load_subject(open_model(loans.model), data_from_frame(frame), device="cpu", seed=3)


def test_all_three_audit_and_emit_only_what_they_declare(report: auditkit.Report) -> None:
    for outcome, auditor in zip([o for o in report.outcomes if o.measurements], AUDITORS, strict=True):
        assert outcome.error is None
        assert {measurement.id for measurement in outcome.measurements} == set(auditor.measures)


def test_income_is_the_proxy_of_the_group_and_the_region_has_none(report: auditkit.Report) -> None:
    alone = report.measurement("proxies.column_roc_auc", ("group",))
    assert alone is not None
    assert alone.slices[0].group.text == "income"
    assert (alone.slices[0].value or 0) > 0.7
    assert "group" not in [part.group.text for part in alone.slices]
    region = report.measurement("proxies.roc_auc", ("region",))
    assert region is not None
    assert region.interval is not None
    assert region.interval.low < 0.5 < region.interval.high


def test_thresholds_per_group_close_the_gap_at_the_stated_cost(report: auditkit.Report) -> None:
    gap = report.measurement("tradeoff.demographic_parity_difference_left", ("group",))
    accuracy = report.measurement("tradeoff.accuracy_at_demographic_parity", ("group",))
    cost = report.measurement("tradeoff.accuracy_cost_of_demographic_parity", ("group",))
    assert gap is not None
    assert accuracy is not None
    assert cost is not None
    assert gap.interval is not None
    assert gap.interval.low <= 0.05  # held out, so not exactly zero
    assert (gap.value or 0) < 0.15
    assert cost.interval is not None
    assert cost.interval.low <= (cost.value or 0) <= cost.interval.high
    curves = [x for o in report.outcomes for x in o.exhibits if isinstance(x, auditkit.Curve)]
    by_group = next(x for x in curves if x.title == "Accuracy against the gap in selection rate by group")
    now = next(line for line in by_group.lines if line.name == "the model with its current threshold")
    assert now.x[0] > 0.2
    assert (cost.value or 0) == pytest.approx(now.y[0] - (accuracy.value or 0))


def test_weak_spots_are_where_labels_were_spoilt(loans: Loans, tmp_path: Path) -> None:
    spoilt = read_data(write_loans(tmp_path / "many.csv", row_count=5000, seed=7)).frame
    where = (spoilt["job"] == "nurse") & (spoilt["region"] == "a")
    flip = where & (np.random.default_rng(1).random(len(spoilt)) < 0.9)
    spoilt.loc[flip, "approved"] = np.where(spoilt.loc[flip, "approved"] == "yes", "no", "yes")
    evidence = WeakSpots().audit(subject(loans, spoilt))
    rates = next(m for m in evidence.measurements if m.id == "weak_spots.error_rate")
    assert rates.slices[0].group.text in ("job = nurse & region = a", "region = a & job = nurse")
    words = next(x for x in evidence.exhibits if isinstance(x, auditkit.Table)).rows[0][0]
    assert isinstance(words, str)
    assert words.startswith(f"Where {rates.slices[0].group.text}, the model is wrong on ")
    assert f"of {rates.slices[0].count:,} records" in words


def test_nothing_confirmed_is_said_and_is_no_zero(loans: Loans, frame: pd.DataFrame) -> None:
    case = subject(loans, frame)
    right = frame.assign(approved=np.array(case.schema.classes)[case.predictions.labels])
    evidence = WeakSpots().audit(subject(loans, right))
    by_id = {measurement.id: measurement for measurement in evidence.measurements}
    assert by_id["weak_spots.row_share"].value == 0
    assert by_id["weak_spots.excess_error_rate"].value is None
    assert by_id["weak_spots.error_rate"].reason == "none of 0 proposed slices was confirmed"
    assert list(evidence.exhibits) == []


def test_groups_too_small_are_left_out_with_the_reason(loans: Loans, frame: pd.DataFrame) -> None:
    few = frame.copy()
    few["group"] = ["north"] * (len(few) - 5) + ["south"] * 5
    case = subject(loans, few)
    for auditor in (ProxyColumns(), Tradeoff()):
        evidence = auditor.audit(case)
        for measurement in evidence.measurements:
            if measurement.by == ("group",):
                assert measurement.value is None
                assert "fewer than two groups" in (measurement.reason or "")


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="quantiles must lie between 2 and 100, got 1"):
        WeakSpots(quantiles=1)
    with pytest.raises(InputError, match="points must lie between 2 and 50, got 1"):
        Tradeoff(points=1)
