"""Messages: what they say, how they are kept in results.json, and what a file may not put into them."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
from effort import effort
from pydantic import TypeAdapter, ValidationError

from auditkit.evidence.measurement import Facts, Record, Table
from auditkit.evidence.messages import Message, Text, number, reason_of, said, untranslated_parts


class Note(Record):
    text: Text


NESTED = Message(
    "{rows} of {file} have no label: {groups}; {gap}",
    rows=Message.plural("{n:,} row", "{n:,} rows", 1505),
    file="a{0}.csv",
    groups=["Female", Message("unknown")],
    gap=number(0.1423, "rate_difference"),
)


def test_a_message_is_its_english_text() -> None:
    assert NESTED == "1,505 rows of a{0}.csv have no label: Female, unknown; 14.2 points"
    assert isinstance(NESTED, str)
    assert Message.plural("{n} row of {file}", "{n} rows of {file}", 1, file="x") == "1 row of x"
    assert Message("{n:,} of {m}", n=np.int64(1000), m=np.float64(0.5)) == "1,000 of 0.5"


def test_a_message_survives_results_json_copies_and_processes() -> None:
    for again in (
        Note.model_validate_json(Note(text=NESTED).model_dump_json()).text,
        Note.model_validate(Note(text=NESTED).model_dump()).text,
        pickle.loads(pickle.dumps(NESTED)),
        copy.deepcopy(NESTED),
    ):
        assert isinstance(again, Message)
        assert (again, again.template, again.arguments) == (NESTED, NESTED.template, NESTED.arguments)
    document = json.loads(Note(text=NESTED).model_dump_json())["text"]
    assert document["text"] == NESTED
    assert document["arguments"]["groups"] == ["Female", {"template": "unknown", "arguments": {}, "text": "unknown"}]


def test_a_plain_text_stays_one_and_lies_beside_messages_and_numbers() -> None:
    assert Note.model_validate({"text": "Plain {text}."}).text == "Plain {text}."
    table = Table(title=Message("T"), columns=(), rows=())
    assert json.loads(table.model_dump_json())["title"]["template"] == "T"
    facts = Facts(title="x", rows=((Message("a"), "b"),))
    assert Facts.model_validate_json(facts.model_dump_json()) == facts


def test_a_message_is_said_by_other_templates_with_the_same_arguments() -> None:
    words = {
        "{rows} of {file} have no label: {groups}; {gap}": "{file}: {gap}, {groups} ({rows})",
        "{n:,} row": "{n} R",
        "unknown": "?",
        ", ": "/",
    }
    assert said(NESTED, lambda one: words.get(one.singular or one.template, one.template)) == (
        "a{0}.csv: 14.2 points, Female/? (1505 R)"
    )
    assert said("plain", lambda one: "never") == "plain"
    missing = untranslated_parts(NESTED, lambda one: (one.singular or one.template) in words)
    assert [one.template for one in missing] == ["{value:z.1f} points"]


@pytest.mark.parametrize(
    "template", ["{n.__class__}", "{n[0]}", "{n:999999999}", "{n!r}", "{}", "{n:>9}", "{absent}", "{n", "{n:{m}}"]
)
def test_a_template_from_a_file_can_do_nothing_but_name_its_arguments(template: str) -> None:
    with pytest.raises(ValueError, match=r"message|expected|Single"):
        Message(template, n=1, m=2)
    with pytest.raises(ValidationError):
        Note.model_validate({"text": {"template": template, "arguments": {"n": 1, "m": 2}, "text": ""}})


@pytest.mark.parametrize(
    "document",
    [
        {"template": "x"},
        {"template": 1, "arguments": {}},
        {"template": "x", "arguments": []},
        {"template": "x", "arguments": {}, "more": 1},
        {"template": "{n}", "singular": "{n}", "arguments": {}},
        {"template": "{n}", "arguments": {"n": None}},
        {"template": "{n}", "arguments": {"n": True}},
        7,
    ],
)
def test_what_is_no_text_is_refused(document: object) -> None:
    with pytest.raises(ValidationError):
        Note.model_validate({"text": document})


def test_a_number_without_bounds_is_printed_and_can_be_stored() -> None:
    message = Message("epsilon {value:.2f}", value=math.inf)
    assert message == "epsilon inf"
    assert Note.model_validate_json(Note(text=message).model_dump_json()).text == message


def test_what_an_exception_was_raised_with_is_its_reason() -> None:
    assert isinstance(reason_of(ValueError(NESTED)), Message)
    assert reason_of(ValueError("two\nlines")) == "two lines"


def test_a_sum_of_messages_is_a_message_whichever_side_is_plain() -> None:
    both = "Wilson" + Message(", of {n}", n=3) + " rows"
    assert both == "Wilson, of 3 rows"
    assert isinstance(both, Message)
    assert said(both, lambda one: {", of {n}": "/{n}"}.get(one.template, one.template)) == "Wilson/3 rows"


def test_a_text_of_a_file_is_what_its_template_gives_and_no_longer() -> None:
    """A reader of the file sees the text, a page the template; and 31 texts in one another could fill any memory."""
    adapter: TypeAdapter[str] = TypeAdapter(Text)
    honest = Message("{a} and {b:.1f}", a=Message("{n:,} rows", n=1200), b=0.25).to_json()
    assert adapter.validate_python(honest) == "1,200 rows and 0.2"
    for document in (
        {**honest, "text": "1,300 rows and 0.2"},
        {**honest, "text": ""},
        {**honest, "text": 1},
        {key: value for key, value in honest.items() if key != "text"},
        {**honest, "arguments": {**honest["arguments"], "a": {**honest["arguments"]["a"], "text": "1,300 rows"}}},
    ):
        with pytest.raises(ValidationError, match="text"):
            adapter.validate_python(document)
    laughs: dict[str, object] = {"template": "ha " * 30, "arguments": {}, "text": "ha " * 30}
    for _ in range(31):
        laughs = {"template": "{a}" * 1000, "arguments": {"a": laughs}, "text": "ha"}
    with effort() as spent, pytest.raises(ValidationError, match="not what its template and its arguments give"):
        adapter.validate_python(laughs)
    assert spent.peak_bytes < 10**7
