"""--expect: a model that gives other scores than its developer's is refused, with the cause; without it, questioned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import auditkit

NAMES = ["age", "pay", "debt", "years"]
WEIGHT = torch.tensor([[0.05, 0.1, -0.12, 0.3]])


def network(weight: torch.Tensor = WEIGHT) -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 1))
    net[0].weight.data, net[0].bias.data = weight.clone(), torch.tensor([-3.0])
    return net


def people(count: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, count), "pay": rng.normal(30, 8, count)})
    frame["debt"], frame["years"] = rng.normal(20, 9, count), rng.integers(0, 12, count)
    cells = torch.tensor(frame[NAMES].to_numpy(), dtype=torch.float32)
    score = torch.sigmoid(network()(cells))[:, 0].detach().numpy()
    frame["ok"] = (rng.random(count) < score).astype(int)
    frame["score"] = score.round(6)
    return frame


def audited(net: nn.Module, frame: pd.DataFrame, **options: Any) -> auditkit.Report:
    return auditkit.audit(net, frame, target="ok", only=["performance"], **options)


def test_the_scores_that_are_expected_are_confirmed() -> None:
    frame = people()
    report = audited(network(), frame, expect="score")
    assert report.subject.encoding == ("Encoding checked: the model gives the scores in score on all 300 rows.",)
    decided = frame.assign(score=(frame["score"] >= 0.5).astype(int))
    assert audited(network(), decided, expect="score").subject.encoding[0].startswith("Encoding checked")
    log_odds = frame.assign(score=np.log(frame["score"] / (1 - frame["score"])))
    assert audited(network(), log_odds, expect="score").subject.encoding[0].startswith("Encoding checked")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (
            lambda frame: frame[["pay", "age", "debt", "years", "ok", "score"]],
            "In the order age, pay, debt, years",
        ),
        (
            lambda frame: frame[["years", "debt", "pay", "age", "ok", "score"]],
            "In the order age, pay, debt, years",
        ),
        (lambda frame: frame.assign(score=1 - frame["score"]), "those of the other class: pass --classes 1,0"),
        (lambda frame: frame.assign(score=np.random.default_rng(1).random(len(frame))), "The cause could not be told"),
    ],
)
def test_other_scores_are_refused_with_the_cause(change: Callable[[pd.DataFrame], pd.DataFrame], cause: str) -> None:
    with pytest.raises(auditkit.InputError, match="of 300 rows differ by more than") as caught:
        audited(network(), change(people()), expect="score")
    assert cause in str(caught.value)
    assert "instead of" in str(caught.value)


def test_scaled_columns_are_told() -> None:
    frame = people()
    cells = frame[NAMES].to_numpy()
    scaled = torch.tensor((cells - cells.mean(axis=0)) / cells.std(axis=0), dtype=torch.float32)
    net = network(torch.tensor([[0.9, 0.8, -1.0, 0.7]]))
    frame["score"] = torch.sigmoid(net(scaled))[:, 0].detach().numpy()
    with pytest.raises(auditkit.InputError, match="trained on standardised columns: pass the encoding by --preprocess"):
        audited(net, frame, expect="score")


def test_without_known_scores_the_order_is_questioned() -> None:
    frame = people(800).drop(columns="score")
    right = audited(network(), frame).subject.encoding
    assert len(right) == 1
    assert right[0].startswith("Encoding not checked: nothing confirms")
    wrong = audited(network(), frame[["debt", "pay", "age", "years", "ok"]]).subject.encoding
    assert wrong[0] == right[0]
    assert wrong[1].startswith("Is the order of the columns right? On rows that were not searched")
    assert "in the order age, pay, debt, years" in wrong[1]


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(auditkit.InputError, match=r"expect: 'scores' is no column of the data \(did you mean 'score'"):
        audited(network(), people(), expect="scores")


def test_a_category_that_is_read_as_missing_is_told_with_the_remedy() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"job": rng.choice(["a", "b", "?"], 60), "pay": rng.random(60), "ok": rng.choice(["0", "1"], 60)}
    )
    known = {"a": 0.9, "b": 0.2, "?": 0.7}
    frame["score"] = frame["job"].map(known)

    def model(rows: pd.DataFrame) -> NDArray[np.float64]:
        positive = rows["job"].map(known).fillna(0.5).to_numpy(np.float64)
        return np.stack([1 - positive, positive], axis=1)

    def filled(rows: pd.DataFrame) -> NDArray[np.float64]:
        return model(rows.fillna({"job": "?"}))

    models: list[Any] = [model, filled]  # `audit` names only some of the kinds of model that it takes
    settings: Any = {"target": "ok", "expect": "score", "only": ["performance"]}
    with pytest.raises(
        auditkit.InputError, match=r"job.* or hold '\?', .*pass --missing-as '\?'; else pass --predictor"
    ):
        auditkit.audit(models[0], frame, **settings)
    as_category = auditkit.audit(models[0], frame, **settings, missing_as="?")
    assert as_category.subject.encoding[0].startswith("Encoding checked")
    report = auditkit.audit(models[1], frame, **settings)
    assert report.subject.encoding[0].startswith("Encoding checked")
