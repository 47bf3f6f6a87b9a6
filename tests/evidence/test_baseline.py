"""How much worse than a baseline: signs, intervals by hand, and what cannot be compared."""

from __future__ import annotations

import math
from typing import Any

import keys
import pytest
from scipy import stats

from auditkit.evidence.baseline import (
    BaselineMeasurements,
    paired_interval,
    regression,
    student_quantile,
    table_of_pairs_interval,
)
from auditkit.evidence.judging import judge, overall
from auditkit.evidence.measurement import Better, Interval, Measurement, Slice
from auditkit.evidence.policy import Limit
from auditkit.stats.intervals import newcombe, wilson


def rate(successes: int, trials: int, *, better: Better = "higher", **more: object) -> Measurement:
    low, high = (float(end) for end in wilson(successes, trials, 0.95))
    fields: dict[str, object] = {
        "id": "performance.accuracy",
        "unit": "rate",
        "better": better,
        "count": trials,
        "definition": "by hand",
        "value": successes / trials,
        "interval": Interval(low=low, high=high, level=0.95, method="Wilson"),
    }
    return Measurement(**{**fields, **more})


def test_more_is_worse_or_better_by_the_direction_of_the_measurement() -> None:
    earlier = BaselineMeasurements((rate(900, 1000),))
    assert regression(rate(850, 1000), earlier).value == pytest.approx(0.05)
    assert regression(rate(950, 1000), earlier).value == pytest.approx(-0.05)
    errors = BaselineMeasurements((rate(100, 1000, better="lower"),))
    assert regression(rate(150, 1000, better="lower"), errors).value == pytest.approx(0.05)


def test_on_other_rows_the_interval_is_newcombes() -> None:
    # MOVER of two Wilson intervals is Newcombe's method 10: his example 56/70 against 48/80 (0.0524, 0.3339).
    change = regression(rate(56, 70, better="lower"), BaselineMeasurements((rate(48, 80, better="lower"),)))
    assert change.interval is not None
    assert (change.interval.low, change.interval.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert change.interval.method.endswith("unpaired")
    mirrored = regression(rate(56, 70), BaselineMeasurements((rate(48, 80),))).interval
    assert mirrored is not None
    assert (mirrored.low, mirrored.high) == pytest.approx((-0.3339, -0.0524), abs=5e-5)
    low, high = newcombe(56, 70, 48, 80, 0.95)  # with mid-P limits: close, not equal
    assert change.interval.low == pytest.approx(float(low), abs=0.01)
    assert change.interval.high == pytest.approx(float(high), abs=0.01)


def test_on_the_same_rows_the_interval_is_the_jackknifes() -> None:
    replicates = (0.90, 0.91, 0.92, 0.89)
    others = (0.88, 0.90, 0.91, 0.86)
    now, then = rate(880, 1000, replicates=others), rate(900, 1000, replicates=replicates)
    differences = [a - b for a, b in zip(replicates, others, strict=True)]
    mean = sum(differences) / 4
    error = math.sqrt(3 / 4 * sum((one - mean) ** 2 for one in differences))
    half = stats.t.ppf(0.975, 3) * error
    change = regression(now, BaselineMeasurements((then,), same_rows=True))
    assert change.interval is not None
    assert change.interval.low == pytest.approx(0.02 - half)
    assert change.interval.high == pytest.approx(0.02 + half)
    assert change.interval.method.endswith("paired")
    for earlier in (
        BaselineMeasurements((then,)),
        BaselineMeasurements((rate(900, 1000, replicates=replicates[:3]),), same_rows=True),
    ):
        unpaired = regression(now, earlier).interval
        assert unpaired is not None
        assert unpaired.method.endswith("unpaired")


def test_the_method_says_over_how_many_groups_it_holds() -> None:
    one, other = (
        rate(90, 100, replicates=tuple(0.1 * (n % 4) for n in range(20))),
        rate(90, 100, replicates=(0.1,) * 20),
    )
    alone, together = (paired_interval(one, other, 0.95, family) for family in (1, 3))
    assert alone is not None
    assert together is not None
    assert alone.method == "jackknife over 20 blocks of rows, paired"
    assert together.method == "jackknife over 20 blocks of rows, Sidak over 3 groups, paired"
    assert (together.level, together.high > alone.high) == (0.95, True)


def test_without_events_no_interval_has_width_zero() -> None:
    """No row differs: rates have the rule of three; what does not know the effect of a record is not paired."""
    same = rate(900, 1000, replicates=(0.9,) * 20)
    change = regression(same, BaselineMeasurements((same,), same_rows=True))
    assert change.interval is not None
    assert change.interval.method.endswith("unpaired")
    same = same.model_copy(update={"one_record": 1 / 1000})
    change = regression(same, BaselineMeasurements((same,), same_rows=True))
    assert change.interval is not None
    assert change.interval.method.endswith(" paired")
    assert change.interval.high == -change.interval.low
    assert 3.0 / 1000 < change.interval.high < 4.5 / 1000


def test_the_interval_of_pairs_is_bonett_and_prices_where_many_differ() -> None:
    # 1,000 pairs, 120 better and 80 worse: (120 - 80) / 1002 +- 1.96 sqrt(202 - 40**2 / 1002) / 1002.
    variance = (200 - 40**2 / 1000) / 1000**2
    low, high = table_of_pairs_interval(0.04, variance, 1 / 1000, stats.norm.ppf(0.975))
    half = stats.norm.ppf(0.975) * math.sqrt(202 - 40 * 40 / 1002) / 1002
    assert (low, high) == pytest.approx((40 / 1002 - half, 40 / 1002 + half), abs=4e-4)
    assert low == pytest.approx(-table_of_pairs_interval(-0.04, variance, 1 / 1000, 1.959964)[1])


def test_the_same_model_on_the_same_rows_is_exactly_as_good() -> None:
    change = regression(rate(900, 1000), BaselineMeasurements((rate(900, 1000),), same_rows=True, same_model=True))
    assert change.interval is not None
    assert (change.value, change.interval.low, change.interval.high) == (0.0, 0.0, 0.0)
    other = regression(rate(900, 1000), BaselineMeasurements((rate(900, 1000),), same_rows=True, same_model=False))
    assert other.interval is not None
    assert other.interval.high > 0, "another model may be worse and not show it"


@pytest.mark.parametrize(
    ("now", "then", "words"),
    [
        (rate(9, 10), None, "the baseline has no such measurement"),
        (rate(9, 10), rate(9, 10, by=("sex",)), "the baseline has no such measurement"),
        (rate(9, 10, better="neither"), rate(9, 10, better="neither"), "there is no worse"),
        (rate(9, 10), rate(9, 10, unit="share"), "another unit"),
        (rate(9, 10), rate(9, 10, value=None, interval=None, reason="no rows"), "in the baseline, no rows"),
        (
            rate(9, 10),
            rate(9, 10, interval=Interval(low=0.1, high=0.95, level=0.9, method="x")),
            "different levels, 95 % and 90 %",
        ),
    ],
)
def test_what_cannot_be_compared_is_not_judged(now: Measurement, then: Measurement | None, words: str) -> None:
    limit = Limit(measurement=now.id, regression_at_most=0.5, rationale="r")
    findings = judge(limit, [now], BaselineMeasurements(() if then is None else (then,)))
    assert findings[0].verdict == "not_run"
    assert words in findings[0].message
    assert overall(findings) == "error"


def test_without_a_baseline_a_regression_is_not_judged() -> None:
    limit = Limit(measurement="performance.accuracy", regression_at_most=0.5, rationale="r")
    findings = judge(limit, [rate(9, 10)])
    assert "there is no baseline; pass --baseline" in findings[0].message
    assert overall(findings) == "error"
    optional = limit.model_copy(update={"optional": True})
    assert overall(judge(optional, [rate(9, 10)])) == "not_run"


def test_the_sentence_of_a_regression() -> None:
    limit = Limit(measurement="performance.accuracy", regression_at_most=0.01, rationale="r")
    (finding,) = judge(limit, [rate(8500, 10_000)], BaselineMeasurements((rate(9000, 10_000),)))
    assert finding.verdict == "fail"
    assert finding.baseline == 0.9
    assert finding.message == (
        "Accuracy: 85.0 %, 5.0 points worse than in the baseline (90.0 %; unpaired 95 % CI of the worsening 4.1 to "
        "5.9, n = 10,000); the limit is worse than the baseline by at most 1.0 points. Fail."
    )


def group(name: str, successes: int, trials: int) -> Slice:
    low, high = (float(end) for end in wilson(successes, trials, 0.99))
    interval = Interval(low=low, high=high, level=0.95, method="Wilson, Sidak")
    return Slice(group=keys.group(name), value=successes / trials, count=trials, simultaneous_interval=interval)


def test_groups_are_compared_with_the_same_group() -> None:
    more: dict[str, Any] = {"value": None, "interval": None, "by": ("sex",)}
    now = rate(1, 2, slices=(group("F", 80, 100), group("M", 90, 100), group("X", 5, 10)), **more)
    then = rate(1, 2, slices=(group("M", 90, 100), group("F", 90, 100)), **more)
    limit = Limit(measurement=now.id, by="*", regression_at_most=0.3, rationale="r")
    findings = judge(limit, [now], BaselineMeasurements((then,)))
    found = {finding.group.text: finding for finding in findings if finding.group is not None}
    assert found["F"].value == pytest.approx(0.1)
    assert found["M"].value == 0
    assert found["X"].verdict == "not_run"
    assert "the baseline has no such group" in found["X"].message


@pytest.mark.parametrize("freedom", range(1, 41))
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_students_quantile_is_scipys(level: float, freedom: int) -> None:
    assert student_quantile(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-9)
