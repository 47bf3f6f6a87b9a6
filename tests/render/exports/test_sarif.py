"""SARIF: valid against OASIS's schema, in the shape GitHub reads, stable between runs, safe with hostile names."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auditkit.evidence.gate import judge_report
from auditkit.evidence.policy import parse_policy, profile
from auditkit.evidence.report import Report
from auditkit.evidence.waivers import parse_waivers
from auditkit.render.exports.sarif import render_sarif

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/sarif-2.1.0.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

POLICY = """
[[limit]]
measurement = "fairness.demographic_parity_difference"
by = "*"
at_most = 0.1
rationale = "r"
clause = "c"
"""
WAIVERS = """
[[waiver]]
id = "W-1"
measurement = "fairness.demographic_parity_difference"
by = "*"
owner = "o"
approver = "a"
statement = "known"
expires = 2027-01-01
"""


def sarif(report: Report) -> dict[str, Any]:
    document = json.loads(render_sarif(report))
    VALIDATOR.validate(document)
    assert "" not in strings(document), "GitHub refuses empty strings"
    return document["runs"][0]  # type: ignore[no-any-return]  # a call of a module, or of a library, is Any


def strings(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def test_the_sample_is_valid_and_says_that_it_is_incomplete(report: Report) -> None:
    run = sarif(report)
    assert run["tool"]["driver"]["name"] == "auditkit"
    assert run["invocations"][0]["executionSuccessful"] is False
    assert "toxicity auditor crashed" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert set(result["locations"][0]["physicalLocation"]["region"]) == {
            "startLine",
            "startColumn",
            "endLine",
            "endColumn",
        }


def test_a_result_points_at_the_limits_line(report: Report) -> None:
    run = sarif(judge_report(report, parse_policy(POLICY, source="ci/my policy.toml")))
    assert run["results"]
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "ci/my%20policy.toml"
        assert place["region"]["startLine"] == 2
    help_text = run["tool"]["driver"]["rules"][0]["help"]["text"]
    assert help_text == "r\nEvidence for c."


def test_a_shipped_policy_is_no_file_of_the_users(report: Report) -> None:
    run = sarif(judge_report(report, profile("default")))
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]}
    assert uris == {"models/income.pt"}


def test_levels_follow_the_verdicts(report: Report) -> None:
    judged = judge_report(report, parse_policy(POLICY, source="p.toml"))
    levels = {"fail": "error", "inconclusive": "warning", "warn": "warning", "waived": "note"}
    shown = [finding for finding in judged.findings if finding.verdict in levels]
    assert {finding.verdict for finding in shown} >= {"fail", "inconclusive"}
    assert [result["level"] for result in sarif(judged)["results"]] == [levels[finding.verdict] for finding in shown]
    strict = judge_report(report, parse_policy(POLICY, source="p.toml"), strict=True)
    assert {result["level"] for result in sarif(strict)["results"]} == {"error"}


def test_a_waived_finding_is_suppressed_by_its_waiver(report: Report) -> None:
    policy, waivers = parse_policy(POLICY, source="p.toml"), parse_waivers(WAIVERS, source="w.toml")
    run = sarif(judge_report(report, policy, waivers=waivers, today=date(2026, 11, 22)))
    assert run["results"]
    for result in run["results"]:
        assert result["suppressions"] == [{"kind": "external", "justification": "known"}]


def test_fingerprints_hold_neither_bound_nor_line_and_tell_findings_apart(report: Report) -> None:
    def marks(text: str) -> list[str]:
        run = sarif(judge_report(report, parse_policy(text, source="p.toml")))
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]

    first, moved = marks(POLICY), marks("\n\n" + POLICY.replace("0.1", "0.05"))
    assert set(first) <= set(moved)
    twice = marks(POLICY + POLICY.replace('by = "*"', 'by = ["sex"]').replace("0.1", "0.11"))
    assert len(twice) == len(set(twice))


def test_hostile_names_stay_text(build_report: Callable[..., Report], hostile: dict[str, Any]) -> None:
    report = build_report()
    for name in hostile.values():
        policy = parse_policy(POLICY, source="p.toml").model_copy(update={"source": name, "name": name})
        sarif(judge_report(report, policy))


@pytest.mark.parametrize("name", ["/abs/policy.toml", "a b/ü.toml", "..\\x.toml"])
def test_paths_become_uris(report: Report, name: str) -> None:
    run = sarif(judge_report(report, parse_policy(POLICY, source=name)))
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert " " not in uri
    assert uri.startswith("file:///") is name.startswith("/")
