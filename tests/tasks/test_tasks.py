"""What every task offers, and that a new metric is a function and a row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import auditkit
from auditkit.errors import NotRun
from auditkit.schema.schema import Schema
from auditkit.stats.quality import CLASSIFICATION_METRICS, MetricSpec
from auditkit.tasks.base import Predictions, Rows, task_for


def of(task: str, classes: tuple[str, ...], **more: object) -> Schema:
    target = classes if task == "multilabel" else "y"
    return Schema(features=(), target=target, task=task, classes=classes, output="decisions", **more)


BINARY = task_for(of("binary", ("no", "yes")))
MULTICLASS = task_for(of("multiclass", ("a", "b", "c")))
MULTILABEL = task_for(of("multilabel", ("rain", "snow")))
REGRESSION = task_for(of("regression", ()))


def rows(labels: list[object], told: list[object]) -> Rows:
    return Rows(np.array(labels), Predictions(labels=np.array(told), class_probabilities=None))


def test_what_a_row_costs() -> None:
    assert BINARY.errors(rows([0, 1], [0, 0])).tolist() == [False, True]
    assert MULTICLASS.errors(rows([0, 2], [0, 1])).tolist() == [False, True]
    assert MULTILABEL.errors(rows([[0, 1], [1, 1]], [[0, 1], [1, 0]])).tolist() == [False, True]
    assert REGRESSION.errors(rows([1.0, -2.0], [1.5, -4.0])).tolist() == [0.5, 2.0]


def test_which_tasks_of_two_classes_a_task_can_be_seen_as() -> None:
    (itself,) = BINARY.binary_views(rows([0, 1], [0, 0]))
    assert (itself.name, itself.labels.tolist(), itself.decisions.tolist()) == ("", [0, 1], [0, 0])
    views = MULTICLASS.binary_views(rows([0, 2], [0, 1]))
    assert [(view.name, view.labels.tolist(), view.decisions.tolist()) for view in views] == [
        ("a", [1, 0], [1, 0]),
        ("b", [0, 0], [0, 1]),
        ("c", [0, 1], [0, 0]),
    ]
    views = MULTILABEL.binary_views(rows([[0, 1], [1, 1]], [[0, 1], [1, 0]]))
    assert [(view.name, view.labels.tolist(), view.decisions.tolist()) for view in views] == [
        ("rain", [0, 1], [0, 1]),
        ("snow", [1, 1], [1, 0]),
    ]
    assert REGRESSION.binary_views(rows([1.0], [2.0])) == ()


def test_what_is_explained_and_how_far_it_is_from_another_decision() -> None:
    outputs = torch.tensor([[1.0, 4.0], [2.0, -1.0], [-3.0, 0.5]])
    said = Predictions(labels=np.array([[1, 1], [1, 0], [0, 1]]), class_probabilities=None)
    explained = torch.from_numpy(MULTILABEL.explained(said))
    assert explained.tolist() == [0, 1, 0]
    assert MULTILABEL.target(outputs, explained).tolist() == [1.0, -1.0, -3.0]
    logits = task_for(of("multilabel", ("rain", "snow")).model_copy(update={"output": "logits"}))
    assert logits.margin(outputs, torch.from_numpy(said.labels)).tolist() == [1.0, 1.0, 0.5]
    with pytest.raises(NotRun, match="makes no decision"):
        REGRESSION.margin(outputs[:, :1], explained)


def misses(table: np.ndarray, levels: tuple[float, ...]) -> object:
    from auditkit.stats.confusion import accuracy
    from auditkit.stats.estimates import Estimate

    found = accuracy(table, ())
    assert found.value is not None
    return Estimate(1 - found.value, (None,) * len(levels))


def test_a_new_metric_is_a_function_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = MetricSpec(misses, "decisions", "rate", "lower", "1 - accuracy")  # type: ignore[arg-type]
    monkeypatch.setitem(CLASSIFICATION_METRICS, "error_rate", row)
    frame = pd.DataFrame({"y": [0, 1] * 20, "p": [0, 1, 1, 1] * 10, "g": ["a", "a", "b", "b"] * 10})
    report = auditkit.audit(None, frame, target="y", prediction="p", sensitive=["g"], only=["performance"])
    overall, by_group = (report.measurement("performance.error_rate", by) for by in ((), ("g",)))
    assert overall is not None
    assert by_group is not None
    assert (overall.value, [part.value for part in by_group.slices]) == (0.25, [0.0, 0.5])
    (table,) = [e for outcome in report.outcomes for e in outcome.exhibits if e.title == "Performance by g"]
    assert "performance.error_rate" in table.measurements  # type: ignore[union-attr]
