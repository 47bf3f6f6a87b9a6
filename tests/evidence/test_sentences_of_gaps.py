"""A finding about two groups: their rates with counts, their own interval, and the bound that judged the limit."""

from __future__ import annotations

import re

import numpy as np

from auditkit.evidence.judging import judge
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.policy import Limit
from auditkit.stats.counts import Counts
from auditkit.stats.gaps import gap_measurements
from auditkit.stats.intervals import newcombe
from auditkit.stats.rates import rate_measurement

CELLS = [[5000, 100, 700, 98], [60, 1, 4, 1], [900, 150, 60, 90]]


def counts() -> Counts:
    groups = (("M",), ("X",), ("Y",))
    return Counts(("race",), groups, ("no", "yes"), np.array(CELLS, dtype=np.int64).reshape(-1, 2, 2))


def said(measurement: Measurement, **limit: float) -> str:
    (finding,) = judge(Limit(measurement=measurement.id, by="*", rationale="x", **limit), [measurement])
    return str(finding.message)


def test_the_two_groups_are_stated_with_their_own_interval() -> None:
    difference = gap_measurements(counts())[0]
    low, high = (float(end) * 100 for end in newcombe(240, 1200, 2, 66, 0.95))
    assert difference.interval is not None
    wide = difference.interval
    assert said(difference, at_most=0.1) == (
        "Selected: 3.0 % of X (2 of 66) against 20.0 % of Y (240 of 1,200) (race). "
        f"Gap 17.0 points (95 % CI {low:.1f} to {high:.1f}, n = {difference.count:,}); the limit is at most 10.0 "
        f"points. Largest gap between any two groups: 95 % CI {wide.low * 100:.1f} to {wide.high * 100:.1f}. Fail."
    )


def test_every_digit_is_that_of_the_rates_of_the_groups() -> None:
    rates = {one: rate_measurement(counts(), one, min_group=1) for one in ("selection_rate", "true_positive_rate")}
    for measurement in gap_measurements(counts(), min_group=1):
        limit = {"at_most": 0.1} if measurement.unit == "rate_difference" else {"at_least": 0.8}
        text = said(measurement, **limit)
        assert measurement.pair is not None
        rate = rates.get(measurement.pair.rate)
        if rate is None:
            continue
        values = {part.group.text: part.value for part in rate.slices}
        for share, group, successes, trials in re.findall(r"([\d.]+) % of (\w) \(([\d,]+) of ([\d,]+)\)", text):
            value = values[group]
            assert value is not None
            assert f"{value * 100:.1f}" == share
            assert f"{int(successes.replace(',', '')) / int(trials.replace(',', '')) * 100:.1f}" == share
    two = gap_measurements(Counts(("sex",), (("F",), ("M",)), ("no", "yes"), counts().table[[0, 2]]))[0]
    assert "between any two groups" not in said(two, at_most=0.1), "the interval of the only pair judged it"
