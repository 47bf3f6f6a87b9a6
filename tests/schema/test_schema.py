from __future__ import annotations

import math
import re
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from auditkit.data.dataset import data_from_frame
from auditkit.errors import DatasetError, SchemaError
from auditkit.schema.infer import infer_classes, infer_schema, numeric_schema
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.tasks.base import task_for

CENSUS = Schema(
    features=(
        Feature(name="age", kind="numeric", mean=40.0, scale=10.0, missing=True),
        Feature(name="job", kind="categorical", categories=("clerk", "cook", "None"), missing=True),
        Feature(name="member", kind="boolean", missing=True),
        Feature(name="hours", kind="numeric", mean=0.0, scale=2.0),
        Feature(name="sex", kind="categorical", categories=("f", "m")),
    ),
    target="income",
    task="binary",
    classes=("no", "yes"),
    sensitive=("sex",),
)


def frame(**columns: list[str] | list[str | None]) -> pd.DataFrame:
    length = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.RangeIndex(2, length + 2, name="line"), dtype=object)


def encode_slowly(schema: Schema, rows: list[dict[str, str | None]]) -> list[list[float]]:
    """The encoding as its documentation words it, cell by cell."""
    encoded = []
    for row in rows:
        cells: list[float] = []
        for feature in schema.features:
            value = row[feature.name] or ""
            absent = value.strip() in ("", "?")
            if feature.kind == "categorical":
                cells += [0.0 if absent else float(value.strip() == category) for category in feature.categories]
            else:
                absent = absent or value.strip().lower() in ("na", "n/a", "nan", "null", "none")
                if feature.kind == "boolean":
                    cells.append(0.0 if absent else float(value.strip().lower() in ("yes", "true", "1", "t", "y")))
                else:
                    cells.append(0.0 if absent else (float(value) - feature.mean) / feature.scale)
            if feature.missing:
                cells.append(float(absent))
        encoded.append(cells)
    return encoded


absent = st.sampled_from([None, "", "?", " ? "])
numeric = st.floats(-1e6, 1e6).map(repr) | st.integers(-999, 999).map(lambda number: f" {number} ")
word = st.sampled_from(["clerk", "cook", "None", "pilot", " cook ", "NA"])
row = st.fixed_dictionaries(
    {
        "age": numeric | absent | st.sampled_from(["NaN", "n/a"]),
        "job": word | absent,
        "member": st.sampled_from(["yes", "No", "TRUE", "f", "1", "0", "y", "N", "NA"]) | absent,
        "hours": numeric | absent,
        "sex": st.sampled_from(["f", "m", "x"]) | absent,
    }
)


@given(st.lists(row, min_size=1, max_size=30), st.randoms())
def test_encoding_agrees_with_the_naive_loop_in_any_order(rows: list[dict[str, str | None]], random: Random) -> None:
    data = pd.DataFrame(rows, dtype=object)
    encoded = CENSUS.encode(data)
    assert encoded.dtype == np.float32
    assert encoded.shape == (len(rows), CENSUS.input_width)
    np.testing.assert_array_equal(encoded, np.array(encode_slowly(CENSUS, rows), dtype=np.float32))
    columns, order = list(data.columns), list(range(len(rows)))
    random.shuffle(columns)
    random.shuffle(order)
    np.testing.assert_array_equal(CENSUS.encode(data[columns].iloc[order]), encoded[order])
    whole = np.concatenate([CENSUS.encode(data.iloc[[position]]) for position in range(len(rows))])
    np.testing.assert_array_equal(whole, encoded)


def test_slices_cover_the_encoded_row() -> None:
    slices = CENSUS.column_slices()
    assert list(slices) == ["age", "job", "member", "hours", "sex"]
    assert [cell for part in slices.values() for cell in range(part.start, part.stop)] == list(
        range(CENSUS.input_width)
    )
    assert CENSUS.input_width == 2 + 4 + 2 + 1 + 2


def test_a_hand_encoded_row() -> None:
    rows = frame(age=["60", None], job=["cook", "pilot"], member=["yes", "?"], hours=["3", ""], sex=["m", None])
    assert CENSUS.encode(rows).tolist() == [
        [2, 0, 0, 1, 0, 0, 1, 0, 1.5, 0, 1],
        [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    ]
    assert CENSUS.unseen_counts(rows) == {"job": 1, "hours": 1, "sex": 1}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"age": ["1", "many"]}, "column 'age' is numeric, but line 3 holds 'many'"),
        ({"age": ["inf", "1"]}, "column 'age' is numeric, but line 2 holds 'inf'"),
        ({"age": ["1_000", "1"]}, "line 2 holds '1_000'"),
        ({"age": ["1,5", "1"]}, "line 2 holds '1,5'"),
        ({"age": ["x\n" * 100, "1"]}, "line 2 holds 'x\\nx"),
        (
            {"age": ["1", "1e300"]},
            "column 'age' is numeric, but line 3 holds '1e300'; write a number of at most 1e+100",
        ),
        ({"age": ["1", "1e50"]}, "column 'age', line 3: 1e+50 is too large for float32"),
        ({"member": ["yes", "perhaps"]}, "column 'member' is boolean, but line 3 holds 'perhaps'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(change: dict[str, list[str]], match: str) -> None:
    columns = {"age": ["1", "2"], "job": ["cook"] * 2, "member": ["y"] * 2, "hours": ["1"] * 2, "sex": ["m"] * 2}
    with pytest.raises(DatasetError, match=re.escape(match)) as caught:
        CENSUS.encode(frame(**{**columns, **change}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_missing_column_is_named_with_the_closest() -> None:
    with pytest.raises(DatasetError, match=r"has no column 'age' \(and 3 more\).*did you mean 'aeg'"):
        CENSUS.encode(frame(aeg=["1"], job=["cook"]))


def test_typed_columns_encode_like_their_text() -> None:
    typed = pd.DataFrame(
        {
            "age": [39.0, np.nan, 50.0],
            "job": pd.Categorical(["cook", None, "clerk"]),
            "member": pd.array([True, None, False], dtype="boolean"),
            "hours": pd.array([1, None, 3], dtype="Int64"),
            "sex": pd.array(["f", "m", None], dtype="string"),
        }
    )
    text = frame(
        age=["39", None, "50"],
        job=["cook", None, "clerk"],
        member=["True", None, "False"],
        hours=["1", None, "3"],
        sex=["f", "m", None],
    )
    np.testing.assert_array_equal(CENSUS.encode(data_from_frame(typed).frame), CENSUS.encode(text))
    plain = typed.assign(age=[1, 2, 3], member=[True, False, True], hours=np.array([1, 2, 3], dtype=np.uint8))
    assert CENSUS.encode(plain)[:, 6].tolist() == [1, 0, 1]
    with pytest.raises(DatasetError, match="column 'age' is numeric, but row 1 holds 'inf'"):
        CENSUS.encode(typed.assign(age=[1.0, np.inf, 2.0]))
    with pytest.raises(DatasetError, match="column 'member' is boolean, but row 2 holds '7'"):
        CENSUS.encode(typed.assign(member=[0, 1, 7]))


def test_labels() -> None:
    assert task_for(CENSUS).encode_labels(frame(income=["yes", None, " no "])).tolist() == [1, -1, 0]
    with pytest.raises(DatasetError, match=r"target 'income', line 3: 'maybe' is none of the classes.*'no', 'yes'"):
        task_for(CENSUS).encode_labels(frame(income=["yes", "maybe"]))
    with pytest.raises(DatasetError, match=r"no target column 'income'.*did you mean 'incom'"):
        task_for(CENSUS).encode_labels(frame(incom=["yes"]))
    nameless = CENSUS.model_copy(update={"target": None})
    with pytest.raises(DatasetError, match="--target"):
        task_for(nameless).encode_labels(frame(income=["yes"]))
    counted = numeric_schema(["a"], target="y", classes=["0", "1"])
    assert task_for(counted).encode_labels(pd.DataFrame({"y": [1.0, 0.0, np.nan]})).tolist() == [1, 0, -1]


def inferred(values: list[Any], dtype: Any = object) -> Feature:
    data = pd.DataFrame({"x": pd.Series(values, dtype=dtype), "y": (["a", "b"] * len(values))[: len(values)]})
    return infer_schema(data, target="y").features[0]


def test_kinds_are_inferred() -> None:
    assert inferred(["1", "2", "3", None]) == Feature(
        name="x", kind="numeric", mean=2.0, scale=math.sqrt(2 / 3), missing=True
    )
    assert inferred(["1", "NA", "3"]).kind == "numeric"
    assert inferred(["1", "NA", "3"]).missing
    assert inferred(["7", "7"]) == Feature(name="x", kind="numeric", mean=7.0, scale=1.0)
    assert inferred(["0.1"] * 7).scale == 1.0, "rounding error of the deviation is no scale"
    assert inferred(["0", "1"]).kind == "numeric"
    assert inferred(["Yes", "no", "YES", None]) == Feature(name="x", kind="boolean", missing=True)
    assert inferred(["t", "f"]).kind == "boolean"
    assert inferred(["yes", "true"]).categories == ("true", "yes")
    assert inferred(["yes", "no", "maybe"]).kind == "categorical"
    assert inferred(["yes", "yes"]).categories == ("yes",)
    assert inferred(["b", "a", "1", "?"]) == Feature(
        name="x", kind="categorical", categories=("1", "a", "b"), missing=True
    )
    assert inferred(["None", "NA"]).categories == ("NA", "None")
    assert inferred([None, None]) == Feature(name="x", kind="numeric", missing=True)
    assert inferred(["2020-01-01", "2020-01-02", "NA"]) == Feature(
        name="x", kind="date", mean=18262.5, scale=0.5, missing=True
    )
    assert inferred(["31/01/2020", "01/02/2020"]).kind == "categorical", "a date of another form is a text"
    assert inferred(["1,234", "12"]).mean == 623
    assert inferred(["1,23", "12"]).kind == "categorical"
    assert inferred([True, False], dtype=bool).kind == "boolean"
    assert inferred([1, 2], dtype="int8").kind == "numeric"
    assert inferred(["u", "v"], dtype="category").categories == ("u", "v")


def test_inference_standardises_what_it_encodes() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(50, 9, 500).astype(str), "y": rng.choice(["a", "b"], 500)}, dtype=object)
    encoded = infer_schema(data, target="y").encode(data)
    assert encoded.mean() == pytest.approx(0, abs=1e-6)
    assert encoded.std() == pytest.approx(1, abs=1e-6)


def test_inference_of_a_whole_schema() -> None:
    data = frame(id=["a", "b"], sex=["f", "m"], x=["1", "2"], y=["10", "9"])
    schema = infer_schema(data, target="y", sensitive=["sex"])
    assert [feature.name for feature in schema.features] == ["id", "sex", "x"]
    assert schema.classes == ("9", "10"), "numeric classes are sorted as numbers"
    assert schema.task == "binary"
    assert [feature.name for feature in infer_schema(data, target="y", features=["x"]).features] == ["x"]
    many = frame(x=["1", "2", "3"], y=["c", "a", "b"])
    assert infer_schema(many, target="y").task == "multiclass"
    assert infer_classes(many, "y") == ("a", "b", "c")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"target": "z"}, "has no target column 'z'"),
        ({"target": "y", "sensitive": ["sx"]}, "has no sensitive column 'sx'.*did you mean 'sex'"),
        ({"target": "y", "features": ["q"]}, "has no feature column 'q'"),
        ({"target": "y", "features": ["x", "y"]}, "the target 'y' is among the features"),
        ({"target": "y", "features": []}, "nothing to learn from"),
        ({"target": "one"}, "target 'one' must have from 2 to 2,000 classes, got 1"),
        ({"target": "text"}, "must have from 2 to 2,000 classes, got 2,001"),
        ({"target": "y"}, "column 'text' has 2,001 distinct texts.*drop the column"),
        (
            {"target": "y", "features": ["big"]},
            r"column 'big' is numeric, but line 2 holds '1e308'; write a number of at most 1e\+100",
        ),
    ],
)
def test_what_cannot_be_inferred(options: dict[str, Any], match: str) -> None:
    count = 2001
    data = frame(
        sex=["f"] * count,
        x=["1"] * count,
        one=["a"] * count,
        text=[f"t{number}" for number in range(count)],
        big=["1e308"] * count,
        y=["a", *["b"] * (count - 1)],
    )
    with pytest.raises(DatasetError, match=match):
        infer_schema(data, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"columns": []}, "features"),
        ({"columns": ["a", "a"]}, "a feature is named twice"),
        ({"columns": ["a", "y"]}, "the target 'y' is among the features"),
        ({"classes": ["0"]}, "classes"),
        ({"classes": ["0", "0"]}, "a class is named twice"),
    ],
)
def test_a_schema_that_contradicts_itself(options: dict[str, Any], match: str) -> None:
    arguments = {"columns": ["a"], "target": "y", "classes": ["0", "1"], **options}
    with pytest.raises(SchemaError, match=match) as caught:
        numeric_schema(arguments.pop("columns"), **arguments)
    assert "\n" not in str(caught.value)


def test_only_a_feature_can_be_immutable() -> None:
    Schema.model_validate({**CENSUS.model_dump(), "immutable": [CENSUS.features[0].name]})
    with pytest.raises(ValidationError, match="the immutable column 'nobody' is no feature"):
        Schema.model_validate({**CENSUS.model_dump(), "immutable": ["nobody"]})


def test_features_that_contradict_themselves() -> None:
    for wrong in (
        {"kind": "categorical"},
        {"kind": "numeric", "categories": ("a",)},
        {"kind": "categorical", "categories": ("a", "a")},
        {"kind": "numeric", "scale": 0},
        {"kind": "numeric", "mean": math.nan},
    ):
        with pytest.raises(ValidationError):
            Feature(name="x", **wrong)


def test_a_schema_survives_json() -> None:
    assert Schema.model_validate_json(CENSUS.model_dump_json()) == CENSUS
