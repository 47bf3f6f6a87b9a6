"""A few values beyond two in a column of outcomes or decisions: a misspelling, a code for "unknown", or a class."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from auditkit.data.dataset import factorize
from auditkit.data.interned import shown
from auditkit.data.values import number
from auditkit.schema.positive import folded
from auditkit.schema.schema import Target

FEW = 0.05
"""Values beyond the two commonest that hold at most this share of the rows are asked about."""

MOST_VALUES = 10
"""With more different values than so many beyond two, a column holds numbers or many classes, and none by mistake."""


def stray_question(frame: pd.DataFrame, target: Target | None, prediction: Target | None, task: str) -> str | None:
    """Return the question about values beyond two that would turn one decision between two outcomes into another task.

    With a third class rates of selection are no longer compared, and with a fraction among whole numbers neither: one
    mistyped cell would void every limit on them. Asked is where the values beyond the two commonest are few, or where
    the decisions, of at most two kinds, never take them. `task` is the one that the column was taken for.
    """
    column = prediction if target is None else target
    if not isinstance(column, str) or column not in frame.columns or task not in ("multiclass", "regression"):
        return None
    codes, words = factorize(frame[column])
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    order = np.argsort(-counts, kind="stable")
    usual, others = [words[code] for code in order[:2]], [words[code] for code in order[2:]]
    if not others or len(others) > MOST_VALUES:
        return None
    decided = _decided(frame, prediction) if target is not None else None
    never = decided is not None and len(decided) <= 2 and not decided & set(map(folded, others))
    rows = int(counts[order[2:]].sum())
    if not never and rows > FEW * int(counts.sum()):
        return None
    listed = ", ".join(map(shown, others[:3])) + (", ..." if len(others) > 3 else "")
    undecided = f", which {prediction} never decides" if never else ""
    return (
        f"{column} holds {shown(usual[0])} and {shown(usual[1])} in {int(counts.sum()) - rows:,} rows, and {listed} in "
        f"{rows:,}{undecided}. With such values there is no choice between two outcomes, and selection rates are not "
        f"compared. If they are misspelt or stand for an unknown value, correct or empty the cells, or leave the rows "
        f'out with --where "{_name(column)} in ({_text(usual[0])}, {_text(usual[1])})"; if they are right, pass --task '
        f"{task}."
    )


def _decided(frame: pd.DataFrame, prediction: Target | None) -> set[str] | None:
    """Return the different decisions, however they are spelt; None where none are recorded in one column."""
    if not isinstance(prediction, str) or prediction not in frame.columns:
        return None
    return set(map(folded, factorize(frame[prediction])[1]))


def _name(column: str) -> str:
    return column if re.fullmatch(r"[^\W\d]\w*", column) else f"`{column}`"


def _text(word: str) -> str:
    """Return a value as it is written in --where: a number, or a text in quotes."""
    return word if math.isfinite(number(word)) else f"'{word}'"
