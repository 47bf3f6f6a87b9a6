from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.errors import InputError, ModelFileError
from auditkit.models.outputs import FirstOutput, recognise
from auditkit.models.predict import predict
from auditkit.schema.infer import numeric_schema
from auditkit.schema.outputs import declare

ROWS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
SCHEMA = numeric_schema(["a", "b", "c"], target="y", classes=["no", "yes"])


class Returns(nn.Module):
    """A network of one weight that returns whatever a function makes of its inputs."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.function = function

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.function(inputs * self.weight)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda rows: rows[:, :2], "logits"),
        (lambda rows: rows[:, :2].softmax(1), "probabilities"),
        (lambda rows: rows[:, :2].sigmoid(), "logits"),  # from 0 to 1, but they do not sum to 1
        (lambda rows: rows[:, 0].sigmoid(), "probabilities"),
        (lambda rows: rows[:, :1].sigmoid(), "probabilities"),
        (lambda rows: rows[:, 0], "logits"),
        (lambda rows: rows.softmax(1), "probabilities"),
    ],
)
def test_outputs_are_recognised_and_the_report_is_told(function: Any, word: str) -> None:
    module, output, notes = recognise(Returns(function), ROWS, declared=None)
    assert output == word
    assert isinstance(module, Returns)
    assert notes == [note for note in notes if f"recognised as {word}: over 50 rows" in note]


def test_what_is_declared_holds_and_a_doubt_is_told() -> None:
    soft = Returns(lambda rows: rows[:, :2].softmax(1))
    assert recognise(soft, ROWS, declared="probabilities")[1:] == ("probabilities", [])
    output, notes = recognise(soft, ROWS, declared="logits")[1:]
    assert output == "logits"
    assert "declared logits, but look like probabilities" in notes[0]
    assert recognise(Returns(lambda rows: rows[:, :2]), ROWS, declared="logits")[2] == []


@pytest.mark.parametrize(
    "wrap",
    [
        lambda outputs: (outputs, None),
        lambda outputs: [outputs, outputs + 1],
        lambda outputs: ((outputs, 3), 4),
        lambda outputs: {"hidden": outputs + 1, "logits": outputs},
    ],
)
def test_a_model_of_several_outputs_is_seen_through_the_first(wrap: Any) -> None:
    module, output, notes = recognise(Returns(lambda rows: wrap(rows[:, :2])), ROWS, declared="logits")
    assert isinstance(module, FirstOutput)
    assert "its first tensor is taken for the outputs" in notes[0]
    found = predict(module, ROWS, SCHEMA.model_copy(update={"output": output}), device=torch.device("cpu"))
    assert np.allclose(found.probabilities, torch.from_numpy(ROWS[:, :2]).softmax(1), atol=1e-6)


def test_another_output_is_chosen_and_all_are_named() -> None:
    class Several(nn.Module):
        def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor | None]:
            return {"boxes": rows, "scores": rows[:, :2], "none": None}

    rows = torch.from_numpy(ROWS)
    assert torch.equal(FirstOutput(Several(), 1)(rows), rows[:, :2])
    for index in (2, 5):
        with pytest.raises(
            ModelFileError, match=rf"got {index}; it returns 0 \(boxes\): a tensor of .*, 2 \(none\): NoneType"
        ):
            FirstOutput(Several(), index)(rows)
    assert (
        "Choose another by --output-index: it returns 0 (boxes)" in recognise(Several(), ROWS, declared="logits")[2][0]
    )


def test_a_model_that_keeps_state_or_draws_is_told() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return inputs[:, :2] + self.calls

    for module in (Counts(), Returns(lambda rows: rows[:, :2] + torch.rand(1))):
        notes = recognise(module, ROWS, declared="logits")[2]
        assert "keeps state or draws at random" in notes[0]
    training = Returns(lambda rows: torch.dropout(rows[:, :2], 0.5, train=False)).train()
    assert recognise(training, ROWS, declared="logits")[2] == []
    assert training.training


def test_a_model_that_cannot_be_run_is_left_to_the_prediction() -> None:
    def fails(rows: torch.Tensor) -> torch.Tensor:
        raise KeyError("no")

    for function in (fails, lambda rows: "text", lambda rows: rows[:, :, None, None]):
        assert recognise(Returns(function), ROWS, declared=None)[1:] == ("logits", [])


def test_declarations_are_held_against_each_other() -> None:
    assert declare(SCHEMA).classes == ("no", "yes")
    turned = declare(SCHEMA, classes=("yes", "no"), output="probabilities", task="binary")
    assert (turned.classes, turned.output) == (("yes", "no"), "probabilities")
    assert declare(SCHEMA, classes=("a", "b", "c")).task == "multiclass"
    scored = declare(SCHEMA, output="score", threshold=600)
    assert (scored.output, scored.threshold) == ("score", 600)
    for declared, match in (
        ({"task": "regression"}, "the model's schema names the classes no, yes"),
        ({"task": "ranking"}, "task must be one of binary, multiclass"),
        ({"output": "logit"}, "output must be logits, probabilities or score"),
        ({"task": "multiclass"}, "there are 2 classes"),
        ({"classes": ("a",)}, "at least two different classes"),
        ({"classes": ("a", "a")}, "at least two different classes"),
        ({"output": "score"}, "needs a threshold"),
        ({"threshold": 3.0}, "threshold: the threshold of a probability must lie between 0 and 1, got 3"),
        ({"threshold": 0.0}, "must lie between 0 and 1, got 0"),
        ({"threshold": 0.3, "classes": ("a", "b", "c")}, "a threshold decides between two classes"),
        ({"threshold": float("nan")}, "threshold: "),
        ({"output": "score", "threshold": 1, "classes": ("a", "b", "c")}, "decides between two classes"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            declare(SCHEMA, **declared)
        assert "\n" not in str(caught.value)


def test_a_regression_has_neither_classes_nor_a_threshold() -> None:
    schema = numeric_schema(["a", "b", "c"], target="y", classes=[])
    assert (schema.task, schema.output) == ("regression", "value")
    assert declare(schema, task="regression") == schema
    for declared in ({"output": "logits"}, {"threshold": 3.0}, {"classes": ("a", "b")}):
        with pytest.raises(InputError, match="a regression has neither classes nor a threshold"):
            declare(schema, **declared)
    with pytest.raises(InputError, match="task binary: the model's schema is of a regression"):
        declare(schema, task="binary")
    _, output, notes = recognise(Returns(lambda rows: rows[:, 0].sigmoid()), ROWS, declared="value")
    assert (output, notes) == ("value", [])


def test_scores_rank_the_rows_and_a_threshold_decides() -> None:
    module = Returns(lambda rows: 100 * rows[:, 0] + 500)
    scored = declare(SCHEMA, output="score", threshold=520.0)
    found = predict(module, ROWS, scored, device=torch.device("cpu"), batch_size=7)
    assert np.allclose(found.scores, 100 * ROWS[:, 0] + 500, atol=1e-3)
    assert (found.labels == (found.scores >= 520)).all()
    assert found.class_probabilities is None
