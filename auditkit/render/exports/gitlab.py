"""GitLab's code quality report: one entry per finding that needs attention, on the limit's line in the policy."""

from __future__ import annotations

import json
from typing import Any

from auditkit.evidence.policy import Verdict
from auditkit.evidence.report import Report
from auditkit.render.exports.sarif import fingerprint, place
from auditkit.render.renderer import Renderer
from auditkit.render.summary import attention
from auditkit.render.text import visible

SEVERITIES: dict[Verdict, str] = {
    "error": "blocker",
    "fail": "critical",
    "inconclusive": "minor",
    "warn": "minor",
    "waived": "info",
}


def render_gitlab(report: Report) -> str:
    """Return `report` as a code quality report, in the subset of CodeClimate's format that GitLab reads."""
    entries: list[dict[str, Any]] = []
    for outcome in report.outcomes:
        if outcome.error is not None:
            file = report.subject.dataset.path or "results.json"
            said = f"The {outcome.auditor} auditor crashed: {outcome.error}"
            entries.append(_entry(said, outcome.auditor, f"crash {outcome.auditor}", "blocker", file, 1))
    for finding in attention(report):
        file, line = place(finding.limit, report)
        severity = SEVERITIES[finding.verdict]
        entries.append(_entry(finding.message, finding.measurement, fingerprint(finding, report), severity, file, line))
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _entry(said: str, name: str, mark: str, severity: str, file: str, line: int) -> dict[str, Any]:
    return {
        "description": visible(said),
        "check_name": visible(name),
        "fingerprint": mark,
        "severity": severity,
        "location": {"path": visible(file), "lines": {"begin": line}},
    }


RENDERER = Renderer("gl-code-quality-report.json", render_gitlab)
