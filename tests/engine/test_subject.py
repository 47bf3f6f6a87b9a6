from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.data.dataset import Data, data_from_frame, read_data
from auditkit.engine.load import load_subject
from auditkit.engine.subject import Subject
from auditkit.errors import DatasetError, InputError
from auditkit.models.formats.opening import open_model
from auditkit.models.recorded import Decisions, Recorded
from auditkit.schema.infer import numeric_schema


@pytest.fixture
def model(model_file: Any) -> Any:
    return open_model(model_file)


def test_a_subject_of_a_file(model: Any, tmp_path: Path, data: Any) -> None:
    path = tmp_path / "people.csv"
    data.frame[["sex", "income", "job", "member", "age"]].to_csv(path, index=False)
    subject = load_subject(model, read_data(path), seed=5, device="cpu")
    assert subject.sensitive == ("sex",)
    assert subject.notes == ()
    assert subject.row_count_read == len(subject.labels) == 60
    assert subject.inputs is subject.inputs
    assert subject.predictions is subject.predictions
    np.testing.assert_array_equal(subject.inputs, model.schema.encode(data.frame))
    with torch.no_grad():
        logits = model.module(torch.from_numpy(subject.inputs))
    np.testing.assert_allclose(subject.predictions.probabilities, torch.softmax(logits, 1).numpy(), rtol=1e-5)
    assert (subject.conf_level, subject.min_group, subject.seed, subject.device.type) == (0.95, 10, 5, "cpu")
    assert (subject.training, subject.training_inputs, subject.training_labels) == (None, None, None)


def test_what_was_dropped_sampled_and_unseen_is_said(model: Any, data: Any) -> None:
    frame = data.frame.copy()
    frame.loc[:4, "income"] = None
    frame.loc[10:, "job"] = "astronaut"
    frame.loc[12, "age"] = None
    training = data_from_frame(frame)
    subject = load_subject(model, data_from_frame(frame), training=training, limit=40, seed=1, device="cpu")
    assert subject.row_count_read == subject.training_row_count_read == 60
    assert len(subject.labels) == len(subject.data.frame) == len(subject.inputs) == 40
    assert subject.training_labels is not None
    assert subject.training_inputs is not None
    assert len(subject.training_labels) == len(subject.training_inputs) == 55
    known = int(subject.has_labels.sum())
    assert len(subject.labelled.labels) == known < 40
    assert subject.notes[0] == "A sample of 40 of 60 rows is audited, drawn with seed 1."
    assert subject.notes[1].startswith(f"{known} of 40 rows have a label in column income: ")
    assert subject.notes[2] == "Training data: 5 of 60 rows have no label in column income and were left out."
    assert any(re.match(r"Column job: \d\d of 40 rows hold a category", note) for note in subject.notes)
    same = load_subject(model, data_from_frame(frame), limit=40, seed=1, device="cpu")
    other = load_subject(model, data_from_frame(frame), limit=40, seed=2, device="cpu")
    assert list(same.data.frame.index) == list(subject.data.frame.index)
    assert list(other.data.frame.index) != list(subject.data.frame.index)
    assert load_subject(model, data, limit=1000, device="cpu").notes == ()


def groups_slowly(frame: pd.DataFrame, columns: tuple[str, ...]) -> Any:
    keys = [
        tuple("(missing)" if frame[c].iloc[i] is None else frame[c].iloc[i] for c in columns) for i in range(len(frame))
    ]
    names = tuple(sorted(set(keys)))
    return names, [names.index(key) for key in keys]


@pytest.mark.parametrize("columns", [("sex",), ("job",), ("sex", "job"), ("job", "sex"), ("sex", "job", "member")])
def test_groups_and_their_intersections(model: Any, data: Any, columns: tuple[Any, ...]) -> None:
    frame = data.frame.copy()
    frame.loc[[3, 7], "sex"] = None
    frame.loc[[7, 9], "job"] = "NA"
    subject = load_subject(model, data_from_frame(frame), sensitive=["sex", "sex", "job"], device="cpu")
    assert subject.sensitive == ("sex", "job")
    names, codes = subject.group_codes(columns)
    expected_names, expected_codes = groups_slowly(subject.data.frame, columns)
    assert names == expected_names
    assert codes.tolist() == expected_codes
    assert codes.dtype == np.int64
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = load_subject(model, data_from_frame(frame.iloc[order]), sensitive=["sex", "job"], device="cpu")
    assert shuffled.group_codes(columns)[0] == names
    assert shuffled.group_codes(columns)[1].tolist() == codes[order].tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 130), min_size=1, max_size=4), st.integers(0, 1000))
def test_any_number_of_groups_is_named_as_a_loop_would(sizes: Any, seed: int) -> None:
    """Up to 131 groups a column and four columns: codes of every width, and more intersections than are tabled."""
    draws = np.random.default_rng(seed)
    drawn = {f"c{place}": draws.integers(-1, size, 300) for place, size in enumerate(sizes)}
    frame = pd.DataFrame({name: [f"v{code}" if code >= 0 else None for code in codes] for name, codes in drawn.items()})
    schema = numeric_schema(["x"], target="y", classes=("0", "1"))
    subject = Subject(
        audited=Recorded(schema, Decisions(prediction="x")),
        data=data_from_frame(frame),
        labels=np.zeros(300, dtype=np.int64),
        row_count_read=300,
    )
    names, codes = subject.group_codes(tuple(drawn))
    keys = [
        tuple(value or "(missing)" for value in row) for row in frame.astype(object).where(frame.notna(), None).values
    ]
    assert [names[code] for code in codes] == keys
    assert list(names) == sorted(set(keys))


def test_no_columns_make_one_group(model: Any, data: Any) -> None:
    subject = load_subject(model, data, sensitive=[], device="cpu")
    assert subject.sensitive == ()
    names, codes = subject.group_codes(())
    assert names == ((),)
    assert not codes.any()


def test_a_sensitive_column_need_not_be_a_feature(model: Any, data: Any) -> None:
    wide = data_from_frame(data.frame.assign(town=["A", "B"] * 30))
    assert load_subject(model, wide, sensitive=["town"], device="cpu").group_codes(("town",))[0] == (("A",), ("B",))


@pytest.mark.parametrize(
    ("change", "options", "error", "match"),
    [
        (lambda f: f, {"sensitive": ["sx"]}, InputError, "sensitive column 'sx' is not in dataset people.csv.*'sex'"),
        (lambda f: f.drop(columns="sex"), {}, InputError, "sensitive column 'sex' is not in dataset people.csv"),
        (
            lambda f: f.rename(columns={"income": "incom"}),
            {"target": "income"},
            DatasetError,
            "dataset people.csv: has no target column",
        ),
        (lambda f: f.drop(columns="age"), {}, DatasetError, "dataset people.csv: has no column 'age'"),
        (lambda f: f.assign(age="old"), {}, DatasetError, "dataset people.csv: column 'age' is numeric, but row 0"),
        (lambda f: f.assign(income="huge"), {}, DatasetError, "dataset people.csv: target 'income', row 0: 'huge'"),
        (lambda f: f.assign(income=None), {"target": "income"}, DatasetError, "dataset people.csv: no row has a label"),
        (lambda f: f, {"limit": 0}, InputError, "limit must be at least 1, got 0"),
        (lambda f: f, {"device": "tpu"}, InputError, "device must be"),
        (
            lambda f: pd.concat([f] * 2).assign(zip=[str(i) for i in range(120)]),
            {"sensitive": ["zip"]},
            InputError,
            "sensitive column 'zip' looks continuous: 120 different numbers",
        ),
    ],
)
def test_what_does_not_fit(model: Any, data: Any, change: Any, options: dict[str, Any], error: Any, match: str) -> None:
    changed = dataclasses.replace(data_from_frame(change(data.frame)), path="people.csv")
    with pytest.raises(error, match=match) as caught:
        load_subject(model, changed, **{"device": "cpu", **options})
    assert "\n" not in str(caught.value)


def test_training_data_that_does_not_fit_is_named(model: Any, data: Any) -> None:
    training = Data(frame=data.frame.assign(age="old"), path="train.csv", sha256=None)
    with pytest.raises(DatasetError, match=r"dataset train.csv: column 'age' is numeric"):
        load_subject(model, data, training=training, device="cpu")
