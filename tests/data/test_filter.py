from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit.data.filter import columns_named, select
from auditkit.errors import DatasetError, InputError

FRAME = pd.DataFrame(
    {
        "age": ["17", "18", "40", None, "1,000"],
        "region": ["north", "south", "east", "north", None],
        "marital status": ["single", "married", "single", "married", "single"],
    },
    dtype=object,
)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("age >= 18", [1, 2, 4]),
        ("age>=18 and age<1e3", [1, 2]),
        ("18 <= age", [1, 2, 4]),
        ("age = 18 or age == 40", [1, 2]),
        ("not age >= 18", [0, 3]),
        ("not not age >= 18", [1, 2, 4]),
        ("region in ('north', \"east\")", [0, 2, 3]),
        ("region not in ('north')", [1, 2]),
        ("region != 'north'", [1, 2]),
        ("region is missing", [4]),
        ("age is not missing and region is not missing", [0, 1, 2]),
        ("`marital status` == 'single'", [0, 2, 4]),
        ("age < 18 or age > 18 and region == 'east'", [0, 2]),
        ("(age < 18 or age > 18) and region == 'east'", [2]),
        ("age in (17, 40.0)", [0, 2]),
        ("region >= 'n'", [0, 1, 3]),
        ("age > -5", [0, 1, 2, 4]),
    ],
)
def test_rows_are_chosen(expression: str, rows: list[Any]) -> None:
    assert np.flatnonzero(select(FRAME, expression)).tolist() == rows


@pytest.mark.parametrize(
    ("expression", "match"),
    [
        ("", "expected a column's name at character 1.*got its end"),
        ("age", "expected a comparison"),
        ("age >=", "expected a number or a quoted text.*got its end"),
        ("age >= 18 18", "expected 'and', 'or' or the end at character 11"),
        ("ages > 1", r"no column 'ages' \(did you mean 'age'\?\)"),
        ("region == north", "expected a number or a quoted text.*'north'"),
        ("(age > 1", r"expected '\)'"),
        ("age in (1,", "expected a number or a quoted text"),
        ("age not 1", "expected 'in'"),
        ("age ; 1", "cannot read '; 1' at character 5"),
        ("age == 'x", "cannot read"),
        ("__import__('os').system('x')", "cannot read .*system"),
        ("__import__ == 'os'", "no column '__import__'"),
        ("(" * 60 + "age > 1" + ")" * 60, "50 deep"),
        ("age > 1 or " * 2000 + "age > 1", "at most 10,000 characters"),
    ],
)
def test_what_cannot_be_read_is_named(expression: float | str, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        select(FRAME, expression)  # type: ignore[arg-type]  # a number, on purpose
    assert "\n" not in str(caught.value)


def test_text_compared_as_a_number_names_its_row() -> None:
    with pytest.raises(DatasetError, match="'region' is numeric, but row 0 holds 'north'"):
        select(FRAME, "region > 1")


def test_columns_named() -> None:
    assert columns_named(None) == []
    assert columns_named("age > 1 and not `marital status` in ('age', 'x')") == ["age", "marital status"]


@given(st.text(max_size=40) | st.text(alphabet="age<>=!()'`,.0 notinorisd", max_size=40))
def test_any_text_is_parsed_or_refused(expression: Any) -> None:
    with contextlib.suppress(InputError):
        assert select(FRAME, expression).shape == (5,)
