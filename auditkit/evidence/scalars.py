"""Numbers, flags and texts of records, as JSON and TOML have them: none of these stands for another.

Python, and pydantic, take true for 1 and "0.5" for 0.5. A reader of another program does not, and a limit of
`at_least = true` is a slip. numpy's numbers are numbers too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict


def _number(value: object) -> object:
    if isinstance(value, str | bytes | bool):
        raise ValueError("must be a number, not true or false" if isinstance(value, bool) else "must be a number")
    return value


def _whole(value: object) -> object:
    if isinstance(value, float):
        raise ValueError("must be a whole number")
    return _number(value)


def _not_blank(text: str) -> str:
    if not any(letter.isprintable() and not letter.isspace() for letter in text):  # nor of zero width
        raise ValueError("must not be blank")
    return text


def _columns(by: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(by)) != len(by):
        raise ValueError("must name each column once")
    if "*" in by:
        raise ValueError('must be columns, or "*" by itself for every breakdown')
    return by


Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_number)]
"""A finite number."""

PositiveNumber = Annotated[Number, Field(gt=0)]
"""A finite number above 0."""

WholeNumber = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
"""A whole number from 0 on."""

Count = Annotated[int, Field(gt=0), BeforeValidator(_whole)]
"""A whole number above 0."""

Flag = Annotated[bool, Strict()]
"""True or false, and no word or number for it."""

Words = Annotated[str, AfterValidator(_not_blank)]
"""A text that says something."""

By = Annotated[tuple[Words, ...], AfterValidator(_columns)] | Literal["*"]
"""Columns that tell groups apart, or every breakdown that an audit made."""
