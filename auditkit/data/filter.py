"""Which rows are audited: a small language of comparisons over columns, parsed here and never evaluated as code.

    age >= 18 and region in ('north', 'south') and not `marital status` == 'single'

A column is a plain name, or any text in backquotes. A number is compared with the column's values as numbers, a quoted
text with its values as texts. A comparison with a missing value is false; `is missing` and `is not missing` ask for it.
`not` binds tighter than `and`, and `and` tighter than `or`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import factorize
from auditkit.data.values import numbers
from auditkit.errors import InputError, closest

MAXIMUM_LENGTH, MAXIMUM_DEPTH = 10_000, 50

Mask = NDArray[np.bool_]

_COMPARISONS: dict[str, Callable[..., Mask]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'[^']*'|\"[^\"]*\")|(?P<quoted>`[^`]+`)"
    r"|(?P<word>[^\W\d]\w*)|(?P<sign>==|!=|<=|>=|[=<>(),])|(?P<end>$))"
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "missing"})


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def select(frame: pd.DataFrame, expression: str) -> Mask:
    """Return which rows of a frame an expression holds for: bool, (rows,).

    Raises:
        InputError: it cannot be parsed (the place is named), or names a column that is not there.
        DatasetError: a number is compared with a column that holds something else.

    >>> select(pd.DataFrame({"age": ["17", "18", None]}), "age >= 18").tolist()
    [False, True, False]
    """
    return _Parser(frame, expression).whole()


def columns_named(expression: str | None) -> list[str]:
    """Return the columns that an expression names.

    >>> columns_named("age >= 18 and `marital status` is missing")
    ['age', 'marital status']
    """
    tokens = _Parser(pd.DataFrame(), expression).tokens if expression is not None else []
    return [token.text.strip("`") for token in tokens if token.kind in ("word", "quoted")]


class _Parser:
    """Recursive descent that evaluates while it parses: each rule returns the rows for which it holds."""

    def __init__(self, frame: pd.DataFrame, expression: str) -> None:
        self.frame = frame
        self.expression = expression
        if len(expression) > MAXIMUM_LENGTH:
            raise InputError(f"where: at most {MAXIMUM_LENGTH:,} characters, got {len(expression):,}.")
        self.tokens = list(self._split())
        self.next = 0
        self.depth = 0

    def whole(self) -> Mask:
        mask = self.any_of()
        if self.token.kind != "end":
            raise self.wrong("'and', 'or' or the end")
        return mask

    def any_of(self) -> Mask:
        self.depth += 1
        if self.depth > MAXIMUM_DEPTH:
            raise InputError(f"where: parentheses and nots may be nested {MAXIMUM_DEPTH} deep at most.")
        mask = self.all_of()
        while self.take("or"):
            mask = mask | self.all_of()
        self.depth -= 1
        return mask

    def all_of(self) -> Mask:
        mask = self.one()
        while self.take("and"):
            mask = mask & self.one()
        return mask

    def one(self) -> Mask:
        negated = False
        while self.take("not"):
            negated = not negated
        if self.take("("):
            mask = self.any_of()
            self.expect(")")
        else:
            mask = self.comparison()
        return ~mask if negated else mask

    def comparison(self) -> Mask:
        if self.token.kind in ("number", "text"):
            # 18 <= age: the same comparison, seen from the other side.
            value, sign = self.literal(), self.sign()
            mirrored = sign.translate(str.maketrans("<>", "><"))
            return self.compared(self.column(), mirrored, value)
        column = self.column()
        if self.take("is"):
            negated = self.take("not")
            self.expect("missing")
            missing = _missing(self.frame[column])
            return ~missing if negated else missing
        negated = self.take("not")
        if self.take("in"):
            self.expect("(")
            mask = self.compared(column, "==", self.literal())
            while self.take(","):
                mask = mask | self.compared(column, "==", self.literal())
            self.expect(")")
            return ~mask & ~_missing(self.frame[column]) if negated else mask
        if negated:
            raise self.wrong("'in'")
        sign = self.sign()
        return self.compared(column, sign, self.literal())

    def compared(self, column: str, sign: str, value: float | str) -> Mask:
        compare = _COMPARISONS[sign]
        if isinstance(value, float):
            values = numbers(self.frame, column)
            return compare(values, value) & ~np.isnan(values)
        codes, words = factorize(self.frame[column])
        holds = np.array([*(bool(compare(word, value)) for word in words), False])
        mask: Mask = holds[codes]
        return mask

    def column(self) -> str:
        token = self.token
        if token.kind not in ("word", "quoted"):
            raise self.wrong("a column's name")
        name = token.text.strip("`") if token.kind == "quoted" else token.text
        if name not in self.frame.columns:
            columns = [str(column) for column in self.frame.columns]
            raise InputError(f"where: there is no column {name!r}{closest(name, columns)}; quote texts: '{name}'.")
        self.next += 1
        return name

    def literal(self) -> float | str:
        token = self.token
        if token.kind not in ("number", "text"):
            raise self.wrong("a number or a quoted text")
        self.next += 1
        return float(token.text) if token.kind == "number" else token.text[1:-1]

    def sign(self) -> str:
        token = self.token
        if token.text not in _COMPARISONS:
            raise self.wrong("a comparison (==, !=, <, <=, >, >=, in, is missing)")
        self.next += 1
        return token.text

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self, text: str) -> bool:
        taken = self.token.kind in ("keyword", "sign") and self.token.text == text
        self.next += taken
        return taken

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.wrong(f"'{text}'")

    def wrong(self, expected: str) -> InputError:
        got = "its end" if self.token.kind == "end" else repr(self.token.text)
        return InputError(
            f"where: expected {expected} at character {self.token.place + 1} of {self.expression[:80]!r}, got {got}."
        )

    def _split(self) -> list[_Token]:
        tokens = []
        place = 0
        while True:
            match = _TOKEN.match(self.expression, place)
            if match is None:
                start = len(self.expression) - len(self.expression[place:].lstrip())
                raise InputError(
                    f"where: cannot read {self.expression[start : start + 20]!r} at character {start + 1} of "
                    f"{self.expression[:80]!r}."
                )
            kind = str(match.lastgroup)
            text = match[kind]
            if kind == "word" and text in _KEYWORDS:
                kind = "keyword"
            tokens.append(_Token(kind, text, match.start(str(match.lastgroup))))
            if kind == "end":
                return tokens
            place = match.end()


def _missing(column: pd.Series[Any]) -> Mask:
    codes, _ = factorize(column)
    missing: Mask = codes < 0
    return missing
