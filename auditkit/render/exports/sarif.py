"""SARIF 2.1.0 for code scanning: a rule per measurement, a result per finding, on the limit's line in the policy."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from auditkit.evidence.messages import title
from auditkit.evidence.policy import Finding, Limit, Verdict
from auditkit.evidence.report import Report
from auditkit.render.exports.junit import case_name
from auditkit.render.renderer import Renderer
from auditkit.render.summary import attention, headline
from auditkit.render.text import shorten, visible

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

LEVELS: dict[Verdict, str] = {"error": "error", "fail": "error", "warn": "warning", "inconclusive": "warning"}

MAXIMUM_RESULTS = 25_000
"""GitHub refuses a run with more."""


def render_sarif(report: Report) -> str:
    """Return `report` as SARIF 2.1.0, in the shape that GitHub's code scanning reads.

    What passed is no result. A waived finding is a result that is suppressed by its waiver. An audit that is
    incomplete says so: `executionSuccessful` is false, with a notification for each auditor that crashed.
    Fingerprints hold neither a value nor a line, so that an alert stays the same alert between runs.
    """
    findings = attention(report)[:MAXIMUM_RESULTS]
    ids = list(dict.fromkeys(finding.measurement for finding in findings))
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "auditkit",
                        "version": report.environment.auditkit,
                        "rules": [_rule(id, report) for id in ids],
                    }
                },
                "automationDetails": {"id": f"auditkit/{quote(report.policy.name)}/"},
                "invocations": [_invocation(report)],
                "results": [_result(finding, ids.index(finding.measurement), report) for finding in findings],
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def fingerprint(finding: Finding, report: Report) -> str:
    """Return what makes a finding the same one in another run: its name, without value, bound or line.

    Of several limits of one kind on the same number, it also tells which.
    """
    limit = finding.limit
    alike = [
        other
        for other in report.policy.limits
        if (other.measurement, other.side, other.severity) == (limit.measurement, limit.side, limit.severity)
        and other.chooses(finding.by)
    ]
    which = f" no. {alike.index(limit)}" if limit in alike[1:] else ""
    return hashlib.sha256(f"{finding.measurement} {case_name(finding)}{which}".encode()).hexdigest()


def place(limit: Limit, report: Report) -> tuple[str, int]:
    """Return the file and the line that a finding is shown at: the limit's in the policy.

    Hosts insist on a place; where the policy is not a file of the user's, it is the top of what was audited.
    """
    if not report.policy.shipped and limit.line is not None:
        return report.policy.source, limit.line
    model = report.subject.model
    return (model.path if model else None) or report.subject.dataset.path or "results.json", 1


def _rule(id: str, report: Report) -> dict[str, Any]:
    limits = [limit for limit in report.policy.limits if limit.measurement == id]
    why = " ".join(dict.fromkeys(limit.rationale for limit in limits))
    clauses = "; ".join(dict.fromkeys(limit.clause for limit in limits if limit.clause))
    words = title(id) or id
    return {
        "id": id,
        "shortDescription": {"text": words},
        "fullDescription": {"text": shorten(why or words, 1000)},
        "help": {"text": visible(f"{why}\nEvidence for {clauses}." if clauses else why or words)},
    }


def _result(finding: Finding, index: int, report: Report) -> dict[str, Any]:
    file, line = place(finding.limit, report)
    level = "error" if finding.verdict == "inconclusive" and report.strict else LEVELS.get(finding.verdict, "note")
    region = {"startLine": line, "startColumn": 1, "endLine": line, "endColumn": 2}
    result: dict[str, Any] = {
        "ruleId": finding.measurement,
        "ruleIndex": index,
        "level": level,
        "message": {"text": visible(finding.message)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(file)}, "region": region}}],
        "partialFingerprints": {"primaryLocationLineHash": fingerprint(finding, report)},
    }
    if finding.verdict == "waived":
        waiver = next((waiver for waiver in report.waivers if waiver.id == finding.waiver), None)
        result["suppressions"] = [
            {"kind": "external", "justification": visible(waiver.statement if waiver else finding.message)}
        ]
    return result


def _invocation(report: Report) -> dict[str, Any]:
    word, explanation = headline(report)
    complete = report.verdict not in ("error", "not_run")
    notifications = [
        {"level": "error", "message": {"text": visible(f"The {outcome.auditor} auditor crashed: {outcome.error}")}}
        for outcome in report.outcomes
        if outcome.error is not None
    ]
    if not complete and not notifications:
        notifications = [{"level": "error", "message": {"text": visible(f"{word}: {explanation}")}}]
    invocation: dict[str, Any] = {
        "executionSuccessful": complete,
        "exitCode": report.exit_code,
        "endTimeUtc": report.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return invocation | ({"toolExecutionNotifications": notifications} if notifications else {})


def _uri(path: str) -> str:
    pure = PurePath(visible(path))
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())


RENDERER = Renderer("results.sarif", render_sarif)
