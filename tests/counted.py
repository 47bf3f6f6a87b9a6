"""A report whose rates and gaps are those of counted rows, by auditkit's own functions: it can be derived again."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from sample import LIMITS, build_report

from auditkit.auditors.fairness.impact_ratio import fisher_measurement, impact_ratio_measurement
from auditkit.evidence.judging import judge, unmeasured
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.report import Outcome, Report
from auditkit.stats.counts import Counts, tally
from auditkit.stats.estimates import Breakdown, Quantity, measure
from auditkit.stats.gaps import GAPS, gap_measurements
from auditkit.stats.quality import metric_statistic
from auditkit.stats.rates import RATES, overall_rate, rate_measurement

SHARES = {"F": (0.25, 0.30), "M": (0.45, 0.62)}
"""Of each group the share with a positive label, and with a positive decision."""
EACH = 200


def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the group, the label and the decision of 400 rows: int64."""
    groups, labels, decisions = [], [], []
    for code, (base, selected) in enumerate(SHARES.values()):
        for place in range(EACH):
            groups.append(code)
            labels.append(int(place < base * EACH))
            decisions.append(int(0.05 * EACH <= place < (0.05 + selected) * EACH))
    return np.array(groups), np.array(labels), np.array(decisions)


def counted_report() -> Report:
    """Return the sample report with performance and fairness of these rows, as written by the installed auditkit."""
    groups, labels, decisions = rows()
    names = tuple((name,) for name in SHARES)
    table: Counts = tally(("sex",), names, groups, labels, decisions, ("no", "yes"))
    fairness = [overall_rate(table, name, "fairness") for name in RATES if name != "accuracy"]
    fairness += [rate_measurement(table, name) for name in RATES]
    fairness += [impact_ratio_measurement(table), fisher_measurement(table), *gap_measurements(table, gaps=GAPS)]
    quantity = Quantity("performance.accuracy", "rate", "higher", "scikit-learn accuracy_score")
    statistic = metric_statistic("accuracy", 2)
    performance = [
        measure(quantity, statistic, labels, decisions, breakdown, 0.95)
        for breakdown in (Breakdown(), Breakdown(("sex",), names, groups))
    ]
    report = build_report()
    counted = {"performance": performance, "fairness": fairness}
    outcomes = [
        _outcome(outcome, counted[outcome.auditor]) if outcome.auditor in counted else outcome
        for outcome in report.outcomes
    ]
    dataset = report.subject.dataset.model_copy(update={"row_count": 2 * EACH, "audited_row_count": 2 * EACH})
    return report.model_copy(
        update={
            "outcomes": tuple(outcomes),
            "environment": report.environment.model_copy(update={"auditkit": version("auditkit")}),
            "subject": report.subject.model_copy(update={"dataset": dataset, "sensitive": ("sex",)}),
        }
    )


def _outcome(outcome: Outcome, measurements: list[Measurement]) -> Outcome:
    findings = []
    for limit in LIMITS:
        if limit.measurement.startswith(f"{outcome.auditor}."):
            findings += judge(limit, measurements, named=("sex",)) or [
                unmeasured(limit, "the audit made no such measurement")
            ]
    return outcome.model_copy(
        update={"measurements": tuple(measurements), "findings": tuple(findings), "exhibits": (), "notes": ()}
    )
