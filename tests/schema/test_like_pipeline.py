"""The schema of a fitted ColumnTransformer: the same numbers in the same order, or a refusal that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from auditkit.cli import call
from auditkit.errors import SchemaError
from auditkit.schema.like_pipeline import features_like
from auditkit.schema.schema import Schema


def people(*, missing: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 60).astype(float), "pay": rng.normal(30, 8, 60).round(2)})
    frame["job"] = pd.Series(rng.choice(["clerk", "nurse", "pilot"], 60), dtype=object)
    frame["grade"] = rng.integers(0, 3, 60)
    if missing:
        frame.loc[[3, 7], "age"] = np.nan
        frame.loc[[4], "job"] = "unknown"
    return frame


def transformer(*steps: tuple[Any, list[str]], remainder: str = "drop") -> ColumnTransformer:
    named = [(f"step{place}", step, columns) for place, (step, columns) in enumerate(steps)]
    return ColumnTransformer(named, remainder=remainder)


@pytest.mark.parametrize(
    ("steps", "remainder", "missing"),
    [
        (
            [(OneHotEncoder(categories=[["pilot", "clerk", "nurse"]]), ["job"]), (StandardScaler(), ["pay", "age"])],
            "drop",
            False,
        ),
        ([(MinMaxScaler((-1, 1)), ["age"]), (MaxAbsScaler(), ["pay"]), (OrdinalEncoder(), ["grade"])], "drop", False),
        ([(RobustScaler(), ["age"]), (OneHotEncoder(), ["grade", "job"])], "passthrough", False),
        ([(make_pipeline(SimpleImputer(), StandardScaler()), ["age"])], "drop", True),
        ([(SimpleImputer(strategy="constant", fill_value=0), ["age", "pay"])], "drop", True),
        ([(OneHotEncoder(handle_unknown="ignore"), ["job"])], "drop", True),
    ],
)
def test_the_numbers_and_their_order_are_the_pipelines(
    steps: list[tuple[Any, list[str]]], remainder: str, missing: bool
) -> None:
    frame = people(missing=missing)
    fitted = make_pipeline(transformer(*steps, remainder=remainder), LogisticRegression())
    fitted.steps[0][1].fit(frame)
    schema = Schema(features=features_like(fitted, frame), target="y", task="binary", classes=("no", "yes"))
    made = fitted.steps[0][1].transform(frame)
    expected = made.toarray() if hasattr(made, "toarray") else made
    assert schema.encode(frame) == pytest.approx(np.asarray(expected, dtype=float), abs=1e-4)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (transformer((KBinsDiscretizer(3), ["pay"])), "is a KBinsDiscretizer, which a schema cannot express"),
        (transformer((OneHotEncoder(drop="first"), ["job"])), "drops or merges categories of 'job'"),
        (transformer((OneHotEncoder(min_frequency=30), ["job"])), "drops or merges categories of 'job'"),
        (transformer((OrdinalEncoder(), ["job"])), "numbers the categories of 'job'"),
        (transformer((SimpleImputer(add_indicator=True), ["age"])), "add_indicator"),
        (transformer((SimpleImputer(strategy="median"), ["age"])), "fills missing values of 'age' by"),
    ],
)
def test_what_a_schema_cannot_express_is_refused(given: ColumnTransformer, match: str) -> None:
    frame = people(missing=True)
    with pytest.raises(SchemaError, match=match):
        features_like(given.fit(frame), frame)


def test_what_is_no_fitted_column_transformer_is_refused() -> None:
    with pytest.raises(SchemaError, match="begins with no ColumnTransformer"):
        features_like(LogisticRegression(), people())
    with pytest.raises(SchemaError, match="is not fitted"):
        features_like(transformer((StandardScaler(), ["age"])), people())


def test_the_command_writes_the_schema_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = people()
    frame["ok"] = np.where(frame["age"] > 45, "good", "bad")
    frame.to_csv(tmp_path / "people.csv", index=False)
    steps = transformer((OneHotEncoder(), ["job"]), (StandardScaler(), ["age"]))
    skops.io.dump(make_pipeline(steps, LogisticRegression()).fit(frame, frame["ok"]), tmp_path / "model.skops")
    assert call(["schema", "infer", str(tmp_path / "people.csv"), "--like", str(tmp_path / "model.skops")]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert [feature["name"] for feature in schema["features"]] == ["job", "age"]
    assert schema["features"][0]["categories"] == ["clerk", "nurse", "pilot"]
    assert schema["target"] == "ok"
