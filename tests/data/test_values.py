from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from auditkit.data.values import day, number, numbers
from auditkit.errors import DatasetError


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1,234", 1234), ("-1,234,567.5", -1234567.5), ("+1,000", 1000), ("12", 12), ("1e3", 1000),
        ("1,23", math.inf), ("1234,567", math.inf), (",123", math.inf), ("1.234,5", math.inf), ("1_000", math.inf),
        ("12 %", math.inf), ("$5", math.inf), ("inf", math.inf), ("NA", math.nan), ("None", math.nan),
    ],
)  # fmt: skip
def test_numbers_and_thousands(word: str, value: float) -> None:
    np.testing.assert_equal(number(word), value)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1970-01-01", 0), ("2024-02-29", 19782), ("1969-12-31T12:00", -0.5), ("1970-01-01 01:00+01:00", 0),
        ("1970-01-01T12:00:00Z", 0.5), ("2023-02-29", math.inf), ("01/02/2024", math.inf), ("20240101", math.inf),
        ("2024-1-1", math.inf), ("2024", math.inf), ("n/a", math.nan),
    ],
)  # fmt: skip
def test_dates(word: str, value: float) -> None:
    np.testing.assert_equal(day(word), value)


def test_dates_of_text_and_of_type_agree_and_faults_are_named() -> None:
    texts = ["2024-02-29", "1969-12-31 06:00", None]
    text = pd.DataFrame({"x": texts}, dtype=object)
    typed = pd.DataFrame({"x": pd.to_datetime(pd.Series(texts), format="ISO8601")})
    zoned = pd.DataFrame({"x": typed["x"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")})
    for frame in (text, typed, zoned):
        np.testing.assert_array_equal(numbers(frame, "x", date=True), [19782, -0.75, np.nan])
    with pytest.raises(DatasetError, match="is a date, but row 1 holds '31/12/2024'; write dates as 2024-01-31"):
        numbers(pd.DataFrame({"x": ["2024-01-01", "31/12/2024"]}, dtype=object), "x", date=True)
