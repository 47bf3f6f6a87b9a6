"""`schema infer` makes no feature of a column that looks like an id or sampling weights without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auditkit.data.dataset import data_from_frame
from auditkit.schema.infer_whole import infer_whole

COUNT = 60
BASE = {"age": np.arange(COUNT) % 37 + 20, "device": ["phone", "desktop"] * 30, "y": [0, 1] * 30}


def inferred(**columns: object) -> tuple[list[str], str]:
    frame = pd.DataFrame({**columns, **BASE})
    schema, notes = infer_whole(data_from_frame(frame), target="y")
    return [feature.name for feature in schema.features], " ".join(notes)


@pytest.mark.parametrize(
    ("name", "values", "option"),
    [
        ("customer_id", [f"c{number}" for number in range(COUNT)], "--cluster customer_id"),
        ("PatientID", [number // 2 for number in range(COUNT)], "--cluster PatientID"),
        ("household_id", list(range(COUNT)), "--cluster household_id"),
        ("fnlwgt", np.linspace(1.0, 9.0, COUNT), "--weight fnlwgt"),
        ("survey_weight", np.linspace(0.1, 3.0, COUNT), "--weight survey_weight"),
    ],
)
def test_ids_and_sampling_weights_are_left_out_and_said(name: str, values: object, option: str) -> None:
    features, notes = inferred(**{name: values})
    assert features == ["age", "device"]
    assert f"column {name!r} looks like" in notes
    assert option in notes


def test_a_column_called_weight_may_be_a_persons_and_is_asked_about() -> None:
    features, notes = inferred(weight=np.linspace(50, 90, COUNT))
    assert features == ["weight", "age", "device"]
    assert "pass --drop weight here, and pass --weight weight to an audit" in notes


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("weight_change", np.linspace(-3.0, 3.0, COUNT)),
        ("net_weight", [0.0, 1.0] * 30),
        ("session", ["morning", "evening"] * 30),
        ("paid", list(range(COUNT))),
    ],
)
def test_other_columns_stay_features(name: str, values: object) -> None:
    features, notes = inferred(**{name: values})
    assert features == [name, "age", "device"]
    assert "looks like" not in notes


def test_a_sensitive_column_is_what_the_user_said() -> None:
    frame = pd.DataFrame({"family": [f"f{number // 2}" for number in range(COUNT)], **BASE})
    schema, _ = infer_whole(data_from_frame(frame), target="y", sensitive=["family"])
    assert "family" in [feature.name for feature in schema.features]
