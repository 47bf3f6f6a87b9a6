"""GitLab code quality: the fields GitLab reads, unique fingerprints, severities."""

from __future__ import annotations

import json

from auditkit.evidence.gate import judge_report
from auditkit.evidence.policy import parse_policy
from auditkit.evidence.report import Report
from auditkit.render.exports.gitlab import render_gitlab

POLICY = """
[[limit]]
measurement = "fairness.demographic_parity_difference"
by = "*"
at_most = 0.1
rationale = "r"
"""


def test_entries_have_what_gitlab_reads(report: Report) -> None:
    entries = json.loads(render_gitlab(judge_report(report, parse_policy(POLICY, source="ci/p.toml"))))
    assert {entry["severity"] for entry in entries} == {"blocker", "critical", "minor"}
    for entry in entries:
        assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert isinstance(entry["location"]["lines"]["begin"], int)
    crash, *findings = entries
    assert "toxicity auditor crashed" in crash["description"]
    assert {entry["location"]["path"] for entry in findings} == {"ci/p.toml"}
    assert {entry["location"]["lines"]["begin"] for entry in findings} == {2}
    marks = [entry["fingerprint"] for entry in entries]
    assert len(marks) == len(set(marks))


def test_fingerprints_hold_no_value_and_no_line(report: Report) -> None:
    def marks(text: str) -> set[str]:
        entries = json.loads(render_gitlab(judge_report(report, parse_policy(text, source="p.toml"))))
        return {entry["fingerprint"] for entry in entries}

    assert marks(POLICY) <= marks("# moved\n\n" + POLICY.replace("0.1", "0.05"))
