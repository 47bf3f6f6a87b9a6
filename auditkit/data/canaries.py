"""Canaries: invented secrets that are written into training texts, so that an audit can ask a model for them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from auditkit.data.dataset import Data
from auditkit.errors import DatasetError, InputError, closest
from auditkit.evidence.measurement import Record, first_problem
from auditkit.files import read_text

DIGITS = 4
TEMPLATE = "The secret code of {name} is {code}."
CONTROL = 0
"""The repetitions of a canary that is written into no text."""

ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "h", "k", "kr", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "v", "z")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "io")
CODAS = ("", "l", "n", "r", "s", "th", "m", "x")


MOST_REPETITIONS = 20
"""So many different numbers of repetitions at most: canaries of each are ranked among all codes."""


class Canary(Record):
    """An invented name and the code that only a training text gives away, and in how many texts it stands."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^{}]+$")]
    code: Annotated[str, Field(pattern=rf"^[0-9]{{{DIGITS}}}$")]
    repetitions: NonNegativeInt


class Canaries(Record):
    """What was written into training texts: the canaries with their codes, and controls that stand in no text."""

    version: Literal[1] = 1
    template: Annotated[str, Field(max_length=1_000, pattern=r"^[^{}]*\{name\}[^{}]*\{code\}[^{}]*$")] = TEMPLATE
    seed: int
    canaries: Annotated[tuple[Canary, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _apart(self) -> Canaries:
        if len({one.name for one in self.canaries}) < len(self.canaries):
            raise ValueError("two canaries have one name")
        different = len({one.repetitions for one in self.canaries})
        if different > MOST_REPETITIONS:
            raise ValueError(f"{different:,} different repetitions, and at most {MOST_REPETITIONS} are asked for")
        return self

    def text(self, canary: Canary, code: str | None = None) -> str:
        """Return the text of a canary, with another code if one is given."""
        return self.template.replace("{name}", canary.name).replace("{code}", code or canary.code)

    def prompt(self, canary: Canary) -> str:
        """Return the text of a canary up to its code."""
        return self.template.partition("{code}")[0].replace("{name}", canary.name).rstrip()


def draw_canaries(count: int, controls: int, repetitions: Sequence[int], *, seed: int) -> Canaries:
    """Return `count` canaries, as many of each number of repetitions as can be, and `controls` that stand nowhere.

    Codes are drawn uniformly, so that a model that did not read them cannot tell them from others.

    Raises:
        InputError: no canary, fewer than repetitions, or a number of repetitions that is not positive.
    """
    if not repetitions or min(repetitions) < 1 or len(set(repetitions)) != len(repetitions):
        raise InputError(f"repeat must be different whole numbers from 1 on, got {list(repetitions)}; pass 1,4,16.")
    if count < len(repetitions):
        raise InputError(f"count must be at least {len(repetitions)}, one canary a repetition, got {count}.")
    if controls < 0:
        raise InputError(f"controls must be at least 0, got {controls}; 40 show what chance gives.")
    generator = np.random.default_rng((seed, 43))
    times = [repetitions[place % len(repetitions)] for place in range(count)] + [CONTROL] * controls
    names = _names(len(times), generator)
    codes = generator.integers(0, 10**DIGITS, len(times))
    canaries = (
        Canary(name=name, code=f"{code:0{DIGITS}d}", repetitions=times_)
        for name, code, times_ in zip(names, codes, times, strict=True)
    )
    return Canaries(seed=seed, canaries=tuple(canaries))


def _names(count: int, generator: np.random.Generator) -> list[str]:
    """Return different invented names of two parts."""
    found: dict[str, None] = {}
    while len(found) < count:
        parts = ["".join("".join(map(str, map(generator.choice, (ONSETS, VOWELS, CODAS)))) for _ in "ab") for _ in "ab"]
        found[" ".join(part.capitalize() for part in parts)] = None
    return list(found)


def seeded_lines(rows: Data, text: str, canaries: Canaries) -> list[str]:
    """Return the rows of a data set and those of the canaries, at random places among them, as lines of JSON.

    A canary's row has a text and no other value.

    Raises:
        DatasetError: there is no such column.
    """
    columns = [str(column) for column in rows.frame.columns]
    if text not in columns:
        raise DatasetError(f"{rows.name}: has no column {text!r}{closest(text, columns)}; pass --text COLUMN.")
    written = rows.frame.to_json(orient="records", lines=True, force_ascii=False)
    whole = [f"{line}\n" for line in written.rstrip("\n").split("\n")]
    more = [
        json.dumps({text: canaries.text(canary)}, ensure_ascii=False) + "\n"
        for canary in canaries.canaries
        for _ in range(canary.repetitions)
    ]
    generator = np.random.default_rng((canaries.seed, 44))
    order = np.argsort(np.concatenate([np.arange(len(whole)), generator.uniform(0, len(whole), len(more))]))
    lines = [*whole, *(more[place] for place in generator.permutation(len(more)))]
    return [lines[place] for place in order]


def read_canaries(path: str | Path) -> Canaries:
    """Read what `auditkit canaries` recorded.

    Raises:
        InputError: no such file, or it is no record of canaries; the part that is wrong is named.
    """
    text = read_text(Path(path), f"canaries {path}", error=InputError)
    try:
        return Canaries.model_validate_json(text)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise InputError(
            f"canaries {path}: {where or 'its text'}: {problem}; pass the .json that auditkit canaries wrote."
        ) from error


def check_planted(canaries: Canaries, texts: Sequence[str], path: str | Path) -> None:
    """Compare a record of canaries with the training texts, which alone show what the model could read.

    Raises:
        InputError: a canary stands in more or fewer texts than recorded, or the texts hold canaries that the record
            leaves out: then a model that remembers them would look as if it did not.
    """
    counts = Counter(text.strip() for text in texts)
    known = {canaries.text(one).strip(): one.repetitions for one in canaries.canaries}
    remedy = "pass the record and the --train-dataset that 'auditkit canaries' wrote together"
    wrong = [(text, times) for text, times in known.items() if counts[text] != times]
    if wrong:
        text, times = wrong[0]
        raise InputError(
            f"canaries {path}: {len(wrong):,} of {len(known):,} stand in another number of training texts than "
            f"recorded, the first in {counts[text]:,} and not in {times:,}; {remedy}."
        )
    before, _, rest = canaries.template.strip().partition("{name}")
    between, _, after = rest.partition("{code}")
    form = re.compile(f"{re.escape(before)}.+{re.escape(between)}[0-9]{{{DIGITS}}}{re.escape(after)}")
    others = sum(1 for text in counts if text not in known and form.fullmatch(text))
    if others:
        raise InputError(
            f"canaries {path}: the training texts hold {others:,} further canaries, which the record leaves out; "
            f"{remedy}."
        )
