"""The audited model as a CycloneDX 1.7 ML-BOM: its hash, its data, and what was measured as a model card."""

from __future__ import annotations

import json
import uuid
from datetime import UTC
from typing import Any

from auditkit.errors import InputError
from auditkit.evidence.measurement import Interval, shown
from auditkit.evidence.policy import Finding
from auditkit.evidence.records import DatasetRecord
from auditkit.evidence.report import Report
from auditkit.render.exports.task_names import task_words
from auditkit.render.renderer import Renderer
from auditkit.render.summary import not_examined
from auditkit.render.text import visible

NAMESPACE = uuid.UUID("6f2b2c3e-6a55-5f0e-9d0a-4c6d8a8f5a11")
"""Makes the serial number a function of the run, so that the same report gives the same bytes."""


def render_cyclonedx(report: Report) -> str:
    """Return the BOM as JSON text.

    Raises:
        InputError: recorded decisions were audited, and there is no model to list.
    """
    model = report.subject.model
    if model is None:
        raise InputError("cyclonedx: recorded decisions were audited; a bill of materials needs a model.")
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": visible(model.name),
        "modelCard": {
            "modelParameters": _parameters(report),
            "quantitativeAnalysis": {"performanceMetrics": _metrics(report)},
            "considerations": _considerations(report),
            "properties": [
                {"name": "auditkit:run_id", "value": report.run_id},
                {"name": "auditkit:verdict", "value": report.verdict},
                {"name": "auditkit:policy", "value": f"{visible(report.policy.name)}, sha256 {report.policy.sha256}"},
                {"name": "auditkit:parameter_count", "value": str(model.parameter_count)},
                {"name": "auditkit:opened_as", "value": f"{visible(model.kind)}; {visible(model.trust)}"},
            ],
        },
    }
    if model.sha256 is not None:
        component["hashes"] = [{"alg": "SHA-256", "content": model.sha256}]
    tool = {"type": "application", "name": "auditkit", "version": report.environment.auditkit}
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, report.run_id)}",
        "version": 1,
        "metadata": {
            "timestamp": report.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [tool]},
        },
        "components": [component],
    }
    return json.dumps(bom, indent=2, ensure_ascii=False) + "\n"


def _parameters(report: Report) -> dict[str, Any]:
    subject = report.subject
    data = [_dataset("Audited rows", subject.dataset, subject.sensitive)]
    if subject.training_dataset is not None:
        data.append(_dataset("Training rows", subject.training_dataset, ()))
    parameters: dict[str, Any] = {"approach": {"type": "supervised"}, "datasets": data}
    if task := task_words(report):
        parameters["task"] = task
    if subject.model is not None and subject.model.architecture:
        parameters["modelArchitecture"] = visible(subject.model.architecture)
    return parameters


def _dataset(what: str, data: DatasetRecord, sensitive: tuple[str, ...]) -> dict[str, Any]:
    description = f"{what}: {data.audited_row_count:,} of {data.row_count:,} read"
    described: dict[str, Any] = {
        "type": "dataset",
        "name": visible(data.path or "in memory"),
        "description": f"{description}; sha256 {data.sha256 or 'none: from memory'}",
    }
    return described | ({"sensitiveData": [visible(column) for column in sensitive]} if sensitive else {})


def _metrics(report: Report) -> list[dict[str, Any]]:
    metrics = []
    for outcome in report.outcomes:
        for one in outcome.measurements:
            by = shown(one.by) if one.by else None
            if one.value is not None:
                metrics.append(_metric(one.id, one.value, f"by {by}" if by else None, one.interval))
            metrics += [
                _metric(one.id, part.value, f"{by}: {part.group.text}" if by else part.group.text, part.interval)
                for part in one.slices
                if part.value is not None
            ]
    return metrics


def _metric(kind: str, value: float, slice: str | None, interval: Interval | None) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": kind, "value": repr(value)}
    if slice is not None:
        metric["slice"] = visible(slice)
    if interval is not None:
        metric["confidenceInterval"] = {"lowerBound": repr(interval.low), "upperBound": repr(interval.high)}
    return metric


def _considerations(report: Report) -> dict[str, Any]:
    limits = [visible(f"Not examined: {item.what}: {item.why}") for item in not_examined(report)]
    limits += [visible(note) for note in report.subject.notes]
    harms = [
        {"groupAtRisk": visible(_at_risk(report, finding))} | {"harms": visible(finding.message)}
        for finding in report.findings
        if finding.measurement.startswith("fairness.") and finding.verdict in ("fail", "warn", "inconclusive", "waived")
    ]
    considerations: dict[str, Any] = {}
    if limits:
        considerations["technicalLimitations"] = limits
    if harms:
        considerations["fairnessAssessments"] = harms
    return considerations


def _at_risk(report: Report, finding: Finding) -> str:
    if finding.group is not None:
        return finding.group.text
    measurement = report.measurement(finding.measurement, finding.by)
    group = measurement.compared[0].text if measurement is not None and measurement.compared else "groups"
    return f"{group} ({shown(finding.by)})" if finding.by else group


RENDERER = Renderer("bom.cdx.json", render_cyclonedx)
