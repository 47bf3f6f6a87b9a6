from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from auditkit.data.dataset import data_from_frame
from auditkit.engine.load import load_subject
from auditkit.errors import DatasetError, InputError, NotRun
from auditkit.models.recorded import Decisions, Recorded, decision_schema

LABELS = ["no", "yes", "yes", "no"]


def read(column: Any, *, score: Any = None, labels: Any = LABELS, **options: Any) -> Any:
    frame = pd.DataFrame({"y": labels, "p": column, **({} if score is None else {"s": score})})
    data = data_from_frame(frame)
    decisions = Decisions(prediction="p", score=None if score is None else "s", **options)
    schema = decision_schema(lambda: data, decisions, target="y", sensitive=None, classes=None, given=None)
    return load_subject(Recorded(schema, decisions), data, device="cpu")


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (["no", "yes", "no", "no"], {}),
        ([0, 1, 0, 0], {}),
        (["0", "1", "0", "0"], {}),
        ([False, True, False, False], {}),
        (["N", "y", "No", "FALSE"], {}),
        ([0.49, 0.5, 0.1, 0.0], {}),
        (["0.4", "5e-1", "0", "1e-3"], {}),
        ([599, 600, 300, 0], {"threshold": 600}),
        ([0.2, 0.3, 0.1, 0.0], {"threshold": 0.3}),
    ],
)
def test_decisions_of_every_kind(column: list[Any], options: dict[str, Any]) -> None:
    assert read(column, **options).predictions.labels.tolist() == [0, 1, 0, 0]


def test_labels_alone_have_no_scores() -> None:
    predictions = read(LABELS).predictions
    for ask in ("probabilities", "scores"):
        with pytest.raises(NotRun, match="decisions and no scores"):
            getattr(predictions, ask)


def test_scores_are_probabilities_or_a_ranking() -> None:
    subject = read(["no", "no", "yes", "no"], score=[0.2, 0.9, 0.4, 0.0])
    assert subject.predictions.labels.tolist() == [0, 0, 1, 0], "the decision is what was decided, not the score"
    assert subject.predictions.probabilities.tolist() == [[0.8, 0.2], [1 - 0.9, 0.9], [0.6, 0.4], [1, 0]]
    ranked = read(["no", "no", "yes", "no"], score=[300, 700, 500, 299]).predictions
    assert ranked.scores.tolist() == [300, 700, 500, 299]
    assert "from 299 to 700, rank the rows" in ranked.notes[0]
    with pytest.raises(NotRun, match="scores that are no probabilities"):
        _ = ranked.probabilities
    only = data_from_frame(pd.DataFrame({"y": LABELS, "s": [0.2, 0.9, 0.4, 0.0]}))
    schema = decision_schema(
        lambda: only, Decisions(prediction=None, score="s"), target="y", sensitive=None, classes=None, given=None
    )
    decided = load_subject(Recorded(schema, Decisions(prediction=None, score="s")), only, device="cpu")
    assert decided.predictions.labels.tolist() == [0, 1, 0, 0]
    assert decided.predictions.notes[0] == "Predicted yes where s is at least 0.5."


def test_rows_without_a_decision_are_left_out_and_counted() -> None:
    subject = read(["no", None, "yes", "?"], score=[0.1, None, 0.4, 0.3])
    assert len(subject.labels) == 2
    assert subject.notes == ("2 of 4 rows have no value in p or s and were left out.",)
    with pytest.raises(DatasetError, match="no row has a value in p"):
        read([None, None, None, None])


def test_a_decision_without_its_score_is_a_question() -> None:
    """To leave the row out would change who is selected, for the sake of numbers on scores."""
    with pytest.raises(DatasetError) as caught:
        read(["no", "no", "yes", None], score=[0.1, 0.2, None, None])
    assert "score column 's': 1 of 3 rows with a decision have no score, the first in row 2" in str(caught.value)
    assert '--where "`s` is not missing"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_by_name_in_a_multiclass_task() -> None:
    labels = ["a", "b", "c", "a"]
    assert read(["a", "c", "b", "a"], labels=labels).predictions.labels.tolist() == [0, 2, 1, 0]
    with pytest.raises(InputError, match="need two classes, and y has 3"):
        _ = read([1, 2, 3, 4], labels=labels, threshold=2).predictions
    with pytest.raises(DatasetError, match="'p', row 3: 'd' is none of the classes of 'y'"):
        _ = read(["a", "c", "b", "d"], labels=labels).predictions


def test_decisions_in_words_of_deciding_are_read_and_the_odd_one_is_named() -> None:
    labels = ["bad", "good", "good", "bad"]
    assert read(["deny", "Approve", "accept", "reject"], labels=labels).predictions.labels.tolist() == [0, 1, 1, 0]
    with pytest.raises(DatasetError, match=r"'p', row 2: 'aproved' is none .* yes means 'good' \(--positive CLASS"):
        _ = read(["deny", "approve", "aproved", "deny"], labels=labels).predictions
    with pytest.raises(DatasetError, match=r"row 0: 'x' is none of .*; write the decisions as these classes\."):
        _ = read(["x", "a", "b", "c"], labels=["a", "b", "c", "a"]).predictions


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (["no", "maybe", "no", "no"], "'p', row 1: 'maybe' is none of the classes of 'y' \\('no', 'yes'\\), nor"),
        ([0.5, 0.2, 1.5, 0], "'p', row 2: 1.5 is no probability; pass --threshold"),
        ([300, 700, 20, 1], "300 is no probability; pass --threshold"),
    ],
)
def test_what_is_no_decision(column: list[Any], match: str) -> None:
    with pytest.raises(DatasetError, match=match) as caught:
        _ = read(column).predictions
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named() -> None:
    data = data_from_frame(pd.DataFrame({"y": LABELS, "decision": LABELS}))
    with pytest.raises(InputError, match="pass MODEL or --prediction"):
        Decisions(prediction=None)
    made = Decisions(prediction="decision")
    schema = decision_schema(lambda: data, made, target="y", sensitive=None, classes=["yes", "no"], given=None)
    assert schema.classes == ("yes", "no")
    with pytest.raises(InputError, match=r"prediction column 'decison' is not in the data.*'decision'"):
        load_subject(Recorded(schema, Decisions(prediction="decison")), data, device="cpu")
    subject = load_subject(Recorded(schema, Decisions(prediction="decision")), data, device="cpu")
    with pytest.raises(NotRun, match="there is no model"):
        _ = subject.model
    with pytest.raises(NotRun, match="there is no model"):
        _ = subject.inputs


def test_large_data_take_small_types_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["no", "yes"], 300)
    scores = rng.random(300)
    plain = read(scores, labels=labels)
    for module in ("tasks.base", "models.predict", "engine.subject", "engine.load"):
        monkeypatch.setattr(f"auditkit.{module}.LARGE_ROW_COUNT", 100, raising=False)
    large = read(scores, labels=labels)
    assert large.labels.dtype == large.predictions.labels.dtype == np.int32
    assert large.predictions.probabilities.dtype == np.float32
    np.testing.assert_array_equal(large.labels, plain.labels)
    np.testing.assert_array_equal(large.predictions.labels, plain.predictions.labels)
    np.testing.assert_allclose(large.predictions.probabilities, plain.predictions.probabilities, rtol=1e-6)
