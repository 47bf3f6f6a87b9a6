"""Limits, verdicts and their sentences, by cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from keys import group

from auditkit.errors import PolicyError
from auditkit.evidence.judging import judge, overall, records_to_settle, unmeasured
from auditkit.evidence.measurement import Interval, Measurement, Pair, Slice
from auditkit.evidence.policy import Limit, check_measurements_exist, default_policy, parse_policy
from auditkit.stats.intervals import wilson


def interval(low: float, high: float) -> Interval:
    return Interval(low=low, high=high, level=0.95, method="by hand")


def measured(value: float | None, low: float = 0.0, high: float = 1.0, **more: object) -> Measurement:
    fields: dict[str, object] = {
        "id": "performance.calibration_error",
        "unit": "rate_difference",
        "better": "lower",
        "count": 1000,
        "definition": "by hand",
        "interval": None if value is None else interval(low, high),
        "reason": "no rows" if value is None else None,
    }
    return Measurement(value=value, **{**fields, **more})


def limit(**fields: object) -> Limit:
    return Limit(**{"measurement": "performance.calibration_error", "rationale": "x", **fields})


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.05, 0.09, "pass"),
        (0.05, 0.10, "pass"),  # at most 0.1: the bound itself holds
        (0.05, 0.11, "inconclusive"),
        (0.10, 0.15, "inconclusive"),
        (0.11, 0.15, "fail"),
    ],
)
def test_at_most_is_judged_on_the_whole_interval(low: float, high: float, verdict: str) -> None:
    (finding,) = judge(limit(at_most=0.1), [measured((low + high) / 2, low, high)])
    assert finding.verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.8, 0.9, "pass"), (0.75, 0.85, "inconclusive"), (0.7, 0.79, "fail")]
)
def test_at_least_is_judged_on_the_whole_interval(low: float, high: float, verdict: str) -> None:
    (finding,) = judge(limit(at_least=0.8), [measured((low + high) / 2, low, high)])
    assert finding.verdict == verdict


def test_severity_compare_and_inconclusive_change_the_verdict() -> None:
    straddling = measured(0.12, 0.08, 0.16)
    assert judge(limit(at_most=0.1), [straddling])[0].verdict == "inconclusive"
    assert judge(limit(at_most=0.1, compare="point"), [straddling])[0].verdict == "fail"
    assert judge(limit(at_most=0.1, compare="point", severity="warn"), [straddling])[0].verdict == "warn"
    strict = judge(limit(at_most=0.1, inconclusive="fail"), [straddling])[0]
    assert strict.verdict == "fail"
    assert "this limit fails what is inconclusive" in strict.message


def test_undefined_is_not_a_pass() -> None:
    (finding,) = judge(limit(at_most=0.1), [measured(None)])
    assert finding.verdict == "not_run"
    assert "no rows" in finding.message
    assert overall([finding]) == "error"
    assert overall([finding.model_copy(update={"limit": limit(at_most=0.1, optional=True)})]) == "not_run"


def test_slices_are_judged_on_simultaneous_intervals() -> None:
    part = Slice(
        group=group("a"),
        value=0.08,
        count=50,
        interval=interval(0.07, 0.09),
        simultaneous_interval=interval(0.06, 0.11),
    )
    sliced = measured(None, by=("sex",), slices=(part,), reason=None)
    (finding,) = judge(limit(at_most=0.1, by="*"), [sliced])
    assert finding.group is not None
    assert (finding.group.text, finding.verdict) == ("a", "inconclusive")
    assert judge(limit(at_most=0.1), [sliced]) == [], "a limit without `by` is about the overall value"
    assert judge(limit(at_most=0.1, by=("sex",)), [sliced]) == [
        finding.model_copy(update={"limit": limit(at_most=0.1, by=("sex",))})
    ]


def test_the_sentence_of_a_gap() -> None:
    gap = measured(
        0.1423,
        0.126,
        0.158,
        id="fairness.demographic_parity_difference",
        by=("sex",),
        count=16192,
        compared=(group("Female"), group("Male")),
    )
    (finding,) = judge(limit(measurement=gap.id, by="*", at_most=0.1), [gap])
    assert finding.message == (
        "Selected: Female against Male (sex). Gap 14.2 points (95 % CI 12.6 to 15.8, n = 16,192); the limit is at most "
        "10.0 points. Fail."
    )
    counted = gap.model_copy(update={"compared_counts": (5421, 10860)})
    (finding,) = judge(limit(measurement=gap.id, by="*", at_most=0.1), [counted])
    assert finding.message == (
        "Selected: Female (n = 5,421) against Male (n = 10,860) (sex). Gap 14.2 points (95 % CI 12.6 to 15.8, n = "
        "16,192); the limit is at most 10.0 points. Fail."
    )
    alone = Interval(low=0.13, high=0.154, level=0.95, method="Newcombe")
    rates = counted.model_copy(update={"pair": Pair(rate="selection_rate", successes=(542, 3000), interval=alone)})
    (finding,) = judge(limit(measurement=gap.id, by="*", at_most=0.1), [rates])
    assert finding.message == (
        "Selected: 10.0 % of Female (542 of 5,421) against 27.6 % of Male (3,000 of 10,860) (sex). Gap 14.2 points (95 "
        "% CI 13.0 to 15.4, n = 16,192); the limit is at most 10.0 points. Largest gap between any two groups: 95 % CI "
        "12.6 to 15.8. Fail."
    )


def test_the_precedence_of_verdicts() -> None:
    findings = {
        verdict: judge(limit(at_most=0.1), [measured(0.05, 0.05, 0.05)])[0].model_copy(update={"verdict": verdict})
        for verdict in ("pass", "warn", "inconclusive", "fail", "error", "waived")
    }
    order = ["error", "fail", "warn", "inconclusive", "pass"]
    for index, verdict in enumerate(order):
        assert overall([findings[name] for name in order[index:]]) == verdict
    assert overall([findings["waived"]]) == "pass"
    assert overall([]) == "not_run"


def test_a_limit_that_nothing_measured_is_an_error_unless_optional() -> None:
    assert overall([unmeasured(limit(at_most=1), "no data")]) == "error"
    assert overall([unmeasured(limit(at_most=1, optional=True), "no data")]) == "not_run"


def test_rows_to_settle_settles_it() -> None:
    # With 1,000 rows and a rate of 8 %, a limit of 9 % is inconclusive; with the stated number of rows it is not.
    low, high = (float(end) for end in wilson(80, 1000, 0.95))
    remark = records_to_settle(0.08, low, high, 0.09, (("", 1000),))
    more = int(remark.removeprefix("about ").split()[0].replace(",", ""))
    total = 1000 + int(more * 1.05)  # the remark is rounded to two digits
    _, settled_high = wilson(round(0.08 * total), total, 0.95)
    assert high > 0.09
    assert settled_high <= 0.09
    _, few_high = wilson(round(0.08 * (1000 + more / 3)), 1000 + more / 3, 0.95)
    assert few_high > 0.09


def test_the_default_policy_reads_and_explains_itself() -> None:
    policy = default_policy()
    assert policy.source == "shipped with auditkit"
    assert len(policy.limits) >= 5
    for entry in policy.limits:
        assert entry.rationale
        assert entry.clause
        assert entry.line is not None


BROKEN = {
    "x = ": "not valid TOML",
    "limits = []": "unknown key 'limits' (did you mean 'limit'?)",
    "limit = 3": "array of tables",
    "name = 3": "'name' must be text",
    "public_data = true": "'public_data' must be a list of data sets",
    'public_data = ["sha256:12", "a\\nb"]': "'public_data' must be a list of data sets",
    '[[limit]]\nmeasurement = "a.b"\nrationale = "x"': "line 1: give exactly one of at_most, at_least",
    '[[limit]]\nmeasurement = "a.b"\nrationale = "x"\nat_most = 1\nat_least = 0': "line 1: give exactly one",
    '[[limit]]\nmeasurement = "a.b"\nat_most = 1': "line 1: the limit has no 'rationale'",
    '[[limit]]\nmeasurement = "a.b"\nrationale = ""\nat_most = 1': "line 3: rationale",
    '[[limit]]\nmeasurement = "a.b"\nrationale = "x"\nat_most = nan': "line 4: at_most",
    '\n[[limit]]\nmeasurement = "a.b"\nrationale = "x"\nat_most = 1\nseverity = "high"': "line 6: severity",
    '[[limit]]\nmeasurment = "a.b"': "line 2: unknown key 'measurment' (did you mean 'measurement'?)",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_policy_names_file_and_line(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, source="p.toml")
    message = str(caught.value)
    assert message.startswith("policy p.toml")
    assert BROKEN[text] in message
    assert "\n" not in message


def test_unknown_measurements_are_refused_and_open_auditors_are_not() -> None:
    policy = parse_policy('[[limit]]\nmeasurement = "a.rate"\nat_most = 1\nrationale = "x"', source="p")
    check_measurements_exist(policy, ["a.rate"])
    check_measurements_exist(policy, [], open_auditors=["a"])
    with pytest.raises(PolicyError, match=r"line 1: unknown measurement 'a.rate' \(did you mean 'a.rates'"):
        check_measurements_exist(policy, ["a.rates"])


def test_judging_does_not_depend_on_the_order_of_measurements() -> None:
    rng = np.random.default_rng(0)
    every = [
        measured(0.1, 0.1 - half, 0.1 + half, by=(f"c{index}",)) for index, half in enumerate(rng.uniform(0, 0.2, 8))
    ]
    one, other = judge(limit(at_most=0.12, by="*"), every), judge(limit(at_most=0.12, by="*"), every[::-1])
    assert sorted(one, key=repr) == sorted(other, key=repr)
