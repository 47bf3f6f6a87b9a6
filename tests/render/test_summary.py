from __future__ import annotations

from collections.abc import Callable

import pytest

from auditkit.evidence.judging import held_back, judge, unmeasured
from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.policy import Limit, Policy
from auditkit.evidence.report import Outcome, Report
from auditkit.render.first_page import held_limits
from auditkit.render.html.report import render_html
from auditkit.render.next_steps import next_steps
from auditkit.render.summary import (
    attention,
    headline,
    judged_limits,
    not_examined,
    not_examined_by_reason,
    tally,
)

Build = Callable[..., Report]


def limit(**more: object) -> Limit:
    return Limit(**{"measurement": "a.gap", "at_most": 0.1, "rationale": "r", **more})


def measured(value: float, half: float = 0.01) -> Measurement:
    interval = Interval(low=value - half, high=value + half, level=0.95, method="m")
    return Measurement(
        id="a.gap", value=value, unit="rate", better="lower", count=100, interval=interval, definition="s"
    )


def with_limits(build: Build, judgements: list[tuple[Limit, Measurement | None]]) -> Report:
    findings = [f for one, m in judgements for f in (judge(one, [m]) if m else [unmeasured(one, "why not")])]
    policy = Policy(name="p", source="p.toml", sha256="0" * 64, limits=tuple(one for one, _ in judgements))
    return build(policy=policy, outcomes=(Outcome(auditor="a", version="1", findings=tuple(findings)),))


BROKEN, HELD, OPEN = measured(0.3), measured(0.02), measured(0.1, 0.05)


@pytest.mark.parametrize(
    ("judgements", "word", "explanation"),
    [
        ([(limit(), HELD)], "Pass", "The one measured limit was met."),
        (
            [(limit(), HELD), (limit(clause="x", optional=True), None)],
            "Pass",
            "The one measured limit was met. 1 more limit does not apply: nothing measured it.",
        ),
        ([(limit(), BROKEN)], "Fail", "1 of 1 measured limits was exceeded."),
        (
            [(limit(), BROKEN), (limit(clause="x"), OPEN)],
            "Fail",
            "1 of 2 measured limits was exceeded. For 1 more there is not enough data.",
        ),
        (
            [(limit(), BROKEN), (limit(clause="x", severity="warn"), BROKEN), (limit(clause="y"), OPEN)],
            "Fail",
            "1 of 3 measured limits was exceeded. 1 more gave a warning. For 1 more there is not enough data.",
        ),
        (
            [(limit(clause="x", severity="warn"), BROKEN), (limit(), None)],
            "Incomplete",
            "The audit is incomplete: 1 required limit could not be measured. 1 more gave a warning.",
        ),
        (
            [(limit(), HELD), (limit(clause="x"), OPEN)],
            "Inconclusive",
            "No limit was exceeded. For 1 more there is not enough data.",
        ),
        (
            [(limit(severity="warn"), BROKEN)],
            "Pass, with warnings",
            "No limit that fails an audit was exceeded; 1 of 1 measured limits gave a warning.",
        ),
        (
            [(limit(), HELD), (limit(clause="x"), None)],
            "Incomplete",
            "The audit is incomplete: 1 required limit could not be measured.",
        ),
        (
            [(limit(optional=True), None)],
            "Nothing was judged",
            "No limit of the policy could be applied to a measurement",
        ),
    ],
)
def test_the_headline_says_what_the_findings_say(
    build_report: Build, judgements: list[tuple[Limit, Measurement | None]], word: str, explanation: str
) -> None:
    said = headline(with_limits(build_report, judgements))
    assert said[0] == word
    assert said[1].startswith(explanation)


def test_a_limit_that_waits_for_another_is_neither_exceeded_nor_short_of_data(build_report: Build) -> None:
    copies, quality = limit(), limit(measurement="a.recall", only_with=("a.gap",))
    within = HELD.model_copy(update={"id": "a.recall"})
    findings = held_back([*judge(copies, [BROKEN]), *judge(quality, [within])])
    policy = Policy(name="p", source="p.toml", sha256="0" * 64, limits=(copies, quality))
    report = build_report(policy=policy, outcomes=(Outcome(auditor="a", version="1", findings=tuple(findings)),))
    assert headline(report) == ("Fail", "1 of 2 measured limits was exceeded. 1 more does not count without: Gap.")
    assert [tuple(part) for part in tally(report)] == [
        ("fail", 1, "exceeded"),
        ("inconclusive", 1, "not counted"),
        ("pass", 0, "met"),
    ]
    assert [finding.measurement for finding in attention(report)] == ["a.gap"]
    (held,) = held_limits(report).items()
    assert held[0] == ("a.gap",)
    assert [one.finding.measurement for one in held[1]] == ["a.recall"]
    assert not any("Recall" in step.task for step in next_steps(report))
    page = render_html(report)
    assert "1 limit does not count without: Gap" in page
    assert "1 more does not count without: Gap." in page


def test_the_tally_counts_each_limit_of_the_policy_once(report: Report) -> None:
    counts = {verdict: count for verdict, count, _ in tally(report)}
    assert sum(counts.values()) == len(report.policy.limits) == len(judged_limits(report))
    assert counts == {"fail": 1, "inconclusive": 2, "warn": 2, "not_run": 2, "pass": 3}


def test_a_limit_with_one_open_group_is_not_passed(report: Report) -> None:
    by_group = next(judged for judged in judged_limits(report) if judged.limit.by == "*")
    assert {"pass", "inconclusive", "not_run"} == {finding.verdict for finding in by_group.findings}
    assert by_group.verdict == "inconclusive"


def test_attention_is_worst_first_and_leaves_out_what_passed(report: Report) -> None:
    verdicts = [finding.verdict for finding in attention(report)]
    assert verdicts[:2] == ["error", "fail"]
    assert verdicts == sorted(verdicts, key=["error", "fail", "warn", "inconclusive", "waived"].index)


def test_a_required_limit_that_nothing_measured_is_an_error_and_an_optional_one_is_not(build_report: Build) -> None:
    required = with_limits(build_report, [(limit(), None)])
    assert [finding.verdict for finding in attention(required)] == ["error"]
    assert not_examined(required)[0].verdict == "error"
    optional = with_limits(build_report, [(limit(optional=True), None)])
    assert attention(optional) == []
    assert not_examined(optional)[0].verdict == "not_run"


def test_everything_that_was_not_done_is_listed(report: Report) -> None:
    listed = "\n".join(f"{item.what}: {item.why}" for item in not_examined(report))
    for expected in (
        "Robustness: the model file holds no gradients",
        "Toxicity: crashed",
        "Samoan & Male",
    ):
        assert expected in listed
    # The optional limit of an auditor that did not run is not told a second time.
    assert "Flip rate" not in listed


def test_what_was_not_examined_for_one_reason_is_one_entry(build_report: Build) -> None:
    report = with_limits(build_report, [(limit(optional=True), None), (limit(optional=True, clause="x"), None)])
    assert [(item.names, item.why) for item in not_examined_by_reason(report)] == [(("Gap", "Gap"), "why not")]


def test_a_limit_without_any_finding_is_listed_as_not_examined(build_report: Build) -> None:
    policy = Policy(name="p", source="p.toml", sha256="0" * 64, limits=(limit(),))
    report = build_report(policy=policy, outcomes=())
    assert [item.why for item in not_examined(report)] == ["none of the auditors that ran makes this measurement"]
