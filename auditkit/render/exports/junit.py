"""JUnit XML for CI: a suite per auditor, a test case per finding, names that never hold a measured value."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from xml.etree import ElementTree

from auditkit.evidence.measurement import shown
from auditkit.evidence.policy import Finding, Limit
from auditkit.evidence.report import Outcome, Report
from auditkit.render.renderer import Renderer
from auditkit.render.summary import judged_limits
from auditkit.render.text import visible


def render_junit(report: Report) -> str:
    """Return `report` as JUnit XML.

    A failed limit is a failure; an inconclusive one passes with its sentence in system-out, and is a failure
    under strict; a warning passes with its sentence; a required limit that nothing measured, and an auditor
    that crashed, are errors; what did not run is skipped. Servers compare test cases by name between runs,
    so a name is made of the measurement, its groups and the kind of limit, never of a number.
    """
    unmeasured = {judged.limit for judged in judged_limits(report) if judged.verdict == "not_run"}
    root = ElementTree.Element("testsuites", name="auditkit")
    for outcome in report.outcomes:
        suite = ElementTree.SubElement(root, "testsuite", name=visible(f"auditkit.{outcome.auditor}"))
        _add_cases(suite, outcome, report, unmeasured)
        _count(suite)
        suite.set("time", f"{outcome.seconds:.3f}")
        suite.set("timestamp", report.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    root.set("time", f"{sum(outcome.seconds for outcome in report.outcomes):.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def case_name(finding: Finding) -> str:
    """Return what a finding is about, without a number: measurement, breakdown, group, side and severity.

    The limit's bound is left out on purpose: a changed bound is the same test.
    """
    by = f" by {shown(finding.by)}" if finding.by else ""
    part = f" [{finding.group.text}]" if finding.group is not None else ""
    side = finding.limit.side
    return visible(f"{finding.measurement.partition('.')[2]}{by}{part}, {side}, {finding.limit.severity}")


def _add_cases(suite: ElementTree.Element, outcome: Outcome, report: Report, unmeasured: set[Limit]) -> None:
    names: Counter[str] = Counter()
    if outcome.error is not None:
        _say(_case(suite, outcome, report, "audit completes"), "error", "The auditor crashed", outcome.error)
    elif outcome.reason is not None:
        _say(_case(suite, outcome, report, "audit completes"), "skipped", "Not run", outcome.reason)
    for finding in outcome.findings:
        name = case_name(finding)
        names[name] += 1
        case = _case(suite, outcome, report, name if names[name] == 1 else f"{name}, no. {names[name]}")
        required = finding.limit in unmeasured and not finding.limit.optional
        if finding.verdict == "fail" or (finding.verdict == "inconclusive" and report.strict):
            _say(case, "failure", finding.verdict, f"{finding.message}\n{finding.limit.rationale}")
        elif finding.verdict == "error" or (finding.verdict == "not_run" and required):
            _say(case, "error", "required, not measured" if required else "error", finding.message)
        elif finding.verdict == "not_run":
            _say(case, "skipped", "not run", finding.message)
        else:
            ElementTree.SubElement(case, "system-out").text = visible(finding.message)


def _case(suite: ElementTree.Element, outcome: Outcome, report: Report, name: str) -> ElementTree.Element:
    case = ElementTree.SubElement(suite, "testcase", name=name, classname=visible(f"auditkit.{outcome.auditor}"))
    if report.policy.source.endswith(".toml"):
        case.set("file", visible(report.policy.source))
    return case


def _say(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    ElementTree.SubElement(case, kind, message=message, type=message).text = visible(text)


def _count(suite: ElementTree.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for key, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(len(suite.findall(f"testcase/{kind}"))))


RENDERER = Renderer("junit.xml", render_junit)
