"""Labels that are known for some rows only: whether a label is known must not depend on what was decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.data.dataset import Data, factorize
from auditkit.data.group_names import recoded
from auditkit.errors import DatasetError
from auditkit.models.audited import AskedRows, Audited
from auditkit.stats.counts import MISSING
from auditkit.stats.intervals import newcombe
from auditkit.tasks.base import task_for

CLEARLY = 0.05
"""Shares of known labels that surely lie further apart than this make the labelled rows a selection."""
LEVEL = 0.999


def check_selective_labels(data: Data, known: NDArray[np.bool_], audited: Audited, sensitive: Sequence[str]) -> None:
    """Check that the rows with a label are no selection by the decision, such as those of the approved alone.

    `known` says which rows of `data` have a label. Only decisions that were made can have chosen the labels.

    Raises:
        DatasetError: whether a label is known depends on the decision; the message gives the selection rates of all
            rows, and the option that audits the labelled ones in spite of it.
    """
    schema, positive = audited.schema, task_for(audited.schema).positive
    if positive is None or known.all() or not audited.decision_columns:
        return
    present = audited.answered(data.frame)
    if not present.any():
        return
    decided = dataclasses.replace(data, frame=data.frame[present])
    frame = decided.frame
    selected = audited.answers(AskedRows(decided)).labels == 1
    known = known[present]
    sides = [(int(known[side].sum()), int(side.sum())) for side in (selected, ~selected)]
    if not all(size for _, size in sides):
        return
    low, high = (float(end) for end in newcombe(*sides[0], *sides[1], LEVEL))
    if low <= CLEARLY and high >= -CLEARLY:
        return
    shares = [count / size for count, size in sides]
    rates = " ".join(_rates(frame[column], selected, column) for column in sensitive if column in frame.columns)
    raise DatasetError(
        f"labels in {schema.target} are known for {shares[0]:.1%} of the rows decided for {positive} and "
        f"{shares[1]:.1%} of the others, so that the labelled rows are a selection and rates over them say nothing of "
        f"all {len(frame):,} decisions.{' ' if rates else ''}{rates} Name a label that is known for all rows, or pass "
        "--labelled-only to audit the labelled rows in spite of this."
    )


def _rates(column: object, selected: NDArray[np.bool_], name: str) -> str:
    """Say how often each group of a column is selected over all rows, and the largest gap."""
    codes, words = recoded(*factorize(column), {}, missing=(MISSING,))  # type: ignore[arg-type]  # a column of a frame
    rates = {word: float(selected[codes == code].mean()) for code, word in enumerate(words) if (codes == code).any()}
    if not 2 <= len(rates) <= 6:
        return ""
    listed = ", ".join(f"{word} {rate:.1%}" for word, rate in rates.items())
    gap = (max(rates.values()) - min(rates.values())) * 100
    return f"Selected by {name}, over all rows: {listed}; gap {gap:.1f} points."
