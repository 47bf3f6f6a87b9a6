"""Corruptions of tables against the schema's own encoding, against closed forms, and their invariances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from auditkit.modalities.base import Corruption
from auditkit.modalities.table import TABLE_CORRUPTIONS, numbers_of, table_corruptions
from auditkit.schema.infer import infer_schema
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature


def people(count: int, *, seed: int = 0, missing: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, count).astype(float),
            "income": rng.lognormal(10, 1, count),
            "constant": 3.0,
            "job": rng.choice(["clerk", "driver", "nurse"], count, p=[0.6, 0.3, 0.1]),
            "member": rng.choice(["yes", "no"], count),
            "label": rng.choice(["good", "bad"], count),
        }
    ).astype({"job": object, "member": object})
    if missing:
        for place, name in enumerate(["age", "job", "member"]):
            frame.loc[rng.choice(count, count // 10, replace=False), name] = None if place else np.nan
    return frame


def corruptions_of(frame: pd.DataFrame, schema: Schema, *, seed: int = 0) -> dict[str, Corruption]:
    rows = schema.encode(frame)
    return {corruption.name: corruption for corruption in table_corruptions(schema, rows, rows, seed=seed)}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return people(500)


@pytest.fixture(scope="module")
def schema(frame: pd.DataFrame) -> Schema:
    return infer_schema(frame, target="label")


def test_every_corruption_is_seeded_and_leaves_the_rows_alone(frame: pd.DataFrame, schema: Schema) -> None:
    rows = schema.encode(frame)
    kept = rows.copy()
    found, again = (table_corruptions(schema, rows, rows, seed=3) for _ in range(2))
    assert tuple(corruption.name for corruption in found) == TABLE_CORRUPTIONS
    for corruption, same in zip(found, again, strict=True):
        assert corruption.stated in corruption.strengths
        assert list(corruption.strengths) == sorted(corruption.strengths)
        for strength in corruption.strengths:
            assert np.array_equal(corruption.at(strength), same.at(strength))
            assert not np.array_equal(corruption.at(strength), rows)
            assert corruption.at(strength).dtype == np.float32
    assert np.array_equal(rows, kept)


def test_everything_missing_is_what_the_schema_reads_as_missing(frame: pd.DataFrame, schema: Schema) -> None:
    nothing = frame.assign(age=np.nan, income=np.nan, constant=np.nan, job=None, member=None)
    assert np.array_equal(corruptions_of(frame, schema)["missing_values"].at(1.0), schema.encode(nothing))


def test_unseen_categories_are_what_the_schema_reads_as_unseen(schema: Schema) -> None:
    full = people(300, seed=5, missing=False)
    strange = full.assign(job="astronaut")
    assert np.array_equal(corruptions_of(full, schema)["unseen_categories"].at(1.0), schema.encode(strange))


def test_a_unit_slip_is_the_same_number_times_ten() -> None:
    full = people(300, seed=6, missing=False)[["income", "label"]]
    schema = infer_schema(full, target="label")
    slipped = schema.encode(full.assign(income=full["income"] * 100))
    assert corruptions_of(full, schema)["unit_slip"].at(2.0) == pytest.approx(slipped, rel=1e-4, abs=1e-4)


def test_one_number_a_row_slips_or_leaves_the_range(frame: pd.DataFrame, schema: Schema) -> None:
    rows, corruptions = schema.encode(frame), corruptions_of(frame, schema)
    numbers = numbers_of(schema, rows)
    assert len(numbers.cells) == 2, "the constant column has no spread"
    for name in ("unit_slip", "out_of_range"):
        assert ((corruptions[name].at(3.0) != rows).sum(axis=1) == 1).all()
    beyond = corruptions["out_of_range"].at(3.0)
    for cell, low, high, deviation in zip(numbers.cells, numbers.low, numbers.high, numbers.deviation, strict=True):
        moved = beyond[beyond[:, cell] != rows[:, cell], cell]
        ends = np.array([low - 3 * deviation, high + 3 * deviation])
        assert np.abs(moved[:, None] - ends).min(axis=1).max() < 1e-5
        assert 0.3 < (moved > high).mean() < 0.7


def test_noise_has_the_stated_size_and_spares_what_is_missing(frame: pd.DataFrame, schema: Schema) -> None:
    rows, corruption = schema.encode(frame), corruptions_of(frame, schema)["numeric_noise"]
    moved = corruption.at(0.5) - rows
    cells = schema.column_slices()
    assert moved[:, cells["income"].start].std() == pytest.approx(0.5 * rows[:, cells["income"].start].std(), rel=0.1)
    gone = rows[:, cells["age"].stop - 1] == 1
    assert gone.sum() == 50
    assert not moved[gone, cells["age"].start].any()
    others = np.ones(rows.shape[1], dtype=bool)
    others[[cells["age"].start, cells["income"].start]] = False
    assert not moved[:, others].any()
    assert corruption.at(1.0) - rows == pytest.approx(2 * moved, abs=1e-5), "more of the same noise"


def test_swapped_categories_are_others_as_frequent_as_they_occur(schema: Schema) -> None:
    full = people(6000, seed=7, missing=False)
    rows, corruptions = schema.encode(full), corruptions_of(full, schema)
    cells = schema.column_slices()
    named = slice(cells["job"].start, cells["job"].start + 3)
    swapped = corruptions["swapped_categories"].at(1.0)
    assert (swapped[:, named].sum(axis=1) == 1).all()
    assert not (swapped[:, named] * rows[:, named]).any(), "never the same again"
    member = cells["member"].start
    assert np.array_equal(swapped[:, member], 1 - rows[:, member])
    nurses = rows[:, named][:, 2] == 1
    assert swapped[nurses][:, named].mean(axis=0) == pytest.approx([2 / 3, 1 / 3, 0], abs=0.07)
    light, strong = (corruptions["swapped_categories"].at(share)[:, named] != rows[:, named] for share in (0.1, 0.5))
    assert not (light & ~strong).any(), "what a weaker corruption changed a stronger one changes too"
    assert light.any(axis=1).mean() == pytest.approx(0.1, abs=0.02)


def test_missing_values_are_not_swapped(frame: pd.DataFrame, schema: Schema) -> None:
    rows = schema.encode(frame)
    swapped = corruptions_of(frame, schema)["swapped_categories"].at(1.0)
    for name in ("job", "member"):
        cells = schema.column_slices()[name]
        gone = rows[:, cells.stop - 1] == 1
        assert np.array_equal(swapped[gone, cells], rows[gone, cells])


def test_a_column_with_one_category_stays_as_it_is() -> None:
    frame = pd.DataFrame({"x": np.arange(50.0), "only": "a", "label": ["u", "v"] * 25}).astype({"only": object})
    schema = infer_schema(frame, target="label")
    rows = schema.encode(frame)
    corruptions = corruptions_of(frame, schema)
    assert np.array_equal(corruptions["swapped_categories"].at(1.0), rows)


def test_columns_without_numbers_have_no_numeric_corruptions() -> None:
    schema = Schema(
        features=(Feature(name="c", kind="categorical", categories=("a", "b")),),
        target="label",
        task="binary",
        classes=("u", "v"),
    )
    rows = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    names = [corruption.name for corruption in table_corruptions(schema, rows, rows, seed=0)]
    assert names == ["missing_values", "swapped_categories", "unseen_categories"]


def test_a_linear_model_flips_under_noise_as_often_as_the_normal_distribution_says() -> None:
    """Flips of sign(w x + b) under noise of size s: the mean over the rows of Phi(-|w x + b| / (s |w|))."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(rng.normal(5, [1, 3, 0.2], (20_000, 3)), columns=["a", "b", "c"])
    frame["label"] = rng.choice(["u", "v"], 20_000)
    schema = infer_schema(frame, target="label")
    rows, weights, bias = schema.encode(frame).astype(np.float64), np.array([1.0, -0.5, 0.25]), 0.3
    corruption = corruptions_of(frame, schema)["numeric_noise"]
    scores = rows @ weights + bias
    for strength in corruption.strengths:
        flipped = ((corruption.at(strength).astype(np.float64) @ weights + bias > 0) != (scores > 0)).mean()
        expected = stats.norm.cdf(-np.abs(scores) / (strength * np.linalg.norm(weights))).mean()
        assert flipped == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))
