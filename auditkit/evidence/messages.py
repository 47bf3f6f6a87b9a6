"""Texts that can be said in any language: a template with its arguments, and numbers in their units.

A `Message` is a `str`, its English text, that also knows what it was made of. So texts are compared, searched and
printed as any string is, and a page in another language fills the translated template with the same arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from numbers import Integral, Real
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic_core import core_schema

from auditkit.errors import NotRun

if TYPE_CHECKING:
    from auditkit.evidence.measurement import Interval, Unit

Argument: TypeAlias = "str | int | float | tuple[Argument, ...]"
"""What stands in a placeholder.

A number is printed by the placeholder's format; a plain text is a name from outside, such as a group or a file, and
stays as it is in every language; a Message is translated; a tuple is a list of any of them.
"""

_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_FORMAT = re.compile(r"[+z]?,?(\.\d)?[dfge%]?")  # no width: a file's template cannot ask for a gigabyte of spaces


class Message(str):
    """An English text that was made from a template: `Message("{n:,} rows have no label", n=505)`.

    `template` has named placeholders, with the format of a number where it needs one. `arguments` are the values by
    name. Of `plural` texts, `singular` is the template for one. A Message is frozen, as any string is, and a sum of
    messages is one; an f-string or a join of them is a plain text.

    >>> Message("{n:,} rows of {file} have no label", n=1505, file="a.csv")
    '1,505 rows of a.csv have no label'
    """

    template: str
    singular: str | None
    arguments: Mapping[str, Argument]

    def __new__(cls, template: str, /, **arguments: Any) -> Message:
        """Return the message of a template and its arguments.

        Raises:
            ValueError: a placeholder is not a name with a number's format, or has no argument.
        """
        return _message(template, None, arguments)

    @staticmethod
    def plural(singular: str, plural: str, /, n: int, **arguments: Any) -> Message:
        """Return a message whose form depends on the number `n`; both templates may name `{n}`.

        >>> Message.plural("{n:,} row", "{n:,} rows", 1), Message.plural("{n:,} row", "{n:,} rows", 1200)
        ('1 row', '1,200 rows')
        """
        return _message(plural, singular, {"n": n, **arguments})

    def __add__(self, other: str) -> Message:
        return Message("{first}{second}", first=self, second=other)

    def __radd__(self, other: str) -> Message:
        return Message("{first}{second}", first=other, second=self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _message, (self.template, self.singular, dict(self.arguments))

    def to_json(self) -> dict[str, Any]:
        """Return the message as results.json holds it: template, arguments and the English text."""
        document: dict[str, Any] = {"template": self.template}
        if self.singular is not None:
            document["singular"] = self.singular
        return document | {"arguments": {k: _to_json(v) for k, v in self.arguments.items()}, "text": str(self)}


def said(text: str, lookup: Callable[[Message], str], join: Callable[[Sequence[str]], str] = "".join) -> str:
    """Return a text by the templates that `lookup` gives for its messages; a plain text stays as it is.

    Lists are joined by what `lookup` gives for `LIST`. `join` joins the words of a template and the values between
    them, which take turns and begin with words.
    """
    if not isinstance(text, Message):
        return text
    return join(_pieces(lookup(text), text.arguments, lambda value, form: _shown(value, form, lookup, join)))


def untranslated_parts(text: str, known: Callable[[Message], bool]) -> list[Message]:
    """Return the messages within a text, itself included, that `known` does not know."""
    found: list[Message] = []
    if isinstance(text, Message):
        found += [] if known(text) else [text]
        for value in text.arguments.values():
            for one in value if isinstance(value, tuple) else (value,):
                found += untranslated_parts(one, known) if isinstance(one, str) else []
    return found


def reason_of(error: Exception) -> str:
    """Return what an exception says, as the Message that it was raised with, if it was one."""
    if isinstance(error, NotRun):
        return with_remedy(error.reason, error.remedy)
    first = error.args[0] if len(error.args) == 1 else None
    return first if isinstance(first, Message) else " ".join(str(error).split())


def with_remedy(reason: str, remedy: str | None) -> str:
    """Return why something is missing, and the option that supplies it, if one does.

    >>> with_remedy(Message("no training data"), "--train-dataset FILE"), with_remedy("no rows", None)
    ('no training data; pass --train-dataset FILE', 'no rows')
    """
    if remedy is None:
        return reason if isinstance(reason, Message) else " ".join(reason.split())
    return Message("{reason}; pass {remedy}", reason=reason, remedy=remedy)


TITLES = {"weak_spots.row_share": "Share of rows in weak spots"}
"""The words of ids that say too little where they stand alone."""

ABBREVIATIONS = {name.lower(): name for name in ("ROC", "AUC", "RMSE", "MAE", "WEAT")}


@lru_cache(maxsize=4096)
def title(measurement_id: str) -> Message:
    """Return the words of an id: `fairness.false_positive_rate` becomes `False positive rate`.

    >>> title("leakage.true_positive_rate_at_0_1_percent")
    'True positive rate at 0.1 percent'
    """
    if measurement_id in TITLES:
        return Message(TITLES[measurement_id])
    words = re.sub(r"(\d)_(\d)", r"\1.\2", measurement_id.partition(".")[2]).replace("_", " ")
    words = " ".join(ABBREVIATIONS.get(word, word) for word in words.split())
    words = words[:1].upper() + words[1:]
    return Message(words.replace("{", "{{").replace("}", "}}"))


SMALL = 0.01
"""Numbers nearer to 0 are printed with two digits, others with three places."""


def number(value: float, unit: Unit) -> Message:
    """Print a value in its unit: percent for rates and shares, points for differences of rates.

    >>> number(0.1423, "rate_difference"), number(0.8514, "rate"), number(0.3021, "ratio")
    ('14.2 points', '85.1 %', '0.302')
    """
    if unit == "rate_difference":
        return Message("{value:z.1f} points", value=value * 100)
    if unit in ("rate", "share"):
        return Message("{value:z.1f} %", value=value * 100)
    if unit in ("rows", "count"):
        return Message("{value:,.0f}", value=value)
    if unit == "epsilon":
        return Message("{value:.2f}", value=value)
    return _plain(value)


def span(interval: Interval, unit: Unit) -> Message:
    """Print an interval: `95 % CI 12.6 to 15.8`; percent and points go without their unit."""
    return Message("{level:g} % CI {range}", level=interval.level * 100, range=bounds(interval, unit))


def bounds(interval: Interval, unit: Unit) -> Message:
    """Print the ends of an interval, without its level and without percent or points: `12.6 to 15.8`."""
    if unit in ("rate", "rate_difference", "share"):
        return Message("{low:z.1f} to {high:z.1f}", low=interval.low * 100, high=interval.high * 100)
    if unit in ("rows", "count"):
        return Message("{low:,.0f} to {high:,.0f}", low=interval.low, high=interval.high)
    if all(end == 0 or abs(end) >= SMALL for end in (interval.low, interval.high)):
        return Message("{low:.3f} to {high:.3f}", low=interval.low + 0.0, high=interval.high + 0.0)  # no minus zero
    return Message("{low} to {high}", low=_plain(interval.low), high=_plain(interval.high))


def _plain(value: float) -> Message:
    return Message("{value:.2g}" if 0 < abs(value) < SMALL else "{value:z.3f}", value=value)


def _message(template: str, singular: str | None, arguments: Mapping[str, Any], most: int | None = None) -> Message:
    given = {name: _argument(value) for name, value in arguments.items()}
    chosen = template if singular is None or given["n"] != 1 else singular
    message = str.__new__(Message, _fill(chosen, given, most))
    message.template, message.singular, message.arguments = template, singular, given
    return message


def english(message: Message) -> str:
    """Return the English template of a message, in the form that its number asks for."""
    return message.template if message.singular is None or message.arguments["n"] != 1 else message.singular


def _fill(template: str, arguments: Mapping[str, Argument], most: int | None) -> str:
    """Return an English template with its arguments; ValueError where it becomes longer than `most` characters."""
    return "".join(_pieces(template, arguments, _printed, most))


def _printed(value: Argument, form: str) -> str:
    """Return an argument in English, which a message among them is already."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return ", ".join([_printed(one, form) for one in value])
    return format(value, form)


def _pieces(
    template: str, arguments: Mapping[str, Argument], show: Callable[[Argument, str], str], most: int | None = None
) -> list[str]:
    """Return the words of a template and the values of its placeholders, in turn."""
    pieces: list[str] = []
    length = 0
    for literal, field, form in parsed(template):
        length += len(pieces[-1]) if pieces else 0
        pieces.append(literal)
        length += len(literal)
        if most is not None and length > most:
            raise ValueError(UNLIKE)
        if field is None:
            continue
        if field not in arguments:
            raise ValueError(f"the message {template!r} has no argument for its placeholder {field!r}")
        pieces.append(show(arguments[field], form))
    return pieces


def _shown(
    value: Argument, form: str, lookup: Callable[[Message], str], join: Callable[[Sequence[str]], str] = "".join
) -> str:
    if isinstance(value, str):
        return said(value, lookup, join)
    if isinstance(value, tuple):
        return lookup(LIST).join(_shown(one, form, lookup, join) for one in value)
    return format(value, form)


@lru_cache(maxsize=8192)
def parsed(template: str) -> tuple[tuple[str, str | None, str], ...]:
    """Return the parts of a template: literal text, the name of the placeholder after it (or None), its format.

    Raises:
        ValueError: a placeholder is not a plain name, or its format not that of a number.
    """
    parts = []
    for literal, field, form, conversion in Formatter().parse(template):
        if field is not None and not (_FIELD.fullmatch(field) and _FORMAT.fullmatch(form or "") and not conversion):
            raise ValueError(f"the message {template!r} has a placeholder that is no name with a number's format")
        parts.append((literal, field, form or ""))
    return tuple(parts)


def _argument(value: Any) -> Argument:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        raise ValueError(f"an argument of a message is a text, a number or a list of them, not {value!r}")
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Sequence):
        return tuple(_argument(one) for one in value)
    raise ValueError(f"an argument of a message is a text, a number or a list of them, not {value!r}")


def _to_json(value: Argument) -> Any:
    if isinstance(value, Message):
        return value.to_json()
    return [_to_json(one) for one in value] if isinstance(value, tuple) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return _validated(value)
    return [_from_json(one) for one in value] if isinstance(value, list | tuple) else value


def _validated(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not {"template", "arguments", "text"} <= set(value) <= _KEYS:
        raise ValueError("a text must be a string, or an object of template, arguments and text")
    template, singular, arguments = value["template"], value.get("singular"), value["arguments"]
    if not isinstance(template, str) or not isinstance(singular, str | None) or not isinstance(arguments, dict):
        raise ValueError("a text's template must be a string and its arguments an object")
    if singular is not None and not isinstance(arguments.get("n"), int):
        raise ValueError("a text with a singular needs the number n")
    stated = value["text"]
    if not isinstance(stated, str):
        raise ValueError("a text's text must be a string")
    # Nested texts could grow without end; each is no longer than the file says.
    message = _message(template, singular, {name: _from_json(one) for name, one in arguments.items()}, len(stated))
    if str(message) != stated:
        raise ValueError(UNLIKE)
    return message


def _serialized(value: str) -> Any:
    return value.to_json() if isinstance(value, Message) else value


class _TextSchema:
    """How pydantic reads and writes a text: a Message as an object, any other text as it is."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validated, serialization=core_schema.plain_serializer_function_ser_schema(_serialized)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        message = {
            "type": "object",
            "properties": {
                "template": {"type": "string"},
                "singular": {"type": "string"},
                "arguments": {"type": "object"},
                "text": {"type": "string"},
            },
            "required": ["template", "arguments", "text"],
            "additionalProperties": False,
        }
        return {"anyOf": [{"type": "string"}, message]}


Text = Annotated[str, _TextSchema()]
"""A text of the report: a Message, or a plain text, which is shown in every language as it is."""

_KEYS = {"template", "singular", "arguments", "text"}
UNLIKE = "a text is not what its template and its arguments give"
LIST = Message(", ")
"""What stands between the parts of a list."""

IN_STATE = "{n:,} {state}"
"""How a count stands before a state; other languages have a word between the two."""


def in_state(count: int, state: Message) -> Message:
    """Print how many are in a state.

    >>> in_state(1200, Message("not measured"))
    '1,200 not measured'
    """
    return Message(IN_STATE, n=count, state=state)


def sentences(parts: Sequence[str]) -> str:
    """Join whole sentences.

    >>> sentences([Message("One is missing."), Message("Two are left.")])
    'One is missing. Two are left.'
    """
    joined = parts[0] if parts else ""
    for part in parts[1:]:
        joined = Message("{first} {second}", first=joined, second=part)
    return joined


def semicolons(parts: Sequence[str]) -> str:
    """Join parts that may hold commas of their own.

    >>> semicolons([Message("Wilson, 95 %"), Message("Wald, 95 %")]), semicolons([])
    ('Wilson, 95 %; Wald, 95 %', '')
    """
    joined = parts[0] if parts else ""
    for part in parts[1:]:
        joined = Message("{first}; {second}", first=joined, second=part)
    return joined
