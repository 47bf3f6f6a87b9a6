"""Estimators decide as their own predict method does, and predict numbers where they say so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import auditkit

FIXED = FixedThresholdClassifier(LogisticRegression(), threshold=0.2)
TUNED = TunedThresholdClassifierCV(LogisticRegression(), cv=3)


def people(count: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(count, 2)), columns=["age", "pay"])
    frame["ok"] = np.where(frame["age"] + rng.logistic(size=count) > 1.5, "yes", "no")
    return frame


def audited(model: Any, frame: pd.DataFrame, target: Any = "ok", **options: Any) -> auditkit.Report:
    return auditkit.audit(model, frame, target=target, only=["performance"], **options)


def accuracy(report: auditkit.Report) -> float:
    found = report.measurement("performance.accuracy", ())
    assert found is not None
    assert found.value is not None
    return found.value


def said(report: auditkit.Report) -> str:
    return " ".join(report.subject.notes)


@pytest.mark.parametrize(
    "model",
    [
        FIXED,
        TUNED,
        make_pipeline(StandardScaler(), FIXED),
        GridSearchCV(make_pipeline(StandardScaler(), FIXED), {"fixedthresholdclassifier__threshold": [0.3]}, cv=2),
        FixedThresholdClassifier(LogisticRegression(), threshold=0.2, pos_label="no"),
    ],
)
def test_an_estimator_with_a_threshold_of_its_own_is_audited_with_it(model: BaseEstimator) -> None:
    frame = people()
    fitted = model.fit(frame[["age", "pay"]], frame["ok"])
    own = fitted.score(frame[["age", "pay"]], frame["ok"])
    report = audited(fitted, frame)
    assert accuracy(report) == pytest.approx(own)
    assert "decides by a threshold of its own" in said(report)
    usual = audited(fitted, frame, threshold=0.5)
    assert accuracy(usual) != pytest.approx(own)


def test_other_classifiers_keep_the_usual_threshold() -> None:
    frame = people()
    for model in (LogisticRegression(), LinearSVC()):
        fitted = model.fit(frame[["age", "pay"]], frame["ok"])
        report = audited(fitted, frame)
        assert accuracy(report) == pytest.approx(fitted.score(frame[["age", "pay"]], frame["ok"]))
        assert "predict method" not in said(report)


def test_ties_that_predict_resolves_otherwise_are_said() -> None:
    """Of 10 neighbours 5 say yes: predict gives the first class, and 0.5 or more is the last one."""
    frame = people()
    fitted = KNeighborsClassifier(10).fit(frame[["age", "pay"]], frame["ok"])
    ties = int((fitted.predict_proba(frame[["age", "pay"]])[:, 1] == 0.5).sum())
    assert ties
    assert f"gives another class than its probabilities or scores do in {ties} of 300 rows" in said(
        audited(fitted, frame)
    )


class Likeliest:
    """Three classes of which predict never gives the last."""

    classes_ = np.array(["a", "b", "c"])
    n_features_in_ = 2

    def predict_proba(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(rows[:, :1] > 0, [[0.1, 0.2, 0.7]], [[0.8, 0.1, 0.1]])

    def predict(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        return np.where(rows[:, 0] > 0, "b", "a")


def test_several_classes_are_compared_too() -> None:
    frame = people()
    frame["ok"] = np.resize(["a", "b", "c"], len(frame))
    differing = int((frame["age"] > 0).sum())
    assert f"in {differing} of 300 rows. The audit judges by the latter: the likeliest" in said(
        audited(Likeliest(), frame)
    )


def test_rows_with_gaps_are_left_out_of_the_comparison() -> None:
    frame = people()
    fitted = FIXED.fit(frame[["age", "pay"]], frame["ok"])
    frame.loc[:9, "age"] = math.nan
    report = audited(fitted, frame, where="age is not missing")
    assert "decides by a threshold of its own, 0.2" in said(report)


def test_a_regressor_predicts_numbers_however_few_they_are() -> None:
    frame = people(60)
    frame["ok"] = np.arange(60.0).round(-1)
    fitted = LinearRegression().fit(frame[["age", "pay"]], frame["ok"])
    found = audited(fitted, frame).measurement("performance.mean_absolute_error", ())
    assert found is not None
    assert found.value == pytest.approx(np.abs(fitted.predict(frame[["age", "pay"]]) - frame["ok"]).mean())
    frame["ok"] = np.resize([0, 1], 60)
    with pytest.raises(auditkit.InputError, match="or --task regression if it predicts this number"):
        audited(fitted, frame)


def test_estimators_of_several_labels_or_numbers_are_refused_with_what_to_do() -> None:
    frame = people(60)
    pairs = np.stack([frame["age"] > 0, frame["pay"] > 0], axis=1).astype(int)
    labels = MultiOutputClassifier(LogisticRegression()).fit(frame[["age", "pay"]], pairs)
    frame[["one", "two"]] = pairs
    coded = OneVsRestClassifier(LogisticRegression()).fit(frame[["age", "pay"]], pairs)
    for several in (labels, coded):
        with pytest.raises(auditkit.InputError, match="predicts several labels; pass code of your own"):
            audited(several, frame.drop(columns="ok"), target=["one", "two"])

    def own(rows: pd.DataFrame) -> NDArray[np.float64]:
        return np.asarray(coded.predict_proba(rows[["age", "pay"]]))

    found = audited(own, frame.drop(columns="ok"), target=["one", "two"], output="probabilities")
    assert found.subject.schema_["task"] == "multilabel"
    numbers = LinearRegression().fit(frame[["age", "pay"]], frame[["age", "pay"]])
    with pytest.raises(auditkit.InputError, match="predicts numbers, and several targets are labels"):
        audited(numbers, frame.drop(columns="ok"), target=["one", "two"])
    frame["one"] = np.arange(60.0)
    with pytest.raises(auditkit.InputError, match="2 columns of outputs, and a value is a single one; return one of"):
        audited(numbers, frame.drop(columns=["ok", "two"]), target="one")
