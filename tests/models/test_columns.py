"""Models of raw columns: what a network, an estimator or a function says of a data frame, and of its encoded rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import auditkit
from auditkit.data.dataset import Data, data_from_frame, read_data
from auditkit.errors import InputError
from auditkit.models.columns import columns_read, decoder_of
from auditkit.models.from_columns import Columns, applied, model_of
from auditkit.models.model import Model, model_from_module


def people(count: int = 400, seed: int = 0) -> pd.DataFrame:
    """People with a whole number, a fraction, a category with gaps, a yes and no, a date, and a label."""
    rng = np.random.default_rng(seed)
    job = rng.choice(["clerk", "nurse", "pilot"], count).astype(object)
    age = rng.integers(18, 80, count)
    pay = np.round(rng.normal(30, 8, count), 2)
    score = 0.06 * (age - 45) + 0.1 * (pay - 30) + np.where(job == "pilot", 1.0, -0.5)
    job[::17] = None
    return pd.DataFrame(
        {
            "age": age,
            "pay": pay,
            "job": job,
            "member": rng.choice(["yes", "no"], count),
            "joined": pd.Series(pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, count), unit="D"))
            .dt.strftime("%Y-%m-%d")
            .to_numpy(),
            "sex": rng.choice(["F", "M"], count),
            "ok": np.where(score + rng.logistic(size=count) > 0, "good", "bad"),
        }
    )


def in_file(frame: pd.DataFrame, folder: Path) -> Data:
    frame.to_csv(folder / "people.csv", index=False)
    return read_data(folder / "people.csv")


def columns_of(data: Data, **more: object) -> Columns:
    given = {"target": "ok", "sensitive": ("sex",), **more}
    return Columns(read_rows=lambda: data, read_training=lambda: None, **given)  # type: ignore[arg-type]


def test_columns_come_back_as_pandas_reads_them(tmp_path: Path) -> None:
    frame = people()
    for data in (in_file(frame, tmp_path), data_from_frame(frame)):
        names = [name for name in frame.columns if name != "ok"]
        decoder = decoder_of([data.frame], names)
        columns = columns_of(data).predictor(lambda rows: rows["age"] * 0.01, "half")
        cells = columns.schema.model_copy(update={"features": decoder.features}).encode(data.frame)
        back = decoder.frame(cells.astype(np.float64))
        again = pd.read_csv(tmp_path / "people.csv")
        for name in names:
            assert back[name].isna().tolist() == again[name].isna().tolist()
            if name == "pay":
                np.testing.assert_allclose(back[name], again[name], rtol=1e-7)
            else:
                assert back[name].dropna().tolist() == again[name].dropna().tolist(), name
        assert back["age"].dtype == np.int64


def test_the_columns_that_a_function_reads_are_found() -> None:
    frame = people()

    def read(rows: pd.DataFrame) -> np.ndarray:
        return rows["age"].to_numpy() + (rows["job"] == "pilot")

    assert columns_read(read, frame, ("age", "pay", "job", "sex"), what="preprocess f") == ("age", "job")
    with pytest.raises(InputError, match=r"preprocess f: KeyError: 'wage' \(given the columns age, pay\)"):
        columns_read(lambda rows: rows["wage"], frame, ("age", "pay"), what="preprocess f")
    with pytest.raises(InputError, match="reads none of the columns"):
        columns_read(lambda rows: np.zeros(len(rows)), frame, ("age", "pay"), what="preprocess f")


class TwoInputs(nn.Module):
    """Codes of jobs and standardised numbers, each an input of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = nn.Embedding(4, 3)
        self.head = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, jobs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.jobs(jobs), numbers], dim=1))  # type: ignore[no-any-return]  # a call of a module, or of a library, is Any


def split(frame: pd.DataFrame) -> dict[str, torch.Tensor]:
    codes = frame["job"].map({"clerk": 1, "nurse": 2, "pilot": 3}).fillna(0).to_numpy(dtype=np.int64)
    numbers = (frame[["age", "pay"]].to_numpy(dtype=np.float64) - [49, 30]) / [18, 8]
    return {"jobs": torch.from_numpy(codes), "numbers": torch.from_numpy(numbers)}


def two_inputs(data: Data) -> Model:
    torch.manual_seed(0)
    columns = columns_of(data)
    opened = model_from_module(TwoInputs(), columns.schema(split, "split"))
    return applied(opened, columns.preprocessed(opened.module, split, "split"), trust="split was run")


def test_a_network_of_two_inputs_behind_preprocessing(tmp_path: Path) -> None:
    data = in_file(people(), tmp_path)
    model = two_inputs(data)
    assert [feature.name for feature in model.schema.features] == ["age", "pay", "job"]
    raw = split(pd.read_csv(tmp_path / "people.csv"))
    with torch.no_grad():
        network = model.module.predictor.network  # type: ignore[union-attr]
        expected = network(raw["jobs"], raw["numbers"].float()).softmax(dim=1)[:, 1]  # type: ignore[operator]  # torch types what a module holds as Tensor | Module
    found = model.predict(model.schema.encode(data.frame))
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)


def test_what_has_no_answer_is_told_row_by_row(tmp_path: Path) -> None:
    def strict(frame: pd.DataFrame) -> np.ndarray:
        return np.array([{"clerk": 0.1, "nurse": 0.2, "pilot": 0.7}[job] for job in frame["job"]])

    frame = people()
    frame = frame[frame["job"].notna()]
    data = data_from_frame(frame)
    model = model_of(columns_of(data).predictor(strict, "strict"), name="strict", kind="function", trust="-")
    cells = torch.from_numpy(model.schema.encode(data.frame))
    whole = model.module(cells)
    assert torch.isfinite(whole).all()
    cells[::3] = 0
    part = model.module(cells)
    assert torch.isnan(part[::3]).all()
    rest = np.arange(len(cells)) % 3 > 0
    assert torch.equal(part[rest], whole[rest])


@pytest.fixture
def pipeline() -> object:
    encode = ColumnTransformer(
        [("n", StandardScaler(), ["age", "pay"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["job", "sex"])]
    )
    return make_pipeline(encode, LogisticRegression())


def test_a_pipeline_says_what_it_says_of_the_frame(tmp_path: Path, pipeline: LogisticRegression) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    frame = pd.read_csv(tmp_path / "people.csv")
    pipeline.fit(frame.drop(columns="ok"), frame["ok"])
    data = read_data(tmp_path / "people.csv")
    for classes, column in ((None, 1), (("good", "bad"), 0)):
        made = columns_of(data, classes=classes).predictor(pipeline, "pipeline")
        model = model_of(made, name="pipeline", kind="estimator", trust="-")
        found = model.predict(model.schema.encode(data.frame))
        np.testing.assert_allclose(found.scores, pipeline.predict_proba(frame)[:, column], atol=1e-6)
    with pytest.raises(InputError, match="classes must be those of the model, bad,good"):
        columns_of(data, classes=("a", "b")).predictor(pipeline, "pipeline")


def test_estimators_of_every_kind(tmp_path: Path) -> None:
    frame = people()
    numbers = frame[["age", "pay", "ok"]]
    data = data_from_frame(numbers)
    forest = RandomForestClassifier(n_estimators=5, random_state=0).fit(frame[["age", "pay"]].to_numpy(), frame["ok"])
    made = columns_of(data, sensitive=()).predictor(forest, "forest")
    cells = made.schema.encode(data.frame)
    expected = forest.predict_proba(frame[["age", "pay"]].to_numpy())[:, 1]
    np.testing.assert_allclose(made.module(torch.from_numpy(cells))[:, 1], expected)
    line = LinearRegression().fit(frame[["age"]], frame["pay"])
    made = columns_of(data_from_frame(frame[["age", "pay"]]), target="pay", sensitive=()).predictor(line, "line")
    assert made.schema.task == "regression"
    with pytest.raises(InputError, match=r"of 2 columns, and the data have 1 that are .*the last step of several"):
        columns_of(data_from_frame(frame[["age", "ok"]]), sensitive=()).predictor(forest, "forest")


def test_what_is_given_where_a_category_is_missing_is_said_and_can_be_named(tmp_path: Path) -> None:
    """A pipeline fitted to a file as pandas reads it knows '?' as a category, and an empty cell as none."""
    frame = pd.DataFrame({"job": ["a", "?", "b", "?"] * 20, "pay": range(80), "ok": [1, 0] * 40})
    frame["kind"] = pd.Categorical(frame["job"])
    words = OneHotEncoder(handle_unknown="ignore")
    encode = ColumnTransformer([("words", words, ["job", "kind"]), ("numbers", StandardScaler(), ["pay"])])
    pipeline = make_pipeline(encode, LogisticRegression()).fit(frame[["job", "kind", "pay"]], frame["ok"])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    truth = pipeline.predict_proba(frame)[:, 1]
    for data in (read_data(tmp_path / "rows.csv"), data_from_frame(frame)):
        for given, error, said in (
            ("?", (0, 1e-6), "40 rows have no value, or '?', in job, kind: the model is given '?' there."),
            (None, (0.1, 1), "40 rows have no value, or '?', in job, kind: the model is given NaN there. If it was"),
        ):
            made = columns_of(data, sensitive=(), missing_as=given).predictor(pipeline, "p")
            cells = torch.from_numpy(made.schema.encode(data.frame))
            apart = np.abs(made.module(cells).numpy()[:, 1] - truth).max()
            assert error[0] <= apart <= error[1]
            assert str(made.notes[1]).startswith(said)
    with pytest.raises(InputError, match="missing_as is for models that read the data's columns by themselves"):
        auditkit.audit(nn.Linear(1, 2), frame[["pay", "ok"]], target="ok", missing_as="?")
