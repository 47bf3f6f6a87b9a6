"""What nobody stated is guessed, said on the first screen, and held against the labels; contradictions stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import auditkit
from auditkit.errors import InputError
from auditkit.evidence.report import Report

ROWS = 400
DRAWS = np.random.default_rng(4)
TRUE = (np.arange(ROWS) % 10 < 3).astype(int)
DECIDED = np.where(DRAWS.random(ROWS) < 0.1, 1 - TRUE, TRUE)
SCORES = 0.2 + 0.6 * TRUE + 0.1 * DRAWS.normal(size=ROWS).clip(-1, 1)


def table(labels: Sequence[Any], decisions: Sequence[Any], **more: Any) -> pd.DataFrame:
    """Return rows with the words of TRUE and DECIDED: first the word of 0, then that of 1."""
    frame = pd.DataFrame({"y": np.array(labels, dtype=object)[TRUE], "p": np.array(decisions, dtype=object)[DECIDED]})
    return frame.assign(g=np.arange(ROWS) % 2, **more)


def audit(frame: pd.DataFrame, **options: Any) -> Report:
    named: dict[str, Any] = {"prediction": "p", "target": "y", "sensitive": ["g"], "only": ["performance", "fairness"]}
    return auditkit.audit(None, frame, **{**named, **options})


def accuracy(report: Report) -> float:
    found = report.measurement("performance.accuracy", ())
    assert found is not None
    assert found.value is not None
    return found.value


RIGHT = float((TRUE == DECIDED).mean())


@pytest.mark.parametrize(
    ("labels", "decisions", "positive"),
    [
        (["Not default", "Default"], ["0", "1"], "Default"),
        (["no", "yes"], ["0", "1"], "yes"),
        (["bad", "good"], ["0", "1"], "good"),
        (["denied", "approved"], ["0", "1"], "approved"),
        (["rejected", "accepted"], ["no", "yes"], "accepted"),
        (["-1", "1"], ["0", "1"], "1"),
        (["0", "1"], ["-1", "1"], "1"),
        (["False", "True"], ["0", "1"], "True"),
        (["0", "1"], ["False", "True"], "1"),
        (["unemployed", "employed"], ["0", "1"], "employed"),
        (["Denied", "Approved"], ["DENIED", "approved "], "Approved"),
        (["Denied", "Approved"], ["0.0", "1.0"], "Approved"),
    ],
)
def test_the_words_tell_the_positive_class(labels: list[str], decisions: list[str], positive: str) -> None:
    report = audit(table(labels, decisions))
    assert accuracy(report) == pytest.approx(RIGHT)
    assert report.subject.schema_["classes"][-1] == positive
    if labels[0] not in ("no", "0", "-1", "False", "bad"):
        assert any(text.startswith("Guessed: ") for text in report.subject.statements)


@pytest.mark.parametrize(
    ("labels", "decisions"),
    [
        (["b-none", "a-event"], ["0", "1"]),
        (["yes", "no"], ["0", "1"]),
        (["1", "0"], ["0", "1"]),
        (["paid", "default"], ["no", "yes"]),
    ],
)
def test_a_guess_that_the_labels_contradict_is_a_question_of_one_line(labels: list[str], decisions: list[str]) -> None:
    with pytest.raises(InputError, match="clearly less often than chance") as asked:
        audit(table(labels, decisions))
    assert "pass --positive" in str(asked.value)
    assert "\n" not in str(asked.value)


@pytest.mark.parametrize("positive", ["b-none", "a-event"])
def test_the_option_answers_the_question_either_way(positive: str) -> None:
    report = audit(table(["b-none", "a-event"], ["0", "1"]), positive=positive)
    assert accuracy(report) == pytest.approx(RIGHT if positive == "a-event" else 1 - RIGHT)
    assert report.subject.statements == ()


def test_scores_of_the_other_class_are_a_question() -> None:
    frame = table(["no", "yes"], ["no", "yes"], s=1 - SCORES)
    with pytest.raises(InputError, match=r"the scores order the rows against y: .* clearly below chance"):
        audit(frame, prediction=None, score="s", threshold=0.99)
    report = audit(frame, prediction=None, score="s", threshold=0.99, positive="yes")
    assert report.verdict != "error"


def test_a_positive_class_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="positive must be one of the classes"):
        audit(table(["no", "yes"], ["0", "1"]), positive="maybe")


@pytest.mark.parametrize("chance", ["weak", "none"])
def test_a_weak_relation_or_none_is_measured_and_not_asked_about(chance: str) -> None:
    draws = np.random.default_rng(1)
    decided = draws.integers(0, 2, ROWS)
    if chance == "weak":
        decided = np.where((TRUE == 1) & (draws.random(ROWS) < 0.1), 0, decided)
    frame = table(["0", "1"], ["0", "1"]).assign(p=decided.astype(str))
    assert 0.3 < accuracy(audit(frame)) < 0.7


@pytest.mark.parametrize(("scale", "shift"), [(0.001, 0.0), (1000.0, 0.0), (0.01, -3.0)])
def test_predicted_numbers_in_another_unit_are_a_question(scale: float, shift: float) -> None:
    labels = DRAWS.normal(50, 10, ROWS)
    frame = pd.DataFrame({"y": labels, "p": (labels + DRAWS.normal(0, 3, ROWS)) * scale + shift, "g": TRUE})
    with pytest.raises(InputError, match="give them in the same unit, or pass --task regression"):
        audit(frame)
    assert audit(frame, task="regression").subject.schema_["task"] == "regression"
    assert audit(frame.assign(p=labels + DRAWS.normal(5, 3, ROWS))).verdict != "error"


class Fixed(torch.nn.Module):
    """Returns columns of its input, scaled: a network whose outputs are known."""

    def __init__(self, scale: float, shift: float, columns: Sequence[int]) -> None:
        super().__init__()
        self.scale, self.shift, self.columns = scale, shift, list(columns)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[:, self.columns] * self.scale + self.shift


def of_model(network: torch.nn.Module, columns: Sequence[Any], labels: Sequence[str], **options: Any) -> Report:
    frame = pd.DataFrame({f"x{place}": values for place, values in enumerate(columns)})
    frame["y"] = np.array(labels, dtype=object)
    return auditkit.audit(network, frame, target="y", only=["performance"], device="cpu", **options)


def test_the_order_of_a_networks_outputs_is_asked_about_and_answered() -> None:
    labels = np.array(["bad", "good"])[TRUE]
    logit = 4 * (SCORES - 0.5)
    network = Fixed(-1.0, 0.0, [0])
    with pytest.raises(InputError, match="pass --classes good,bad"):
        of_model(network, [logit], labels)
    assert accuracy(of_model(network, [logit], labels, classes=["good", "bad"])) == 1.0
    assert accuracy(of_model(network, [logit], labels, positive="bad")) == 1.0
    assert accuracy(of_model(network, [logit], labels, classes=["bad", "good"])) == 0.0
    stated = of_model(Fixed(1.0, 0.0, [0]), [logit], labels)
    assert any("Guessed: the outputs stand for the classes bad, good" in text for text in stated.subject.statements)


def test_three_classes_in_another_order_are_a_question() -> None:
    codes = np.arange(ROWS) % 3
    columns = [2.0 * (codes == code) for code in (2, 0, 1)]
    with pytest.raises(InputError, match="with its classes in the order c,a,b: pass --classes c,a,b"):
        of_model(Fixed(3.0, -1.0, [0, 1, 2]), columns, np.array(["a", "b", "c"])[codes].tolist())


def test_scores_taken_for_logits_are_a_question() -> None:
    labels = np.array(["no", "yes"])[TRUE]
    with pytest.raises(InputError, match=r"no row is predicted no, .* pass --output score --threshold"):
        of_model(Fixed(500.0, 300.0, [0]), [SCORES], labels)


def test_probabilities_that_sum_to_one_are_no_logits_however_wrong_they_are() -> None:
    """A model of something else, sure of itself, fits the labels better where its probabilities are blurred."""
    labels = np.array(["no", "yes"])[TRUE]
    chance = np.where(np.arange(ROWS) % 2, 0.99, 0.01)

    def both(frame: pd.DataFrame) -> np.ndarray:
        return np.stack([1 - frame["x0"], frame["x0"]], axis=1)

    functions: list[Any] = [both, lambda frame: frame["x0"].to_numpy()]
    report = of_model(functions[0], [chance], labels)
    assert any("probabilities" in text for text in report.subject.statements)
    with pytest.raises(InputError, match="read as logits they fit y clearly better"):
        of_model(functions[1], [chance], labels)
