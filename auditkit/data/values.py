"""What a text of a data set says as a number, a truth value or a date; and columns as numbers."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import factorize, origin
from auditkit.data.interned import shown
from auditkit.errors import DatasetError

TRUE_WORDS = frozenset({"1", "true", "t", "yes", "y"})
FALSE_WORDS = frozenset({"0", "false", "f", "no", "n"})
MISSING_NUMBERS = frozenset({"na", "n/a", "nan", "null", "none"})
"""Further words for a missing value in a numeric, boolean or date column, where they cannot name a category."""

LARGEST = 1e100
"""A number that is larger is refused: the sum of its squares or cubes would be none any more."""

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DAY = datetime.timedelta(days=1)


def numbers(frame: pd.DataFrame, name: str, *, boolean: bool = False, date: bool = False) -> NDArray[np.float64]:
    """Return a column as float64, (rows,), NaN where missing; words for true and false as 1 and 0, dates as days.

    A comma before every three digits separates thousands. With `boolean` the column must hold words for true and
    false, with `date` dates as ISO 8601 writes them (2024-01-31, 2024-01-31T12:30); the days count from 1970-01-01 UTC.

    Raises:
        DatasetError: a value is neither missing nor a number of at most 1e100 (such a word, such a date); the first is
            named.
    """
    column = frame[name]
    values: NDArray[np.float64]
    if date and pd.api.types.is_datetime64_any_dtype(column.dtype):
        values = days(column)
        wrong = np.zeros(len(values), dtype=bool)
    elif is_typed(column) and not date:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        allowed = np.isin(values, (0, 1)) if boolean else np.abs(values) <= LARGEST
        wrong = ~(allowed | np.isnan(values))
    else:
        codes, words = factorize(column)
        parse = day if date else truth if boolean else number
        parsed = np.array([*(parse(word) for word in words), np.nan], dtype=np.float64)
        values = parsed[codes]
        # The parsers mark what they cannot read by infinity, and missing values by NaN.
        wrong = np.abs(values) > LARGEST
    if wrong.any():
        row = int(wrong.argmax())
        kind = "a date" if date else "boolean" if boolean else "numeric"
        held = f"column {name!r} is {kind}, but {origin(frame, row)} holds {shown(column.iloc[row])}"
        unreadable = wrong if boolean else np.isinf(values)
        if not date and unreadable.mean() > 0.5:
            raise DatasetError(
                f"{held}, and {int(unreadable.sum()):,} of {len(wrong):,} rows hold no number; if it holds categories, "
                "say how they become numbers: --preprocess my_module:function, or --schema with what 'auditkit schema "
                "infer DATA' prints."
            )
        number_of = f"a number of at most {LARGEST:g}" if np.isfinite(values[row]) else "a number"
        remedy = "write dates as 2024-01-31" if date else "write 0 or 1" if boolean else f"write {number_of}"
        raise DatasetError(f"{held}; {remedy}, or leave it empty if it is missing.")
    return values


def is_typed(column: pd.Series[Any]) -> bool:
    """Whether a column holds numbers or booleans, and not texts of them."""
    return pd.api.types.is_numeric_dtype(column.dtype)


def days(column: pd.Series[Any]) -> NDArray[np.float64]:
    """Return a column of datetimes as days since 1970-01-01 UTC, NaN where missing."""
    moments = pd.DatetimeIndex(column)
    if moments.tz is not None:
        moments = moments.tz_convert("UTC").tz_localize(None)
    since: NDArray[np.float64] = ((moments - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    return since


def number(word: str) -> float:
    """Return the number that a text writes, NaN for a word for missing, infinity for anything else.

    >>> number("1,234.5"), number("1,23"), number("n/a")
    (1234.5, inf, nan)
    """
    if word.lower() in MISSING_NUMBERS:
        return math.nan
    if _THOUSANDS.fullmatch(word):
        word = word.replace(",", "")
    try:
        return math.inf if "_" in word else float(word)
    except ValueError:
        return math.inf


def truth(word: str) -> float:
    """Return 1 or 0 for a word for true or false, NaN for a word for missing, infinity for anything else."""
    folded = word.casefold()
    if folded in MISSING_NUMBERS:
        return math.nan
    return 1.0 if folded in TRUE_WORDS else 0.0 if folded in FALSE_WORDS else math.inf


def day(word: str) -> float:
    """Return the days since 1970-01-01 UTC of an ISO date, NaN for a word for missing, infinity for anything else.

    >>> day("1970-01-02"), day("1970-01-01 12:00"), day("31/01/1970")
    (1.0, 0.5, inf)
    """
    if word.lower() in MISSING_NUMBERS:
        return math.nan
    if not _DATE.fullmatch(word):
        return math.inf
    try:
        moment = datetime.datetime.fromisoformat(word)
    except ValueError:
        return math.inf
    return ((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)) - _EPOCH) / _DAY
