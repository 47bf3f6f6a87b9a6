from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit.evidence.measurement import Interval, Unit
from auditkit.evidence.messages import bounds
from auditkit.evidence.policy import Limit
from auditkit.evidence.sentences import bound_words
from auditkit.render.text import shorten, visible


@given(st.text())
def test_visible_text_holds_no_control_and_no_reordering_mark(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r" for c in shown)
    assert not any(
        unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI", "PDF", "PDI") for c in shown
    )


def test_visible_keeps_letters_of_every_script_and_joined_emoji() -> None:
    text = "Ünïcödé 中文 شركة 👩🏽‍⚖️"
    assert visible(text) == text


@given(st.text(min_size=1), st.integers(min_value=2, max_value=40))
def test_shortened_text_fits(text: str, width: int) -> None:
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in shorten(text, width))
    assert columns <= width


def test_bounds_of_points_and_of_plain_numbers() -> None:
    interval = Interval(low=-0.0126, high=0.158, level=0.9, method="bootstrap")
    assert bounds(interval, "rate_difference") == "-1.3 to 15.8"
    assert bounds(interval, "number") == "-0.013 to 0.158"


@pytest.mark.parametrize(
    ("bound", "unit", "words"),
    [
        ({"at_most": 0.1}, "rate_difference", "at most 10.0 points"),
        ({"at_least": 0.8}, "ratio", "at least 0.800"),
        ({"at_most": 10}, None, "at most 10"),
    ],
)
def test_a_limit_is_said_in_the_unit_of_its_measurement(bound: dict[str, float], unit: Unit | None, words: str) -> None:
    assert bound_words(Limit(measurement="a.b", rationale="r", **bound), unit) == words
