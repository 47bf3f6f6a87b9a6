"""Personal data in the audited rows, by names of columns and by patterns with check digits: counts, never values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from auditkit.data.image import holds_images
from auditkit.data.personal_patterns import PATTERNS, Pattern
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Group, Interval, Measurement, Slice, Table
from auditkit.evidence.messages import Message

COLUMNS, VALUES = "data.personal_column_count", "data.personal_value_count"

LEAST_SHARE = 0.5
"""Patterns that other numbers meet by chance count only where at least this share of the candidates meets them."""
FEWEST_DISTINCT = 10
"""A name such as `phone` tells nothing of a column with fewer values than this: it may hold yes and no."""
MOST_VALUES = 100_000
"""Of a column at most so many different values are searched, the most frequent first."""
LIKELY = re.compile(r"@|(?:\d\D{0,3}){9}|[A-Z]{2}\d\d ?[A-Z0-9]{4}")
"""What every pattern holds: an @, nine digits, or the start of an account number."""
SMALLEST_NUMBER = 10**9
"""No pattern has so few digits, so that columns of smaller numbers are passed over."""


NAMES = re.compile(
    r"(?:^|_)(e_?mail(_address)?|phone(_(number|no))?|telephone(_(number|no))?|mobile(_(phone|number|no))?|cell_?phone"
    r"|ssn|social_security(_(number|no))?|passport(_(number|no))?|first_?name|last_?name|sur_?name|given_?name"
    r"|family_?name|full_?name|maiden_?name|date_of_birth|birth_?date|birth_?day|dob|(home|street|postal|mailing)_address"
    r"|address(_line)?(_\d)?|ip_address|iban|(credit_)?card_(number|no)|national_id(_number)?|tax_(id|number)"
    r"|driv(er|ing)s?_licen[cs]e(_(number|no))?|licen[cs]e_plate)$"
    r"|^(姓名|身份证(号码?)?|手机(号码?)?|电话(号码?)?|(电子)?邮箱|住址|地址|出生日期|银行卡号?)$"
)
OTHERWISE = {"has", "is", "no_of", "count", "valid", "verified", "type", "domain", "changed", "shared", "same"}
"""A name with one of these words is of a fact about such data, not of the data."""

BY_NAME = Message("by the name of the column")


class Found(NamedTuple):
    """Personal data in a column: its kind, and how many values are of it."""

    column: str
    kind: Message
    rows: int


def personal_data(subject: Subject, columns: Sequence[str]) -> Evidence:
    """Return how many columns hold personal data, how many values of each kind, and a table of them."""
    frame = subject.data.frame
    found = [one for name in columns if not holds_images(frame[name]) for one in in_column(name, frame[name])]
    held = list(dict.fromkeys(one.column for one in found))
    rows, level = len(frame), subject.conf_level
    definition = Message(
        "columns whose name, or values, are of personal data: names, addresses, dates of birth, e-mail, phone, cards, "
        "identity and account numbers"
    )
    measurements = [_counted(COLUMNS, len(held), rows, definition, level)]
    by_value = [one for one in found if one.kind != BY_NAME]
    if not found:
        return Evidence(measurements=measurements)
    if by_value:
        measurements.append(
            Measurement(
                id=VALUES,
                by=("column", "kind"),
                unit="count",
                better="lower",
                count=rows,
                slices=tuple(_slice(one, rows, level) for one in by_value),
                definition=Message("values that hold a pattern of this kind, with its check digits where it has any"),
            )
        )
    table = Table(
        title=Message("Columns that hold personal data"),
        note=Message(
            "By the names of columns, and by patterns of values: no value is shown or kept. Other personal data may be "
            "there; free text is searched for these patterns alone, and of a column the {most:,} most frequent values.",
            most=MOST_VALUES,
        ),
        columns=(
            Column(name=Message("column")),
            Column(name=Message("personal data")),
            Column(name=Message("values"), unit="rows"),
        ),
        rows=tuple((one.column, one.kind, one.rows) for one in found),
    )
    note = Message(
        "Personal data in {columns}: leave out what the audit does not need, and keep these files accordingly.",
        columns=held,
    )
    return Evidence(measurements=measurements, exhibits=[table], notes=[note])


def in_column(name: str, column: pd.Series) -> list[Found]:
    """Return what personal data a column holds, by its values and by its name."""
    texts, known = _texts(column), int(column.notna().sum())
    found: dict[Message, int] = {}
    for pattern in PATTERNS if len(texts) else ():
        count = _matches(pattern, texts, known)
        if count:
            found[pattern.kind] = found.get(pattern.kind, 0) + count
    if not found and _is_personal(name) and column.nunique() >= min(FEWEST_DISTINCT, known / 2 + 1):
        return [Found(name, BY_NAME, known)]
    return [Found(name, kind, count) for kind, count in found.items()]


def _texts(column: pd.Series) -> pd.Series:
    """Return how often each value of a column that could hold a pattern occurs, by its text."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return pd.Series(dtype=int)
    if pd.api.types.is_numeric_dtype(column):
        known = column.dropna()
        if not len(known) or known.max() < SMALLEST_NUMBER or (known % 1 != 0).any():
            return pd.Series(dtype=int)
        column = known.astype("int64")
    counts = column.value_counts().head(MOST_VALUES)
    counts.index = [str(value).strip() for value in counts.index]
    return counts[[LIKELY.search(text) is not None for text in counts.index]]


def _matches(pattern: Pattern, texts: pd.Series, known: int) -> int:
    """Return how many values hold the pattern, of those that `texts` counts; `known` values of the column are there."""
    if pattern.whole:
        places = {text: [text] if pattern.candidate.fullmatch(text) else [] for text in texts.index}
    else:
        places = {text: [match.group() for match in pattern.candidate.finditer(text)] for text in texts.index}
    held = [any(map(pattern.holds, candidates)) for candidates in places.values()]
    several = texts.groupby(level=0).sum().reindex(list(places))
    count = int(several[held].sum())
    if not pattern.by_chance:
        return count
    asked = known if pattern.whole else int(several[[bool(found) for found in places.values()]].sum())
    distinct = sum(held)
    return count if asked and count / asked >= LEAST_SHARE and distinct >= min(3, len(texts)) else 0


def _is_personal(name: str) -> bool:
    words = re.sub(r"[^\w]+|(?<=[a-z])(?=[A-Z])", "_", name.strip()).strip("_").lower()
    return NAMES.search(words) is not None and not OTHERWISE & set(words.split("_"))


def _slice(found: Found, rows: int, level: float) -> Slice:
    return Slice(
        group=Group(by=("column", "kind"), key=(found.column, str(found.kind))),
        value=float(found.rows),
        count=rows,
        interval=_exact(found.rows, level),
    )


def _counted(id: str, value: int, rows: int, definition: str, level: float) -> Measurement:
    return Measurement(
        id=id,
        value=float(value),
        unit="count",
        better="lower",
        count=rows,
        interval=_exact(value, level),
        definition=definition,
    )


def _exact(value: int, level: float) -> Interval:
    return Interval(low=value, high=value, level=level, method=Message("exact: all of these rows were counted"))
