from __future__ import annotations

from pathlib import Path

import pytest

from auditkit.evidence.report import read_report
from auditkit.render.exports.task_names import hub_task, task_words

GALLERY = Path(__file__).parents[3] / "reports"


@pytest.mark.parametrize(
    ("name", "words", "on_the_hub"),
    [
        ("census", "binary classification", "tabular-classification"),
        ("digits", "multiclass classification", "image-classification"),
        ("reviews", "binary classification", "text-classification"),
        ("language", "language", "text-generation"),
        ("digits-gan", "generation", "unconditional-image-generation"),
        ("adult-synthetic", "synthetic", "other"),
    ],
)
def test_a_task_is_called_what_the_model_returns(name: str, words: str, on_the_hub: str) -> None:
    report = read_report(GALLERY / name / "results.json")
    assert (task_words(report), hub_task(report)) == (words, on_the_hub)


@pytest.mark.parametrize(
    ("schema", "words", "on_the_hub"),
    [
        ({"task": "regression", "output": "value"}, "regression", "tabular-regression"),
        ({"task": "counts", "output": "value"}, "counts regression", "tabular-regression"),
        ({"task": "embeddings", "output": "vectors"}, "embeddings", "feature-extraction"),
        ({}, "", "tabular-regression"),
    ],
)
def test_other_tasks(schema: dict[str, str], words: str, on_the_hub: str) -> None:
    report = read_report(GALLERY / "census" / "results.json")
    other = report.model_copy(update={"subject": report.subject.model_copy(update={"schema_": schema})})
    assert (task_words(other), hub_task(other)) == (words, on_the_hub)
