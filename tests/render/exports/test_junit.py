from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

from junitparser import JUnitXml

from auditkit.evidence.judging import judge
from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.policy import Limit, Policy
from auditkit.evidence.report import Outcome, Report
from auditkit.render.exports.junit import render_junit


def cases(report: Report) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(render_junit(report))
    return {f"{case.get('classname')}/{case.get('name')}": case for case in root.iter("testcase")}


def kinds(case: ElementTree.Element) -> list[str]:
    return [child.tag for child in case]


def test_every_finding_is_a_case_of_its_own_name(report: Report) -> None:
    found = cases(report)
    assert len(found) == len(report.findings) + 2  # the crash, and the auditor that did not run


def test_what_each_verdict_becomes(report: Report) -> None:
    found = cases(report)
    assert kinds(found["auditkit.fairness/demographic_parity_difference by sex, at most, error"]) == ["failure"]
    assert kinds(found["auditkit.fairness/demographic_parity_ratio by sex, at least, warn"]) == ["system-out"]
    assert kinds(found["auditkit.fairness/equalized_odds_difference by race, at most, error"]) == ["system-out"]
    assert kinds(found["auditkit.fairness/equalized_odds_difference by country, at most, error"]) == ["skipped"]
    assert kinds(found["auditkit.performance/accuracy by race [Black], at least, error"]) == ["system-out"]
    assert kinds(found["auditkit.robustness/flip_rate, at most, error"]) == ["skipped"]
    assert kinds(found["auditkit.robustness/audit completes"]) == ["skipped"]
    assert kinds(found["auditkit.toxicity/rate, at most, error"]) == ["error"]
    assert kinds(found["auditkit.toxicity/audit completes"]) == ["error"]
    failure = found["auditkit.fairness/demographic_parity_difference by sex, at most, error"][0]
    assert "17.0 points" in (failure.text or "")
    assert "call for an explanation" in (failure.text or "")


def test_strict_makes_what_is_inconclusive_a_failure(build_report: Callable[..., Report]) -> None:
    found = cases(build_report(strict=True))
    assert kinds(found["auditkit.fairness/equalized_odds_difference by race, at most, error"]) == ["failure"]


def test_names_do_not_change_with_the_numbers(build_report: Callable[..., Report]) -> None:
    def names(value: float, bound: float) -> set[str]:
        limit = Limit(measurement="a.gap", at_most=bound, rationale="r")
        interval = Interval(low=value - 0.01, high=value + 0.01, level=0.95, method="m")
        gap = Measurement(
            id="a.gap", value=value, unit="rate", better="lower", count=9, interval=interval, definition="s"
        )
        policy = Policy(name="p", source="p.toml", sha256="0" * 64, limits=(limit,))
        outcome = Outcome(auditor="a", version="1", measurements=(gap,), findings=tuple(judge(limit, [gap])))
        return set(cases(build_report(policy=policy, outcomes=(outcome,))))

    assert names(0.02, 0.1) == names(0.3, 0.2)


def test_two_limits_of_one_kind_get_two_names(build_report: Callable[..., Report]) -> None:
    limits = tuple(Limit(measurement="a.gap", at_most=bound, rationale="r") for bound in (0.1, 0.2))
    gap = Measurement(id="a.gap", value=0.15, unit="rate", better="lower", count=9, definition="s")
    policy = Policy(name="p", source="p.toml", sha256="0" * 64, limits=limits)
    findings = tuple(finding for limit in limits for finding in judge(limit, [gap]))
    found = cases(build_report(policy=policy, outcomes=(Outcome(auditor="a", version="1", findings=findings),)))
    assert list(found) == ["auditkit.a/gap, at most, error", "auditkit.a/gap, at most, error, no. 2"]


def test_another_parser_reads_the_same_counts(report: Report) -> None:
    parsed = JUnitXml.fromstring(render_junit(report).encode())
    root = ElementTree.fromstring(render_junit(report))
    for suite, element in zip(parsed, root, strict=True):
        assert suite.tests == len(element.findall("testcase"))
        stated = suite.tests, suite.failures, suite.errors, suite.skipped
        suite.update_statistics()  # type: ignore[no-untyped-call]  # the library gives no types
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == stated
    assert (parsed.tests, parsed.failures, parsed.errors) == (len(report.findings) + 2, 1, 2)


def test_a_case_points_at_the_policy_file_where_there_is_one(
    report: Report, build_report: Callable[..., Report]
) -> None:
    assert {case.get("file") for case in cases(report).values()} == {"policies/income.toml"}
    shipped = report.policy.model_copy(update={"source": "shipped with auditkit"})
    assert {case.get("file") for case in cases(build_report(policy=shipped)).values()} == {None}


def test_characters_that_xml_forbids_are_replaced(build_report: Callable[..., Report]) -> None:
    report = build_report(outcomes=(Outcome(auditor="a\x00b", version="1", error="\x1b[31mred\ufffe ]]> & <b>"),))
    text = render_junit(report)
    assert not re.search("[\x00-\x08\x1b\ufffe]", text)
    error = next(ElementTree.fromstring(text).iter("error"))
    assert error.text == "\ufffd[31mred\ufffd ]]> & <b>"
