"""The audit as a TestResult of AI Verify: its envelope around auditkit's measurements."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from auditkit.evidence.report import Report
from auditkit.render.exports.task_names import prediction_of
from auditkit.render.renderer import Renderer


def render_aiverify(report: Report) -> str:
    """Return the TestResult as JSON text; `output` holds the verdict, the findings and every measurement.

    The envelope is that of AI Verify's test engine (aiverify.testresult.schema.json). Its `output` is each plugin's
    own, so a portal shows it only with a widget made for auditkit.
    """
    subject = report.subject
    target = subject.schema_.get("target")
    arguments: dict[str, Any] = {
        "testDataset": _uri(subject.dataset.path),
        "mode": "upload",
        "modelType": prediction_of(report) or "classification",
        "algorithmArgs": {outcome.auditor: outcome.settings for outcome in report.outcomes},
    }
    if isinstance(target, str):
        arguments |= {"groundTruthDataset": _uri(subject.dataset.path), "groundTruth": target}
    if subject.model is not None:
        arguments["modelFile"] = _uri(subject.model.path)
    result = {
        "gid": "auditkit",
        "cid": "audit",
        "version": report.environment.auditkit,
        "startTime": report.created.isoformat(),
        "timeTaken": round(sum(outcome.seconds for outcome in report.outcomes), 3),
        "testArguments": arguments,
        "output": {
            "run_id": report.run_id,
            "verdict": report.verdict,
            "findings": [
                {
                    "measurement": one.measurement,
                    "by": one.by,
                    "group": one.group and one.group.key,
                    "verdict": one.verdict,
                }
                | {"message": one.message}
                for one in report.findings
            ],
            "measurements": [
                one.model_dump(mode="json") for outcome in report.outcomes for one in outcome.measurements
            ],
        },
        "artifacts": [],
    }
    return json.dumps(result, indent=2, ensure_ascii=False) + "\n"


def _uri(path: str | None) -> str:
    return "urn:auditkit:in-memory" if path is None else f"file:{quote(path)}"


RENDERER = Renderer("ai-verify.json", render_aiverify)
