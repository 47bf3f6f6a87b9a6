"""Two reports compared: differences against a naive computation, and what each change reads as."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from keys import group
from sample import build_report
from statsmodels.stats.proportion import confint_proportions_2indep

from auditkit.evidence.comparison import Change, compare, replay_differences
from auditkit.evidence.measurement import Interval, Measurement, Slice
from auditkit.evidence.report import Outcome, Report
from auditkit.stats.intervals import wilson

Build = Callable[..., Report]


def rate(successes: int, count: int, level: float = 0.95, **changes: Any) -> Measurement:
    low, high = (float(end) for end in wilson(successes, count, level))
    fields: dict[str, Any] = {
        "id": "performance.accuracy",
        "value": successes / count,
        "unit": "rate",
        "better": "higher",
        "count": count,
        "interval": Interval(low=low, high=high, level=level, method="Wilson"),
        "definition": "a test",
    }
    return Measurement(**{**fields, **changes})


def report(*measurements: Measurement) -> Report:
    return build_report(outcomes=(Outcome(auditor="performance", version="1", measurements=measurements),))


def only(before: Measurement, after: Measurement) -> Change:
    (change,) = compare(report(before), report(after)).changes
    return change


def test_for_two_rates_the_interval_is_newcombes() -> None:
    change = only(rate(700, 1000), rate(780, 1000))
    low, high = confint_proportions_2indep(780, 1000, 700, 1000, method="newcomb", compare="diff")
    assert change.difference == pytest.approx(0.08)
    assert change.interval is not None
    assert (change.interval.low, change.interval.high) == pytest.approx((float(low), float(high)))
    assert change.reading == "better"


@pytest.mark.parametrize(
    ("before", "after", "reading"),
    [
        (rate(700, 1000), rate(700, 1000), "same"),
        (rate(700, 1000), rate(710, 1000), "not settled"),
        (rate(700, 1000), rate(600, 1000), "worse"),
        (rate(700, 1000, better="lower"), rate(600, 1000, better="lower"), "better"),
        (rate(700, 1000, better="neither"), rate(600, 1000, better="neither"), "changed"),
        (rate(700, 1000), rate(600, 1000, level=0.9), "not settled"),
        (rate(700, 1000), rate(600, 1000, interval=None), "not settled"),
        (rate(700, 1000), rate(600, 1000, value=None, interval=None, reason="nobody"), "undefined"),
        (rate(700, 1000), rate(600, 1000, unit="ratio"), "undefined"),
    ],
)
def test_what_a_change_reads_as(before: Measurement, after: Measurement, reading: str) -> None:
    assert only(before, after).reading == reading


def test_groups_that_come_and_go_are_listed() -> None:
    def by_sex(*names: str) -> Measurement:
        slices = tuple(Slice(group=group(name), value=0.5, count=10) for name in names)
        return rate(1, 2, value=None, interval=None, by=("sex",), slices=slices)

    changes = compare(report(by_sex("F", "M")), report(by_sex("M", "X"))).changes
    assert {change.group.text if change.group else None: change.reading for change in changes} == {
        "F": "disappeared",
        "M": "same",
        "X": "appeared",
    }


def test_a_report_compared_with_itself_has_not_changed() -> None:
    same = compare(build_report(), build_report())
    assert {change.reading for change in same.changes} <= {"same", "undefined"}
    assert all(one.before == one.after for one in same.verdicts)
    assert (same.same_model, same.same_data, same.same_policy) == (True, True, True)
    assert json.loads(same.to_json())["comparison_version"] == 2
    assert replay_differences(build_report(), build_report(), 0.0) == []


def test_replay_differences_name_the_number_and_keep_to_the_tolerance() -> None:
    one = rate(700, 1000)
    assert one.value is not None
    near = one.model_copy(update={"value": one.value + 1e-7})
    assert replay_differences(report(one), report(near), 1e-6) == []
    (found,) = replay_differences(report(one), report(near), 1e-8)
    assert (found.where, found.recorded) == ("performance.accuracy", "0.7")
    large = one.model_copy(update={"value": 1e9, "interval": None})
    assert replay_differences(report(large), report(large.model_copy(update={"value": 1e9 + 1})), 1e-6) == []
    assert [d.recomputed for d in replay_differences(report(one), report(), 1e-6)] == ["not measured"]
    assert any("low end" in d.where for d in replay_differences(report(one), report(rate(700, 1000, level=0.9)), 1e-6))


def test_on_the_same_rows_the_interval_is_that_of_pairs() -> None:
    before = rate(700, 1000, replicates=tuple(0.70 + 0.002 * (n % 5) for n in range(20)))
    after = rate(715, 1000, replicates=tuple(0.7155 + 0.002 * (n % 5) + 0.0001 * (n % 4) for n in range(20)))

    def on(rows: str, measurement: Measurement, file: str | None = "f" * 64) -> Report:
        one = report(measurement)
        data = one.subject.dataset.model_copy(update={"sha256": file, "rows_sha256": rows})
        return one.model_copy(update={"subject": one.subject.model_copy(update={"dataset": data})})

    paired = compare(on("a" * 64, before), on("a" * 64, after))
    apart = compare(on("a" * 64, before), on("b" * 64, after))
    assert [one.changes[0].reading for one in (paired, apart)] == ["better", "not settled"]
    interval = paired.changes[0].interval
    assert interval is not None
    assert interval.method.endswith("paired")
    assert any("the same rows" in note for note in paired.notes)
    assert any("not certainly the same rows" in note for note in apart.notes)
    # Two files of as many rows, sorted by their labels, agree in places and labels, and in nothing else.
    for file in ("e" * 64, None):
        other = compare(on("a" * 64, before), on("a" * 64, after, file))
        assert other.changes[0].reading == "not settled"
        assert not any("the same rows" in note for note in other.notes)
