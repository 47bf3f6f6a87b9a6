"""Models of one's own that read texts: pipelines with TfidfVectorizer, alone and beside other columns, and audits."""

from __future__ import annotations

import functools
import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import auditkit
from auditkit.auditors.data_quality.auditor import DataChecks
from auditkit.auditors.explainability.auditor import Explainability
from auditkit.auditors.fairness.identity_terms import IdentityTerms
from auditkit.auditors.fairness.proxies import ProxyColumns
from auditkit.auditors.performance.auditor import Performance
from auditkit.auditors.robustness.auditor import Robustness
from auditkit.auditors.weak_spots.auditor import WeakSpots
from auditkit.data.dataset import data_from_frame
from auditkit.engine.auditor import Auditor
from auditkit.errors import InputError
from auditkit.evidence.report import Outcome
from auditkit.models.capabilities import Refittable, SelfFitting
from auditkit.models.from_columns import Columns, applied, model_of
from auditkit.models.model import model_from_module
from auditkit.models.onnx import _column

WORDS = ("film", "story", "actor", "scene", "music", "plot", "camera", "sound")


@functools.cache
def reviews(count: int = 300, seed: int = 0) -> pd.DataFrame:
    """Different reviews that say something good or bad, ages, countries, a sensitive column, and a label."""
    rng = np.random.default_rng(seed)
    good = rng.random(count) < 0.5
    texts = [
        f"The {rng.choice(WORDS)} of part {number} is {rng.choice(['great', 'lovely'] if liked else ['awful', 'dull'])}"
        f", {rng.choice(['she', 'he'])} said."
        for number, liked in enumerate(good)
    ]
    age = rng.integers(18, 80, count)
    likes = np.where(good, 1.5, -1.5) + 0.03 * (age - 48) + rng.logistic(size=count) > 0
    return pd.DataFrame(
        {
            "review": texts,
            "age": age,
            "country": rng.choice(["DE", "FR"], count),
            "sex": rng.choice(["F", "M"], count),
            "liked": np.where(likes, "yes", "no"),
        }
    )


@functools.cache
def of_texts() -> Pipeline:
    frame = reviews()
    return make_pipeline(TfidfVectorizer(lowercase=False), LogisticRegression(C=10)).fit(frame.review, frame.liked)


@functools.cache
def of_columns() -> Pipeline:
    frame = reviews()
    columns = ColumnTransformer(
        [
            ("t", TfidfVectorizer(), "review"),
            ("a", StandardScaler(), ["age"]),
            ("c", OneHotEncoder(handle_unknown="ignore"), ["country"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression(C=10)).fit(frame[["review", "age", "country"]], frame.liked)


def columns_of(frame: pd.DataFrame, **more: object) -> Columns:
    data = data_from_frame(frame)
    given = {"target": "liked", "sensitive": ("sex",), **more}
    return Columns(read_rows=lambda: data, read_training=lambda: None, **given)  # type: ignore[arg-type]


def outcome_of(report: auditkit.Report, name: str) -> Outcome:
    found = next(outcome for outcome in report.outcomes if outcome.auditor == name)
    assert found.error is None, found.error
    return found


def values_of(outcome: Outcome, id: str) -> dict[str, float]:
    found = next(one for one in outcome.measurements if one.id == id)
    return {part.group.text: part.value or 0.0 for part in found.slices}


@functools.cache
def audited(which: str) -> auditkit.Report:
    model = {"texts": of_texts, "columns": of_columns}[which]()
    auditors: list[Auditor] = [
        DataChecks(),
        Explainability(rows=60),
        Robustness(rows=60),
        ProxyColumns(),
        WeakSpots(),
        IdentityTerms(rows=50),
    ]
    return auditkit.audit(model, reviews(), target="liked", sensitive=["sex"], auditors=auditors)


def test_the_model_is_given_the_texts_as_they_are() -> None:
    frame = reviews()
    for model, read in ((of_texts(), "review"), (of_columns(), ["review", "age", "country"])):
        made = columns_of(frame).predictor(model, "pipeline")
        cells = made.schema.encode(frame)
        said = made.module(torch.from_numpy(cells)).numpy()
        np.testing.assert_allclose(said, model.predict_proba(frame[read]), atol=1e-9)
        assert (
            "column review is free text, and no category, since it holds 300 different texts. --text" in made.notes[1]
        )


def test_texts_that_no_row_holds_are_read_as_well() -> None:
    made = columns_of(reviews()).predictor(of_columns(), "pipeline")
    new = pd.DataFrame({"review": ["Great!  great, GREAT"], "age": [30], "country": ["DE"]})
    said = made.module(torch.from_numpy(made.schema.encode(new))).numpy()
    np.testing.assert_allclose(said, of_columns().predict_proba(new), atol=1e-9)


def test_a_model_of_one_text_finds_its_column_or_asks() -> None:
    two = reviews().assign(title=[f"a title of five words {number}" for number in range(300)])
    with pytest.raises(InputError, match=r"2 columns of free text \(review, title\); pass --text COLUMN"):
        columns_of(two).predictor(of_texts(), "pipeline")
    made = columns_of(two, text="title").predictor(of_texts(), "pipeline")
    assert [feature.name for feature in made.schema.features] == ["title"]
    assert "as --text says" in made.notes[1]
    with pytest.raises(InputError, match="no column of free text; pass --text COLUMN"):
        columns_of(reviews().drop(columns="review")).predictor(of_texts(), "pipeline")
    with pytest.raises(InputError, match="text: the model reads no column 'title'"):
        columns_of(two, text="title").predictor(of_columns(), "pipeline")


def test_a_search_over_settings_reads_texts_too() -> None:
    frame = reviews()
    search = GridSearchCV(make_pipeline(CountVectorizer(), LogisticRegression()), {"countvectorizer__min_df": [1, 2]})
    search.fit(frame.review, frame.liked)
    made = columns_of(frame).predictor(search, "search")
    said = made.module(torch.from_numpy(made.schema.encode(frame))).numpy()
    np.testing.assert_allclose(said, search.predict_proba(frame.review), atol=1e-9)


def test_a_fitted_vectorizer_is_the_preprocessing_of_a_network() -> None:
    frame = reviews()
    vectorizer = TfidfVectorizer().fit(frame.review)
    network = nn.Linear(len(vectorizer.vocabulary_), 2)
    made = columns_of(frame).preprocessed(network, vectorizer, "TfidfVectorizer")
    words = torch.from_numpy(vectorizer.transform(frame.review).toarray()).float()
    torch.testing.assert_close(made.module(torch.from_numpy(made.schema.encode(frame))), network(words))
    assert made.notes[0] == "The preprocessing TfidfVectorizer reads the column review as it is in the data."


def test_texts_of_a_pandas_categorical_stay_one() -> None:
    frame = reviews().assign(review=lambda rows: rows.review.astype("category"))
    seen: list[object] = []

    def look(part: pd.DataFrame) -> np.ndarray:
        seen.append(part["review"].dtype)
        return np.asarray(part["review"].str.len() + part["age"], dtype=float) / 1000

    made = columns_of(frame).predictor(look, "look")
    said = made.module(torch.from_numpy(made.schema.encode(frame)))[:, 0].numpy()
    assert seen[-1] == frame.review.dtype
    np.testing.assert_allclose(said, look(frame), atol=1e-6)


def test_onnx_is_fed_the_empty_text_where_one_is_missing() -> None:
    frame = pd.DataFrame({"review": ["good", np.nan], "age": [1.0, 2.0]})
    nodes = SimpleNamespace(name="review", type="tensor(string)"), SimpleNamespace(name="age", type="tensor(float)")
    texts, numbers = (_column(frame, node) for node in nodes)
    assert texts.tolist() == [["good"], [""]]
    assert numbers.tolist() == [[1.0], [2.0]]


def test_few_short_texts_are_texts_where_the_user_says_so() -> None:
    frame = reviews().iloc[:40].assign(review=lambda rows: rows.review.str.slice(4, 20))
    features = columns_of(frame, text="review").predictor(of_columns(), "pipeline").schema.features
    assert [feature.kind for feature in features] == ["text", "numeric", "categorical"]


def test_a_gap_that_the_model_cannot_read_is_named_with_what_to_do() -> None:
    frame = reviews().copy()
    frame.loc[[3, 5], "review"] = None
    with pytest.raises(InputError, match=r'2 of 300 rows.*where review is missing.*--where "review is not missing"'):
        auditkit.audit(of_texts(), frame, target="liked", auditors=[Performance()])
    said: Any = lambda part: of_texts().predict_proba(part["review"])  # noqa: E731
    rows = auditkit.audit(
        said, frame, target="liked", auditors=[Performance()],
        where="review is not missing",
    )  # fmt: skip
    accuracy = rows.measurement("performance.accuracy")
    assert accuracy is not None
    assert accuracy.count == 298


def test_blanks_of_a_frame_are_given_as_blanks_and_counted_as_missing() -> None:
    frame = reviews().copy()
    frame.loc[[3, 5], "review"] = ""
    made = columns_of(frame).predictor(of_columns(), "pipeline")
    said = made.module(torch.from_numpy(made.schema.encode(frame))).numpy()
    np.testing.assert_allclose(said, of_columns().predict_proba(frame), atol=1e-9)
    assert "2 of 300 rows have no text" in made.notes[1]


class Bag(nn.Module):
    """Two logits of the mean embedding of token ids."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.embedding(ids).mean(dim=1))
        return found


def lengths(frame: pd.DataFrame) -> torch.Tensor:
    """Token ids by a tokenizer of one's own: the length of each word."""
    rows = [[min(len(word), 49) for word in text.split()][:12] for text in frame["review"]]
    return torch.tensor([row + [0] * (12 - len(row)) for row in rows])


def test_a_network_with_a_tokenizer_of_its_own_is_explained_by_leaving_words_out() -> None:
    torch.manual_seed(0)
    report = auditkit.audit(
        Bag(), reviews(), target="liked", preprocess=lengths, auditors=[Explainability(rows=30)],
        output="logits", classes=["no", "yes"],
    )  # fmt: skip
    outcome = outcome_of(report, "explainability")
    assert outcome.reason is None
    assert "needs gradients" in outcome.notes[0]
    assert values_of(outcome, "explainability.word_attribution_share")


def test_exact_shapley_values_are_those_by_hand() -> None:
    model = of_columns()
    report = auditkit.audit(model, reviews(), target="liked", auditors=[Explainability(rows=300)])
    shares = values_of(outcome_of(report, "explainability"), "explainability.attribution_share")
    by_hand = np.abs(shapley_by_hand(model, reviews())).mean(axis=0)
    expected = dict(zip(("review", "age", "country"), by_hand / by_hand.sum(), strict=True))
    assert shares == pytest.approx(expected, abs=1e-4)


def shapley_by_hand(model: Pipeline, frame: pd.DataFrame) -> np.ndarray:
    """Shapley values of the probability of yes against an empty text, the mean age and the more frequent country."""
    names = ["review", "age", "country"]
    absent = {"review": "", "age": frame.age.mean(), "country": frame.country.mode()[0]}

    def value(known: tuple[str, ...]) -> np.ndarray:
        rows = frame[names].assign(**{name: absent[name] for name in names if name not in known})
        said: np.ndarray = model.predict_proba(rows)[:, 1]
        return said

    found = np.zeros((len(frame), 3))
    for place, name in enumerate(names):
        others = [one for one in names if one != name]
        for size in range(3):
            weight = math.factorial(size) * math.factorial(2 - size) / math.factorial(3)
            for known in itertools.combinations(others, size):
                found[:, place] += weight * (value((*known, name)) - value(known))
    return found


def test_an_audit_of_columns_leaves_texts_out_where_they_are_no_values_and_says_so() -> None:
    report = audited("columns")
    data, explained = outcome_of(report, "data"), outcome_of(report, "explainability")
    assert "review" not in values_of(data, "data.single_column_roc_auc")
    assert any("The texts in review" in note for note in data.notes)
    assert any("review" in note and "too many different texts" in note for note in outcome_of(report, "proxies").notes)
    assert any("Not searched" in note and "review" in note for note in outcome_of(report, "weak_spots").notes)
    facts = [row for exhibit in explained.exhibits if exhibit.kind == "facts" for row in exhibit.rows]
    assert ("Taken as unchangeable", "sex, review") in facts or ("Taken as unchangeable", "review") in facts
    assert any("the empty text in review" in str(what) for _, what in facts)
    reason = outcome_of(report, "identity_terms").reason
    assert reason is not None
    assert "where a text is all that the model reads" in reason


def test_texts_beside_columns_are_misspelt_and_their_words_left_out() -> None:
    outcome = outcome_of(audited("columns"), "robustness")
    values = {one.id: one.value for one in outcome.measurements if not one.by}
    assert values["robustness.dropped_words_flip_rate"] is not None
    assert values["robustness.capitals_flip_rate"] == 0, "the vectorizer reads lower case"
    assert values["robustness.no_answer_rate"] == 0


def test_an_audit_of_texts_alone_explains_words_and_exchanges_them() -> None:
    report = audited("texts")
    explained = outcome_of(report, "explainability")
    assert not [one for one in explained.exhibits if one.kind == "table" and not one.rows], "no table is empty"
    toward = values_of(explained, "explainability.word_attribution")
    assert toward["great"] > 0 > toward["awful"]
    unknown = next(one for one in explained.measurements if one.id == "explainability.unknown_word_rate")
    assert unknown.reason is not None
    assert "a tokenizer of its own" in unknown.reason
    assert values_of(outcome_of(report, "identity_terms"), "identity_terms.sentence_score_difference")
    flips = {one.id: one.value for one in outcome_of(report, "robustness").measurements if not one.by}
    assert flips["robustness.capitals_flip_rate"] > 0, "this vectorizer reads capitals as other words"  # type: ignore[operator]


@pytest.mark.parametrize("which", ["texts", "columns"])
def test_no_text_of_the_data_stands_in_the_record(which: str) -> None:
    record = audited(which).model_dump_json()
    assert not [text for text in reviews().review if text in record]


def test_rows_of_texts_are_compared_by_their_words() -> None:
    made = columns_of(reviews()).predictor(of_columns(), "pipeline")
    model = model_of(made, name="pipeline", kind="estimator", trust="-")
    rows = reviews()[["review", "age", "country"]].iloc[[0, 0, 1]].assign(age=30, country="DE")
    one, same, other = model.modality.comparable(rows)
    assert np.linalg.norm(one - same) == 0 < np.linalg.norm(one - other)


def test_shadow_models_are_refitted_and_retrained_on_texts() -> None:
    frame = reviews()
    made = columns_of(frame).predictor(of_texts(), "pipeline")
    model = model_of(made, name="pipeline", kind="estimator", trust="-")
    able = model.capability(SelfFitting)
    assert able is not None
    inputs = made.schema.encode(frame)
    again = able.refit(inputs, (frame.liked == "yes").to_numpy().astype(np.int64), seed=1)
    torch.testing.assert_close(again(torch.from_numpy(inputs)), made.module(torch.from_numpy(inputs)))
    behind = columns_of(frame).preprocessed(Bag(), lengths, "lengths")
    network = applied(model_from_module(Bag(), behind.schema), behind, trust="-").capability(Refittable)
    assert network is not None
    fresh = network.fresh(0)
    assert fresh(torch.from_numpy(network.encoded(behind.schema.encode(frame)))).shape == (300, 2)
