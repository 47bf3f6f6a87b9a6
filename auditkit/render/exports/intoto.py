"""An in-toto attestation statement of the audit as a test result (predicate test-result v0.1)."""

from __future__ import annotations

import json
from typing import Any

from auditkit.errors import InputError
from auditkit.evidence.policy import Verdict
from auditkit.evidence.report import Report
from auditkit.render.exports.junit import case_name
from auditkit.render.renderer import Renderer

RESULTS: dict[Verdict, str] = {"pass": "PASSED", "waived": "WARNED", "warn": "WARNED", "inconclusive": "WARNED"}
"""The result of a verdict; every other one is FAILED: an audit that crashed or judged nothing is no pass."""


def render_intoto(report: Report) -> str:
    """Return the statement as JSON text, unsigned: its subject is the sha256 of the model, or of recorded decisions.

    Raises:
        InputError: neither the model nor, without a model, the data was a file: there is nothing to attest.
    """
    model, data = report.subject.model, report.subject.dataset
    audited = model or data
    if audited.sha256 is None:
        raise InputError("in-toto: what was audited came from memory and has no sha256; audit a file.")
    tests: dict[str, list[str]] = {"PASSED": [], "WARNED": [], "FAILED": []}
    names: dict[str, str] = {}
    order = ("PASSED", "WARNED", "FAILED")
    for finding in report.findings:
        if finding.verdict == "not_run" and finding.limit.optional:
            continue
        name = f"{finding.measurement.partition('.')[0]}: {case_name(finding)}"
        result = _result(finding.verdict, strict=report.strict)
        names[name] = max(names.get(name, result), result, key=order.index)
    for name, result in names.items():
        tests[result].append(name)
    policy: dict[str, Any] = {"name": report.policy.source, "digest": {"sha256": report.policy.sha256}}
    configuration = [policy]
    if model is not None and data.sha256 is not None:
        configuration.append({"name": data.path or "data", "digest": {"sha256": data.sha256}})
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": audited.path or "model", "digest": {"sha256": audited.sha256}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": _result(report.verdict, strict=report.strict),
            "configuration": configuration,
            "passedTests": tests["PASSED"],
            "warnedTests": tests["WARNED"],
            "failedTests": tests["FAILED"],
        },
    }
    return json.dumps(statement, indent=2, ensure_ascii=False) + "\n"


def _result(verdict: Verdict, *, strict: bool) -> str:
    return "FAILED" if strict and verdict == "inconclusive" else RESULTS.get(verdict, "FAILED")


RENDERER = Renderer("test-result.intoto.json", render_intoto)
