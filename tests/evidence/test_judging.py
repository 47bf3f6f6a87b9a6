"""Limits with two bounds, a minimum of rows, the worst group, and how many rows would settle what is open."""

from __future__ import annotations

import re

import numpy as np
import pytest
from keys import group
from pydantic import ValidationError

from auditkit.evidence.baseline import BaselineMeasurements
from auditkit.evidence.judging import held_back, judge, overall, records_to_settle, unmeasured, verdict_of
from auditkit.evidence.measurement import Group, Interval, Measurement, Slice
from auditkit.evidence.policy import Finding, Limit, default_policy
from auditkit.stats.intervals import newcombe, wilson


def interval(low: float, high: float) -> Interval:
    return Interval(low=low, high=high, level=0.95, method="by hand")


def limit(**fields: object) -> Limit:
    return Limit(**{"measurement": "performance.calibration_error", "rationale": "x", **fields})


def measured(low: float, high: float, **more: object) -> Measurement:
    fields: dict[str, object] = {
        "id": "performance.calibration_error",
        "unit": "rate",
        "better": "lower",
        "count": 1000,
        "definition": "by hand",
        "value": (low + high) / 2,
        "interval": interval(low, high),
    }
    return Measurement(**{**fields, **more})


def named(finding: Finding) -> str:
    assert finding.group is not None
    return finding.group.text


def sliced(*slices: Slice) -> Measurement:
    return measured(0, 1, value=None, interval=None, by=("race",), slices=slices)


def part(name: str, low: float, high: float, count: int = 100) -> Slice:
    return Slice(group=group(name), value=(low + high) / 2, count=count, interval=interval(low, high))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.05, "pass"),
        (0.04, 0.06, "inconclusive"),  # whether it warns
        (0.06, 0.10, "warn"),
        (0.06, 0.11, "inconclusive"),  # it warns at least; whether it fails
        (0.11, 0.12, "fail"),
    ],
)
def test_a_limit_warns_before_it_fails(low: float, high: float, verdict: str) -> None:
    (finding,) = judge(limit(at_most=0.1, warn_at=0.05), [measured(low, high)])
    assert finding.verdict == verdict
    assert "the limit is at most 10.0 %, warning beyond 5.0 %" in finding.message
    mirrored = judge(limit(at_least=-0.1, warn_at=-0.05), [measured(-high, -low)])
    assert mirrored[0].verdict == verdict


def test_counting_inconclusive_as_broken_never_makes_a_warning_bound_fail() -> None:
    strict = limit(at_most=0.1, warn_at=0.05, inconclusive="fail")
    assert judge(strict, [measured(0.04, 0.06)])[0].verdict == "warn"
    assert judge(strict, [measured(0.06, 0.11)])[0].verdict == "fail"


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"at_most": 0.1, "warn_at": 0.1}, "warn_at must lie below the bound 0.1"),
        ({"at_least": 0.8, "warn_at": 0.7}, "warn_at must lie above the bound 0.8"),
        ({"at_most": 0.1, "warn_at": 0.05, "severity": "warn"}, "a limit that only warns has one bound"),
        ({"at_most": 0.1, "regression_at_most": 0.1}, "exactly one of"),
        ({"at_most": 0.1, "min_count": 0}, "greater than 0"),
    ],
)
def test_limits_that_contradict_themselves_are_refused(bounds: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        limit(**bounds)


def test_numbers_on_too_few_rows_are_not_judged_and_never_pass() -> None:
    few = judge(limit(at_most=0.1, min_count=1001), [measured(0.01, 0.02)])
    assert few[0].verdict == "not_run"
    assert "it rests on 1,000 rows, and this limit judges from 1,001 on" in few[0].message
    assert overall(few) == "error"
    assert judge(limit(at_most=0.1, min_count=1000), [measured(0.01, 0.02)])[0].verdict == "pass"
    groups = sliced(part("a", 0.01, 0.02), part("b", 0.5, 0.9, count=9))
    findings = judge(limit(at_most=0.1, by="*", min_count=10), [groups])
    assert [(named(finding), finding.verdict) for finding in findings] == [("a", "pass"), ("b", "not_run")]
    assert overall(findings) == "pass"


def test_an_interval_of_another_level_is_not_judged() -> None:
    findings = judge(limit(at_most=0.1, level=0.99), [measured(0.01, 0.02)])
    assert findings[0].verdict == "not_run"
    assert "its interval has 95 % and this limit asks for 99 %" in findings[0].message
    assert "--conf-level 0.99" in findings[0].message
    assert overall(findings) == "error"
    assert judge(limit(at_most=0.1, level=0.95), [measured(0.01, 0.02)])[0].verdict == "pass"


def test_the_worst_group_stands_for_all() -> None:
    groups = sliced(
        part("a", 0.01, 0.02),
        part("b", 0.11, 0.13),
        part("c", 0.12, 0.2),
        part("d", 0.01, 0.9, count=9),
        Slice(group=group("e"), value=None, count=0, reason="no rows"),
    )
    (worst,) = judge(limit(at_most=0.1, by="*", groups="worst", min_count=10), [groups])
    assert (named(worst), worst.verdict) == ("c", "fail")
    assert worst.message.endswith("The worst of 5 groups, 2 not judged.")
    each = judge(limit(at_most=0.1, by="*", min_count=10), [groups])
    assert overall(each) == overall([worst])


def test_the_worst_of_no_judged_group_is_not_judged() -> None:
    (worst,) = judge(
        limit(at_most=0.1, by="*", groups="worst"), [sliced(Slice(group=group("e"), value=None, count=0, reason="x"))]
    )
    assert worst.verdict == "not_run"
    assert overall([worst]) == "error"


def settled_count(remark: str) -> int:
    match = re.search(r"about ([\d,]+) more records", remark)
    assert match, remark
    return int(match[1].replace(",", ""))


@pytest.mark.parametrize(
    ("rate", "rows", "bound"), [(0.08, 1000, 0.09), (0.30, 400, 0.26), (0.5, 200, 0.45), (0.97, 300, 0.95)]
)
def test_with_the_stated_records_four_of_five_samples_settle_a_rate(rate: float, rows: int, bound: float) -> None:
    """Drawn anew from the rate that was seen: few samples settle it now, about four of five with the stated records."""
    seen = round(rate * rows)
    low, high = (float(end) for end in wilson(seen, rows, 0.95))
    total = rows + settled_count(records_to_settle(rate, low, high, bound, (("", rows),)))

    def share(count: int) -> float:
        drawn = np.random.default_rng(0).binomial(count, rate, 20_000)
        lows, highs = wilson(drawn, np.full(20_000, count), 0.95)
        return float(np.mean(highs <= bound if rate < bound else lows > bound))

    assert share(total // 4) < 0.4
    assert 0.7 < share(total) < 0.9
    assert share(4 * total) > 0.99


def test_with_the_stated_records_four_of_five_samples_settle_a_gap() -> None:
    rng, rates, bound = np.random.default_rng(1), (0.30, 0.20), 0.15
    low, high = (float(end) for end in newcombe(150, 500, 100, 500, 0.95))
    remark = records_to_settle(0.10, low, high, bound, (("F", 500), ("M", 500)))
    asked = re.fullmatch(r"about (.*) more records of F and (.*) more records of M would probably be enough", remark)
    assert asked, remark
    totals = [500 + int(more.replace(",", "")) for more in asked.groups()]
    first, second = (rng.binomial(total, rate, 5_000) for total, rate in zip(totals, rates, strict=True))
    _, highs = newcombe(first, np.full(5_000, totals[0]), second, np.full(5_000, totals[1]), 0.95)
    assert 0.7 < float(np.mean(highs <= bound)) < 0.9


def test_more_records_are_asked_of_the_small_group_where_they_suffice() -> None:
    low, high = (float(end) for end in newcombe(30, 100, 2_000, 10_000, 0.95))
    remark = records_to_settle(0.10, low, high, 0.16, (("F", 100), ("M", 10_000)))
    assert re.fullmatch(r"about [\d,]+ more records of F would probably be enough", remark)
    more = settled_count(remark)
    rng = np.random.default_rng(2)
    first, second = rng.binomial(100 + more, 0.3, 5_000), rng.binomial(10_000, 0.2, 5_000)
    _, highs = newcombe(first, np.full(5_000, 100 + more), second, np.full(5_000, 10_000), 0.95)
    assert 0.7 < float(np.mean(highs <= 0.16)) < 0.9


def test_what_ten_times_the_data_would_not_settle_is_not_advised() -> None:
    groups = (("F", 500), ("M", 500))
    assert records_to_settle(0.099, 0.05, 0.15, 0.10, groups) == "this data set cannot settle it"
    assert records_to_settle(0.1, 0.05, 0.15, 0.10, groups) == "this data set cannot settle it"
    assert records_to_settle(0.0, 0.0, 1.0, 0.5, (("F", 0), ("M", 9))) == "this data set cannot settle it"


def test_a_limit_judges_what_it_names_and_nothing_else() -> None:
    others = [measured(0.5, 0.9, id="performance.log_loss"), measured(0.5, 0.9, by=("race",))]
    (finding,) = judge(limit(at_most=0.1), [*others, measured(0.01, 0.02)])
    assert (finding.by, finding.verdict) == ((), "pass")
    both = measured(0.01, 0.02, by=("race",), slices=(part("a", 0.5, 0.9),))
    (whole,) = judge(limit(at_most=0.1, by=("race",)), [both])
    assert (whole.group, whole.verdict) == (None, "pass"), "a value of its own stands before those of the slices"


def test_the_end_of_an_interval_that_touches_the_bound_is_within_it() -> None:
    for low, high, verdict in ((0.0, 0.1, "pass"), (0.1, 0.1, "pass"), (0.1, 0.2, "inconclusive"), (0.11, 0.2, "fail")):
        assert judge(limit(at_most=0.1), [measured(low, high)])[0].verdict == verdict
        assert judge(limit(at_least=-0.1), [measured(-high, -low)])[0].verdict == verdict


def test_the_value_decides_where_there_is_no_interval_or_the_limit_says_so() -> None:
    for settings, number in (({"compare": "point"}, measured(0.0, 0.3)), ({}, measured(0.0, 0.3, interval=None))):
        assert judge(limit(at_most=0.15, **settings), [number])[0].verdict == "pass"
        assert judge(limit(at_most=0.14, **settings), [number])[0].verdict == "fail"
        assert judge(limit(at_least=0.15, **settings), [number])[0].verdict == "pass"
        assert judge(limit(at_least=0.16, **settings), [number])[0].verdict == "fail"


def test_a_finding_says_which_of_two_bounds_it_is_about() -> None:
    two = limit(at_most=0.1, warn_at=0.05)
    ends = {"warns": (0.06, 0.08), "may warn": (0.04, 0.06), "may fail": (0.06, 0.11), "fails": (0.2, 0.3)}
    said = {verdict: judge(two, [measured(*pair)])[0].message for verdict, pair in ends.items()}
    assert [verdict for verdict, text in said.items() if "beyond the limit's warning bound" in text] == ["warns"]
    assert [verdict for verdict, text in said.items() if "whether it warns" in text] == ["may warn"]
    assert said["may fail"].endswith("Inconclusive: about 4,600 more records would probably be enough.")


def test_one_limit_without_a_measurement_is_an_error_whatever_the_others_say() -> None:
    passed = judge(limit(at_most=0.1), [measured(0.01, 0.02)])
    absent = unmeasured(limit(measurement="performance.log_loss", at_most=1), "none")
    optional = unmeasured(limit(measurement="performance.log_loss", at_most=1, optional=True), "none")
    assert overall([*passed, absent]) == "error"
    assert overall([*passed, optional]) == "pass"
    assert overall([optional]) == "not_run"
    assert [unmeasured(limit(at_most=1, by=by), "none").by for by in ("*", ("race",))] == [(), ("race",)]


def test_the_worst_group_is_chosen_by_verdict_before_value() -> None:
    worst = limit(at_most=0.1, warn_at=0.05, by="*", groups="worst")
    failed, open_, warned = part("fails", 0.101, 0.103), part("open", 0.02, 0.5), part("warns", 0.09, 0.099)
    assert named(judge(worst, [sliced(open_, failed, warned)])[0]) == "fails"
    warning, undecided = judge(worst, [sliced(warned, part("open", 0.0, 0.12))])
    assert (named(warning), warning.verdict) == ("warns", "warn")
    assert (named(undecided), undecided.verdict) == ("open", "inconclusive"), "a strict run does not pass over it"
    assert named(judge(worst, [sliced(part("passes", 0.0, 0.01), warned)])[0]) == "warns"


def test_a_limit_does_not_count_for_a_task_that_it_says_nothing_about() -> None:
    parity = {f"fairness.demographic_parity_{kind}" for kind in ("difference", "ratio")}
    assert not parity & {one.measurement for one in default_policy().for_task("multiclass").limits}
    assert parity < {one.measurement for one in default_policy().for_task("binary").limits}
    assert parity < {one.measurement for one in default_policy().for_task("a task to come").limits}


def test_a_regression_without_a_baseline_is_not_judged() -> None:
    now = measured(0.10, 0.12)
    regressed = limit(regression_at_most=0.02)
    (finding,) = judge(regressed, [now])
    assert (finding.verdict, "there is no baseline" in finding.message) == ("not_run", True)
    (held,) = judge(regressed, [now], BaselineMeasurements((now,), same_rows=True, same_model=True))
    assert (held.verdict, held.value) == ("pass", 0)
    assert "Calibration error: 11.0 %, as in the baseline" in held.message


def test_records_to_settle_are_said_in_two_digits() -> None:
    # Twice 1,000 records times (0.0434 / 0.02) squared, less the 1,000 that there are: 8,417.8.
    assert records_to_settle(0.08, 0.04, 0.1234, 0.10, (("", 1000),)).startswith("about 8,400 more records")


def test_a_value_on_too_few_rows_for_an_interval_is_not_judged_as_if_it_were_certain() -> None:
    few = measured(0.0, 0.02, interval=None, reason="fewer than 20 rows are too few for an interval")
    (finding,) = judge(limit(at_most=0.1), [few])
    assert (finding.verdict, finding.value) == ("not_run", None)
    assert finding.message == "Calibration error was not judged: fewer than 20 rows are too few for an interval."
    assert judge(limit(at_most=0.1, compare="point"), [few])[0].verdict == "pass"
    enough = measured(0.0, 0.02)
    for now, then in ((few, enough), (enough, few)):
        baseline = BaselineMeasurements((then,))
        (held,) = judge(limit(regression_at_most=0.1), [now], baseline)
        assert (held.verdict, "too few for an interval" in held.message) == ("not_run", True)
        assert judge(limit(regression_at_most=0.1, compare="point"), [now], baseline)[0].verdict == "pass"


UNKNOWN = Slice(group=group("e"), value=None, count=0, reason="no rows")


def test_a_column_that_the_user_named_and_that_nothing_measured_is_an_error() -> None:
    """`named` are the sensitive columns; whatever makes a limit conditional leaves its numbers not judged."""
    (missed,) = judge(limit(at_most=0.1, by=("race",)), [sliced(UNKNOWN)], named=("race",))
    assert missed.verdict == "error"
    assert missed.message.endswith(
        "audit more rows of its groups, lower --min-group, or leave race out of --sensitive."
    )
    asked = limit(at_most=0.1, by=("race",), level=0.99)
    for measurement in (sliced(part("a", 0.01, 0.02)), measured(0.01, 0.02, by=("race",))):
        known = judge(asked, [measurement], named=("sex", "race"))[0]
        assert (known.verdict, "--min-group" in known.message) == ("error", False), "it has a number"
    first, second = judge(limit(at_most=0.1, by=("race",)), [sliced(UNKNOWN, part("a", 0.01, 0.02))], named=("race",))
    assert (first.verdict, second.verdict) == ("not_run", "pass"), "one group was judged"
    (judged,) = judge(limit(at_most=0.1, by=("race",)), [sliced(part("a", 0.01, 0.02))], named=("race",))
    assert judged.verdict == "pass"
    both = sliced(UNKNOWN).model_copy(update={"by": ("race", "sex")})
    for fields, measurement, named in (
        ({"severity": "warn"}, sliced(UNKNOWN), ("race",)),
        ({"min_count": 5}, sliced(UNKNOWN), ("race",)),
        ({}, both, ("race", "sex")),
        ({}, sliced(UNKNOWN), ("sex",)),
        ({}, sliced(UNKNOWN), ()),
        ({"by": ()}, measured(0, 1, value=None, interval=None, reason="x"), ("race",)),
    ):
        (finding,) = judge(limit(**{"at_most": 0.1, "by": "*", **fields}), [measurement], named=named)
        assert finding.verdict == "not_run", fields
    (regressed,) = judge(limit(regression_at_most=0.1, by=("race",)), [sliced(UNKNOWN)], named=("race",))
    assert regressed.verdict == "not_run"


def test_the_worst_group_says_of_how_many() -> None:
    worst = limit(at_most=0.1, warn_at=0.05, by="*", groups="worst")
    (failed,) = judge(worst, [sliced(part("a", 0.0, 0.01), part("b", 0.2, 0.3))])
    assert failed.message.endswith("The worst of 2 groups.")
    (unknown,) = judge(worst, [sliced(UNKNOWN, UNKNOWN.model_copy(update={"group": group("f")}))])
    assert (unknown.group, unknown.verdict) == (group("e"), "not_run")
    assert "The worst of" not in unknown.message
    undecided = (part("low", 0.0, 0.11), part("high", 0.04, 0.16), part("middle", 0.0, 0.13))
    warning, second = judge(worst, [sliced(part("warns", 0.06, 0.07), *undecided)])
    assert (named(warning), named(second)) == ("warns", "high")
    assert "The worst of" not in second.message
    (alone,) = judge(worst, [sliced(*undecided)])
    assert (named(alone), alone.verdict) == ("high", "inconclusive")


def test_an_undecided_number_says_more_records_of_which_group() -> None:
    (of_slice,) = judge(limit(at_most=0.1, by="*"), [sliced(part("a", 0.05, 0.11, count=1000))])
    columns = sliced(part("a", 0.05, 0.11, count=1000), part("b", 0.01, 0.02, count=1000))
    of_column = judge(limit(at_most=0.1, by="*"), [columns.model_copy(update={"count": 1000})])[0]
    assert "about 3,500 more records would probably be enough" in of_column.message
    # Twice (0.03 / 0.02) squared is 4.5 times the records that there are.
    assert "about 3,500 more records of a would probably be enough" in of_slice.message
    pair = {"by": ("race",), "compared": (group("a"), group("b")), "compared_counts": (400, 600)}
    (of_two,) = judge(limit(at_most=0.1, by="*"), [measured(0.04, 0.12, **pair)])
    assert "about 2,800 more records of a and 4,200 more records of b would probably be enough" in of_two.message
    (of_all,) = judge(limit(at_most=0.1), [measured(0.04, 0.12)])
    assert "about 7,000 more records would probably be enough" in of_all.message


def test_a_part_that_an_auditor_made_is_named_by_its_kind_and_more_is_asked_of_what_it_counts() -> None:
    own = Slice(
        group=Group(by=("test",), key=("age_pleasant",)), value=0.05, count=100,
        interval=Interval(low=-0.01, high=0.11, level=0.95, method="m"),
    )  # fmt: skip
    measurement = Measurement(
        id="bias.weat_effect_size", by=("test",), unit="number", better="neither", count=100, slices=(own,),
        definition="d", counted="words",
    )  # fmt: skip
    (finding,) = judge(Limit(measurement="bias.weat_effect_size", by="*", at_most=0.1, rationale="r"), [measurement])
    assert finding.message.startswith("WEAT effect size (test: age_pleasant): 0.050")
    assert finding.message.endswith("about 190 more words would probably be enough.")  # 2 (0.06 / 0.05)^2 = 2.88 times


def test_more_records_of_the_smaller_group_by_hand() -> None:
    # Twice (0.03 / 0.04) squared: 1/100 + 1/900 must become 1.125 times smaller, 0.009877 = 1/900 + 1/114.
    remark = records_to_settle(0.1, 0.06, 0.13, 0.14, (("F", 100), ("M", 900)))
    assert remark == "about 14 more records of F would probably be enough", remark


def test_a_verdict_is_that_of_the_interval_and_of_the_value_without_one() -> None:
    bound = limit(at_most=0.1)
    assert verdict_of(bound, 0.05, interval(0.0, 0.2), 100) == "inconclusive"
    assert verdict_of(bound, 0.05, None, 100) == "pass"
    assert verdict_of(bound, None, None, 100) == "not_run"
    assert verdict_of(limit(at_most=0.1, compare="point"), 0.05, interval(0.0, 0.2), 100) == "pass"


def test_a_finding_never_passes_without_the_limits_that_it_depends_on() -> None:
    def finding(measurement: str, low: float, high: float, **more: object) -> Finding:
        return judge(limit(measurement=measurement, at_most=0.1, **more), [measured(low, high, id=measurement)])[0]

    dependent = finding("generation.precision", 0.01, 0.02, only_with=("memorisation.rate", "memorisation.auc"))
    assert held_back([dependent])[0].verdict == "inconclusive"
    absent = unmeasured(limit(measurement="memorisation.rate", at_most=0.1), "none")
    waived = finding("memorisation.rate", 0.2, 0.3).model_copy(update={"verdict": "waived"})
    fine, broken = finding("memorisation.rate", 0.01, 0.02), finding("memorisation.auc", 0.2, 0.3)
    error = broken.model_copy(update={"verdict": "error"})
    calm = finding("memorisation.auc", 0.01, 0.02)
    for others, verdict, words in (
        ([fine, calm], "pass", ""),
        ([fine, broken], "inconclusive", "It does not count: AUC exceeds its limit."),
        ([fine, error], "inconclusive", "exceeds its limit."),
        ([fine], "inconclusive", "It does not count: AUC was not judged."),
        ([absent, calm], "inconclusive", "It does not count: Rate was not judged."),
        ([waived, calm], "inconclusive", "was not judged."),
        ([broken], "inconclusive", "Rate was not judged."),
    ):
        held = held_back([dependent, *others])
        assert (held[0].verdict, held[1:]) == (verdict, others)
        assert held[0].message.endswith(words)
    failed = dependent.model_copy(update={"verdict": "fail"})
    assert held_back([failed]) == [failed]
    warned = dependent.model_copy(update={"verdict": "warn"})
    assert held_back([warned])[0].verdict == "inconclusive"
