"""GitHub annotations: levels, places, the cap of ten a step, and names that try to be commands."""

from __future__ import annotations

from datetime import date

from keys import group

from auditkit.evidence.gate import judge_report
from auditkit.evidence.policy import parse_policy
from auditkit.evidence.report import Report
from auditkit.evidence.waivers import parse_waivers
from auditkit.render.exports.github import render_annotations

POLICY = """
[[limit]]
measurement = "fairness.demographic_parity_difference"
by = "*"
at_most = 0.1
rationale = "r"
"""


def test_annotations_stand_on_the_limits_line(report: Report) -> None:
    text = render_annotations(judge_report(report, parse_policy(POLICY, source="ci/p,1:2.toml")))
    lines = text.splitlines()
    assert "::error file=ci/p%2C1%3A2.toml,line=2,title=Fail%3A Demographic parity difference::" in text
    assert "(95 %25 CI" in text
    assert lines[-1].startswith("auditkit: "), "the last line is for people"
    shipped = judge_report(report, parse_policy(POLICY, source="shipped with auditkit"))
    assert "file=" not in render_annotations(shipped)


def test_a_crash_is_an_error(report: Report) -> None:
    assert "::error title=The toxicity auditor crashed::" in render_annotations(report)


def test_inconclusive_warns_and_fails_under_strict(report: Report) -> None:
    policy = parse_policy(POLICY, source="p.toml")
    title = "title=Inconclusive%3A Demographic parity difference::"
    assert f"::warning file=p.toml,line=2,{title}" in render_annotations(judge_report(report, policy))
    assert f"::error file=p.toml,line=2,{title}" in render_annotations(judge_report(report, policy, strict=True))


def test_no_more_than_ten_of_a_level_and_the_last_says_so(report: Report) -> None:
    limit = 'measurement = "performance.accuracy"\nby = "*"\nat_least = 0.99\nrationale = "r"\n'
    text = "".join(f"[[limit]]\n{limit.replace('0.99', str(0.95 + step / 1000))}" for step in range(40))
    judged = judge_report(report, parse_policy(text, source="p.toml"))
    errors = [line for line in render_annotations(judged).splitlines() if line.startswith("::error")]
    assert len(errors) == 10
    failed = sum(finding.verdict == "fail" for finding in judged.findings)
    crashed = sum(outcome.error is not None for outcome in judged.outcomes)
    assert f"title={failed + crashed - 9} more::" in errors[-1]


def test_waived_is_a_notice(report: Report) -> None:
    waivers = parse_waivers(
        '[[waiver]]\nid = "W"\nmeasurement = "fairness.demographic_parity_difference"\nby = "*"\nowner = "o"\n'
        'approver = "a"\nstatement = "s"\nexpires = 2027-01-01\n',
        source="w.toml",
    )
    policy = parse_policy(POLICY, source="p.toml")
    judged = judge_report(report, policy, waivers=waivers, today=date(2026, 11, 22))
    assert "::notice file=p.toml,line=2,title=Waived%3A" in render_annotations(judged)


def test_no_name_can_start_a_command_of_its_own(report: Report) -> None:
    evil = "x\n::stop-commands::pause\r\n::set-output name=a::b"
    measurements = []
    for outcome in report.outcomes:
        changed = tuple(
            measurement.model_copy(update={"compared": (group(evil), group("::error::y"))})
            if measurement.compared
            else measurement
            for measurement in outcome.measurements
        )
        measurements.append(outcome.model_copy(update={"measurements": changed, "error": None}))
    judged = judge_report(
        report.model_copy(update={"outcomes": tuple(measurements)}), parse_policy(POLICY, source="p.toml")
    )
    lines = render_annotations(judged).splitlines()
    assert "stop-commands" in "".join(lines)
    for line in lines:
        assert line.startswith(("::error ", "::warning ", "::notice ", "auditkit: "))
