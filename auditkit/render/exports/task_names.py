"""What other formats call the task of a report, read from what its model returns."""

from __future__ import annotations

from typing import Literal

from auditkit.evidence.report import Report

UNPREDICTED = ("rows", "records", "tokens", "vectors")
"""Outputs that predict nothing about a row."""


def prediction_of(report: Report) -> Literal["classification", "regression"] | None:
    """Return what is predicted about a row, classes or numbers; None of a model that predicts neither."""
    schema = report.subject.schema_
    if schema.get("output") in UNPREDICTED:
        return None
    return "classification" if schema.get("classes") else "regression"


def task_words(report: Report) -> str:
    """Return the task in words, such as `binary classification`; empty where the report names none."""
    task, prediction = str(report.subject.schema_.get("task") or ""), prediction_of(report)
    return task if not task or prediction in (None, task) else f"{task} {prediction}"


def hub_task(report: Report) -> str:
    """Return the name that the Hugging Face Hub has for the task, by what is read and what is returned."""
    schema = report.subject.schema_
    kinds = {str(feature.get("kind")) for feature in schema.get("features") or () if isinstance(feature, dict)}
    modality = next((kind for kind in ("image", "audio", "text") if kinds == {kind}), "tabular")
    prediction = prediction_of(report)
    if prediction is not None:
        return f"{modality}-{prediction}"
    if schema.get("output") == "rows" and modality == "image":
        return "unconditional-image-generation"
    return {"tokens": "text-generation", "vectors": "feature-extraction"}.get(str(schema.get("output")), "other")
