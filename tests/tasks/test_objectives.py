"""What networks are trained by: losses by their formulas, and labels and outputs that fit each other."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special

from auditkit.errors import DatasetError, ModelFileError, NotRun
from auditkit.schema.infer import numeric_schema
from auditkit.tasks.base import task_for
from auditkit.tasks.objectives import BinaryCrossEntropy, CrossEntropy, Objective, SquaredError

OUTPUTS = np.array([[0.3, -1.2, 2.0], [0.0, 0.0, 0.0], [5.0, -5.0, 1.0]])
EVERY = (CrossEntropy(), BinaryCrossEntropy(), SquaredError())


def losses(objective: Objective, outputs: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    found = objective.losses(torch.tensor(outputs), torch.tensor(objective.targets(labels)))
    return found.double().numpy()


def test_the_cross_entropy_is_minus_the_log_of_the_labels_probability() -> None:
    codes = np.array([2, 0, 1])
    shares = special.softmax(OUTPUTS, axis=1)
    by_hand = -np.log(shares[np.arange(3), codes])
    assert losses(CrossEntropy(), OUTPUTS, codes) == pytest.approx(by_hand, rel=1e-6)
    assert losses(CrossEntropy("probabilities"), shares, codes) == pytest.approx(by_hand, rel=1e-6)
    assert losses(CrossEntropy(), OUTPUTS, codes)[1] == pytest.approx(np.log(3))
    assert CrossEntropy().scores(torch.tensor(OUTPUTS)).numpy() == pytest.approx(shares, rel=1e-6)


def test_the_binary_cross_entropy_is_the_mean_over_the_labels() -> None:
    labels = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]])
    shares = special.expit(OUTPUTS)
    by_hand = -np.log(np.where(labels == 1, shares, 1 - shares)).mean(axis=1)
    assert losses(BinaryCrossEntropy(), OUTPUTS, labels) == pytest.approx(by_hand, rel=1e-5)
    assert losses(BinaryCrossEntropy("probabilities"), shares, labels) == pytest.approx(by_hand, rel=1e-5)
    assert BinaryCrossEntropy().scores(torch.tensor(OUTPUTS)).numpy() == pytest.approx(shares)
    assert BinaryCrossEntropy("probabilities").scores(torch.tensor(shares)).numpy() == pytest.approx(shares)


def test_the_squared_error_is_that_of_the_single_output() -> None:
    numbers = np.array([0.5, -1.0, 2.0])
    found = SquaredError().losses(torch.tensor([[0.0], [-1.0], [5.0]]), torch.tensor(SquaredError().targets(numbers)))
    assert found.tolist() == [0.25, 0.0, 9.0]
    assert SquaredError().scores(torch.tensor([0.0, -1.0])).tolist() == [[0.0], [-1.0]]


def test_rows_are_held_out_by_class_where_each_row_has_one() -> None:
    assert CrossEntropy().strata(np.array([2, 0, 2])).tolist() == [2, 0, 2]
    assert BinaryCrossEntropy().strata(np.array([[0, 1], [1, 1]])).tolist() == [0, 0]
    assert SquaredError().strata(np.array([0.5, 1.5])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("objective", "labels", "match"),
    [
        (CrossEntropy(), [0, 1, -1], r"class codes from 0, got -1 in row 2 "),
        (CrossEntropy(), [1, 1], r"at least 2 classes, got class 1 in all 2 rows"),
        # The last row of three labels each: its place among all labels is no number of a row.
        (BinaryCrossEntropy(), [[0, 1, 1], [1, 0, 0], [0, 1, -1]], r"must be 0 or 1, got -1 in row 2 .*1 such rows"),
        (BinaryCrossEntropy(), [[0, 0], [0, 0]], r"labels that differ, got 0 for every label of all 2 rows"),
        (SquaredError(), [0.0, np.nan], "must be finite"),
        (SquaredError(), [2.0, 2.0], "not all the same"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused_in_one_line(
    objective: Objective, labels: list[float], match: str
) -> None:
    with pytest.raises(DatasetError, match=match) as refused:
        objective.require_labels(np.array(labels))
    assert "\n" not in str(refused.value)


def test_outputs_must_fit_the_labels() -> None:
    two_rows = torch.zeros(2, 3)
    CrossEntropy().require_outputs(two_rows, np.array([0, 2]))
    CrossEntropy().require_outputs(torch.zeros(2), np.array([0, 1]))
    with pytest.raises(DatasetError, match=r"below the module's 2 classes, got 2 in row 1 .* with 3 outputs"):
        CrossEntropy().require_outputs(torch.zeros(2, 1), np.array([0, 2]))
    BinaryCrossEntropy().require_outputs(two_rows, np.zeros((40, 3)))
    for outputs in (torch.zeros(2, 2), torch.zeros(2)):
        with pytest.raises(ModelFileError, match="one number for each of 3 labels"):
            BinaryCrossEntropy().require_outputs(outputs, np.zeros((40, 3)))
    SquaredError().require_outputs(torch.zeros(2), np.zeros(40))
    with pytest.raises(ModelFileError, match="one number for each row, got 3"):
        SquaredError().require_outputs(two_rows, np.zeros(40))


def test_a_task_says_what_it_is_trained_by_and_scores_are_not() -> None:
    binary = numeric_schema(("a",), target="y", classes=("no", "yes"))
    assert task_for(binary).objective() == CrossEntropy("logits")
    assert task_for(binary.model_copy(update={"output": "probabilities"})).objective() == CrossEntropy("probabilities")
    several = binary.model_copy(update={"task": "multilabel", "target": ("no", "yes")})
    assert task_for(several).objective() == BinaryCrossEntropy("logits")
    number = binary.model_copy(update={"task": "regression", "classes": (), "output": "value"})
    assert task_for(number).objective() == SquaredError()
    for output in ("score", "decisions"):
        with pytest.raises(NotRun, match="no loss to train it by"):
            task_for(binary.model_copy(update={"output": output})).objective()


@pytest.mark.parametrize("objective", EVERY)
def test_it_is_sent_to_other_processes(objective: Objective) -> None:
    assert pickle.loads(pickle.dumps(objective)) == objective
