from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit.config_commands import SchemaInferConfig
from auditkit.config_settings import settings_of
from auditkit.config_sources import parse_pairs
from auditkit.data.bins import binned, check_rule, edges_of
from auditkit.errors import DatasetError, InputError

BINS = settings_of(SchemaInferConfig)["bins"]


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["age"], "COLUMN=EDGES"),
        (["=1,2"], "COLUMN=EDGES"),
        (["age=old"], "must have edges"),
        (["age=3,2"], "must ascend"),
        (["age=2,2"], "must ascend"),
        (["age=1,inf"], "must ascend"),
        (["age=quantiles:1"], "from 2 to 100 quantiles"),
        (["age=1", "age=2"], "stated twice"),
    ],
)
def test_bins_that_mean_nothing(texts: list[str], match: str) -> None:
    """As `--bins` states them, with their rules checked as a schema checks them."""
    with pytest.raises(InputError, match=match):
        _ = [check_rule(column, rule) for column, rule in parse_pairs(BINS, texts).items()]  # type: ignore[func-returns-value]  # it raises


def test_a_column_name_may_hold_an_equals_sign() -> None:
    assert parse_pairs(BINS, ["a=b=1,2"]) == {"a=b": "1,2"}


edges = st.lists(st.integers(-50, 50), min_size=1, max_size=5, unique=True).map(sorted)


@given(edges, st.lists(st.integers(-60, 60) | st.none(), min_size=1, max_size=30))
def test_binning_agrees_with_a_naive_loop(edges: Any, values: Any) -> None:
    frame = pd.DataFrame({"x": [None if value is None else str(value) for value in values]}, dtype=object)
    codes, names = binned(frame, "x", edges)
    assert len(names) == len(edges) + 1
    for value, code in zip(values, codes, strict=True):
        assert code == (-1 if value is None else sum(value >= edge for edge in edges))


def test_quantiles_are_those_of_the_rows() -> None:
    frame = pd.DataFrame({"x": np.arange(100)})
    found = edges_of(frame, "x", "quantiles:4")
    assert found == (24.75, 49.5, 74.25)
    codes, names = binned(frame, "x", found)
    assert np.bincount(codes).tolist() == [25, 25, 25, 25]
    assert names == ["under 24.75", "24.75 to under 49.5", "49.5 to under 74.25", "74.25 and over"]
    assert edges_of(pd.DataFrame({"x": [0] * 60 + [1] * 40}), "x", "quantiles:4") == (1.0,)
    with pytest.raises(DatasetError, match="too few different numbers"):
        edges_of(pd.DataFrame({"x": [1, 1]}), "x", "quantiles:2")


@pytest.mark.parametrize("typed", [False, True])
def test_dates_are_refused_with_what_to_do(typed: bool) -> None:
    moments = pd.date_range("1950-01-01", periods=8)
    frame = pd.DataFrame({"born": moments if typed else moments.strftime("%Y-%m-%d").astype(object)})
    for cut in (lambda: edges_of(frame, "born", "quantiles:3"), lambda: binned(frame, "born", (1.0, 2.0))):
        with pytest.raises(DatasetError, match="column 'born' holds dates; add a column with the year or the age"):
            cut()
    with pytest.raises(DatasetError, match="rows hold no number"):
        edges_of(pd.DataFrame({"born": ["old", "young"]}), "born", "quantiles:2")
