"""Attributions computed once more by Captum: they agree, and a planted mistake is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import captum
import numpy as np
import pandas as pd
import pytest
import torch
from languages import gpt2, sentences
from torch import nn

import auditkit
from auditkit.auditors.explainability import methods_image, methods_text, tables
from auditkit.auditors.explainability.cross_check import (
    COLUMNS,
    check_columns,
    check_segments,
    compared,
    segments_left_out,
)
from auditkit.auditors.explainability.gradients import integrated_gradients
from auditkit.auditors.explainability.methods_table import Explanation, attribute_columns
from auditkit.auditors.explainability.segments import SegmentedRows
from auditkit.auditors.explainability.target_function import ExplanationInput, TargetFunction
from auditkit.engine.work import Work
from auditkit.evidence.measurement import Facts
from auditkit.modalities.image import squares, without_squares
from auditkit.modalities.text import without_words
from auditkit.models.architectures import build
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.tasks.base import task_for

CPU = torch.device("cpu")
WORK = Work(operations=1000)
TITLE = "Checked against Captum"


def explained(decision: Callable[[torch.Tensor], torch.Tensor], columns: dict[str, slice]) -> ExplanationInput:
    rng = np.random.default_rng(0)
    width = max(cells.stop for cells in columns.values())
    inputs, others = (rng.normal(size=(count, width)).astype(np.float32) for count in (60, 30))
    return ExplanationInput(
        decision=lambda rows, _: decision(rows),
        inputs=inputs,
        predicted=np.zeros(60, dtype=np.int64),
        baseline=rng.normal(size=width).astype(np.float32),
        columns=columns,
        device=CPU,
        others=others,
    )


def cells(width: int) -> dict[str, slice]:
    return {f"c{place}": slice(place, place + 1) for place in range(width)}


def network(width: int, steepness: float = 1) -> Callable[[torch.Tensor], torch.Tensor]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, 1))
    return lambda rows: module(steepness * rows)[:, 0]


def given(method: str, columns: dict[str, slice]) -> Explanation:
    width = max(part.stop for part in columns.values())
    return attribute_columns(method, explained(network(width), columns), tolerance=0.005, seed=3)


def rows_of(facts: Facts) -> dict[str, str]:
    assert facts.title == TITLE
    return dict(facts.rows)


ONE_HOT = {"a": slice(0, 1), "b": slice(1, 4), "c": slice(4, 5), "d": slice(5, 7)}


@pytest.mark.parametrize("method", COLUMNS)
@pytest.mark.parametrize("columns", [cells(7), ONE_HOT], ids=["cells", "one-hot"])
def test_every_method_over_columns_is_captums(method: str, columns: dict[str, slice]) -> None:
    found = rows_of(check_columns(given(method, columns), WORK))
    count = 5 * len(columns)
    assert found["Attributions that agree"] == f"{count} of {count}, in 5 rows drawn with seed 3"
    assert found["Captum"] == captum.__version__
    assert float(found["Largest difference"].partition(",")[0]) < 1e-5


def test_a_drawn_design_of_coalitions_and_a_single_column_are_captums() -> None:
    wide, single = given("kernel_shap", cells(14)), given("kernel_shap", cells(1))
    assert wide.passes == 1024  # fewer than all 16,384
    # 4,096 coalitions at most: four rows.
    assert rows_of(check_columns(wide, WORK))["Attributions that agree"] == "56 of 56, in 4 rows drawn with seed 3"
    assert rows_of(check_columns(single, WORK))["Attributions that agree"].startswith("5 of 5")


def tree(rows: torch.Tensor) -> torch.Tensor:
    return (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).double()


def logistic(rows: torch.Tensor) -> torch.Tensor:
    """Return a probability that rests on all columns a little."""
    return torch.sigmoid(0.1 * rows.double().sum(dim=1))


@pytest.mark.parametrize("width", [30, 60, 300])
@pytest.mark.parametrize("model", [tree, logistic])
def test_a_wide_model_is_explained_as_by_captum_which_takes_32_bits(width: int, model: Any) -> None:
    wide = attribute_columns("kernel_shap", explained(model, cells(width)), tolerance=0.005, seed=3)
    found = rows_of(check_columns(wide, WORK))
    agreeing, _, rest = found["Attributions that agree"].partition(" of ")
    assert rest == f"{agreeing}, in 4 rows drawn with seed 3"
    assert float(found["Largest difference"].partition(",")[0]) < 1e-6


@pytest.mark.parametrize(
    "width", [12, pytest.param(13, marks=pytest.mark.slow), pytest.param(14, marks=pytest.mark.slow)]
)
def test_exact_shapley_values_of_many_columns_are_captums_in_one_row(width: int) -> None:
    right = given("shapley", cells(width))
    assert right.passes == 2**width
    found = rows_of(check_columns(right, WORK))
    assert found["Attributions that agree"] == f"{width} of {width}, in the 1 row drawn with seed 3"
    with pytest.raises(ArithmeticError, match=f"of {width} attributions otherwise"):
        check_columns(replace(right, by_column=right.by_column * 1.01), WORK)


@pytest.mark.parametrize("method", COLUMNS)
@pytest.mark.parametrize(
    "mistake",
    [lambda by_column: by_column * 1.01, lambda by_column: -by_column, lambda by_column: by_column[:, ::-1]],
    ids=["one per cent", "sign", "columns turned round"],
)
def test_a_planted_mistake_is_an_error(method: str, mistake: object) -> None:
    right = given(method, cells(4))
    with pytest.raises(ArithmeticError, match=r"Captum [\d.]+ computes \d+ of 20 attributions otherwise, that of 'c"):
        check_columns(replace(right, by_column=mistake(right.by_column)), WORK)  # type: ignore[operator]


def test_a_number_that_is_not_finite_is_an_error() -> None:
    right = given("integrated_gradients", cells(4))
    with pytest.raises(ArithmeticError, match="by inf"):
        check_columns(replace(right, by_column=np.full_like(right.by_column, np.nan)), WORK)


def test_fewer_steps_than_stated_are_an_error() -> None:
    right = attribute_columns("integrated_gradients", explained(network(4, 8), cells(4)), tolerance=0.001, seed=0)
    few = integrated_gradients(right.explained, steps=4)
    with pytest.raises(ArithmeticError, match="computes"):
        check_columns(replace(right, by_column=few), WORK)


def test_rounding_of_large_decisions_is_no_disagreement() -> None:
    """A decision of 1e6 is known to 0.06 in 32 bits: attributions of 1 that differ by 0.1 may be the same."""
    own = np.array([[1.0, 2.0]])
    assert compared(own, own + 0.1, np.array([1e6])).agreeing == 2
    assert compared(own, own + 0.1, np.array([1.0])).agreeing == 0


def test_a_model_that_repeats_itself_badly_is_not_compared() -> None:
    drawn = torch.Generator().manual_seed(0)

    def restless(rows: torch.Tensor) -> torch.Tensor:
        return rows.sum(dim=1) + torch.randn(len(rows), generator=drawn)

    right = attribute_columns("feature_ablation", explained(restless, cells(4)), tolerance=0.005, seed=0)
    assert "another output in another batch" in rows_of(check_columns(right, WORK))["Not compared"]


def test_it_is_said_why_a_method_is_not_compared() -> None:
    assert rows_of(check_columns(given("gradient_shap", cells(4)), WORK)) == {
        "Not compared": "Captum draws other points between a baseline and a row"
    }
    dear = rows_of(check_columns(given("integrated_gradients", cells(4)), Work(operations=10**10)))["Not compared"]
    assert dear == "one row would take 4.8e+11 operations, and this check may take 1e+11"
    many = replace(given("shapley", cells(4)), passes=2**15)
    assert rows_of(check_columns(many, WORK))["Not compared"] == (
        "Captum would change each row 32,768 times, and this check at most 16,384 times"
    )


def test_a_method_that_captum_computes_says_so() -> None:
    target = explained(network(4), cells(4))
    numbers = target.inputs.astype(np.float64)
    by_captum = Explanation(target, "deep_lift", "", 3, 0, lambda part, _: numbers[: len(part.inputs)], numbers)
    assert rows_of(check_columns(by_captum, WORK)) == {"Attributions computed by": f"Captum {captum.__version__}"}


class Additive(nn.Module):
    """The decision is the sum of a table of numbers, one for each token id."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.tensor([[0.0], [0.0], [1.0], [-2.0], [4.0]]))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.embedding(ids)[..., 0].sum(dim=1)
        return out


def parts(module: nn.Module, schema: Schema, inputs: np.ndarray, counts: np.ndarray, delete: Any) -> SegmentedRows:
    function = TargetFunction(module.eval(), task_for(schema))
    return SegmentedRows(function, inputs, np.zeros(len(inputs), np.int64), counts, int(counts.max()), delete, CPU)


def test_occlusion_of_words_is_captums_and_the_closed_form() -> None:
    text = Feature(name="t", kind="text", tokenizer="words", vocabulary=tuple("abc"), length=3)
    schema = Schema(features=(text,), target="y", task="binary", classes=("no", "yes"))
    ids = np.array([[2, 3, 4], [4, 2, 0], [3, 0, 0]])
    words = parts(Additive(), schema, ids, np.array([3, 2, 1]), without_words)
    truth = np.array([[1.0, -2.0, 4.0], [4.0, 1.0, 0.0], [-2.0, 0.0, 0.0]])
    np.testing.assert_allclose(methods_text.attribute_words("occlusion", words), truth)
    np.testing.assert_allclose(segments_left_out(words), truth)
    found = rows_of(check_segments("occlusion", "text", words, truth, work=WORK, seed=0))
    assert found["Attributions that agree"] == "9 of 9, in 3 rows drawn with seed 0"
    with pytest.raises(ArithmeticError, match="1 of 9 attributions otherwise, that of segment 3 by 1;"):
        check_segments("occlusion", "text", words, truth + (truth == 4) * [0, 0, 1], work=WORK, seed=0)


def test_occlusion_of_squares_is_captums() -> None:
    image = Feature(name="image", kind="image", shape=(2, 4, 6))
    schema = Schema(features=(image,), target="y", task="multiclass", classes=("a", "b", "c"))
    square, rows = squares(4, 6, 2), np.random.default_rng(0).normal(size=(9, 2, 4, 6)).astype(np.float32)
    baseline = rows.mean(axis=0)
    network = build("cnn", {**schema.network_arguments(), "dropout": 0.0})
    part = parts(network, schema, rows, np.full(9, 4), without_squares(baseline, square))
    pixels = methods_image.attribute_pixels("occlusion", part, baseline=baseline, square=square)
    lost = methods_image.sum_over(pixels, square)
    found = rows_of(check_segments("occlusion", "image", part, lost, work=WORK, seed=0))
    assert found["Attributions that agree"].startswith("20 of 20")
    with pytest.raises(ArithmeticError, match="of 20 attributions otherwise"):
        check_segments("occlusion", "image", part, lost[:, ::-1], work=WORK, seed=0)
    of_pixels = check_segments("integrated_gradients", "image", part, lost, work=WORK, seed=0)
    assert rows_of(of_pixels) == {"Attributions computed by": f"Captum {captum.__version__}"}


def card(report: auditkit.Report) -> dict[str, str]:
    outcome = next(one for one in report.outcomes if one.auditor == "explainability")
    assert outcome.error is None, outcome.error
    return next(rows_of(one) for one in outcome.exhibits if isinstance(one, Facts) and one.title == TITLE)


def test_the_next_word_of_a_language_model_is_captums(tmp_path: Path) -> None:
    folder = gpt2(tmp_path, sentences(40, seed=3), seed=4)
    frame = pd.DataFrame({"text": sentences(20, seed=3)})
    for method in ("layer_integrated_gradients", "occlusion"):
        settings = {"explainability": {"method": method, "rows": 10}}  # of which 5 are compared
        report = auditkit.audit(folder, frame, text="text", only=["explainability"], settings=settings)
        found = card(report)["Attributions that agree"]
        compared_count, _, rest = found.partition(" of ")
        assert rest.startswith(f"{compared_count}, in 5 rows")


def audited() -> auditkit.Report:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    frame["y"] = np.where(frame["a"] > 0, "yes", "no")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    return auditkit.audit(module, frame, target="y", classes=["no", "yes"], only=["explainability"])


def test_the_card_of_an_audit_says_it_and_a_wrong_attribution_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert card(audited())["Attributions that agree"] == "15 of 15, in 5 rows drawn with seed 0"

    def wrong(name: str, target: ExplanationInput, **settings: float) -> Explanation:
        right = attribute_columns(name, target, **settings)  # type: ignore[arg-type]
        return replace(right, by_column=2 * right.by_column)

    monkeypatch.setattr(tables, "attribute_columns", wrong)
    outcome = next(one for one in audited().outcomes if one.auditor == "explainability")
    assert "Captum" in str(outcome.error)
    assert "attributions otherwise" in str(outcome.error)
