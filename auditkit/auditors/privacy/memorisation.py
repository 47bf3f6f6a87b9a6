"""Whether rows that a generator made are copies of its training rows: a part of `leakage`, where samples are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import naming, read_data
from auditkit.engine.subject import Subject
from auditkit.errors import InputError
from auditkit.evidence.measurement import Column, Evidence, Measurement, Table
from auditkit.evidence.messages import Message
from auditkit.stats.copies import NEAR, Memorisation, memorisation

EXACT, COPIES, EXCESS = "leakage.exact_copy_share", "leakage.near_copy_share", "leakage.near_copy_excess"

FEWEST_ROWS = 100
SOURCE = Message("distances to training rows and to unseen rows (Meehan et al. 2020, arXiv:2004.05675)")


def sample_rows(subject: Subject, path: Path) -> NDArray[np.float64]:
    """Read samples and return them as rows that have distances, (rows, width).

    Raises:
        InputError: the file cannot be read, lacks a column that the model reads, or has under 100 rows.
    """
    data = read_data(path)
    with naming(data):
        subject.schema.check_columns(data.frame)
        rows = subject.modality.comparable(data.frame)
    if len(rows) < FEWEST_ROWS:
        raise InputError(f"samples {path}: must be at least {FEWEST_ROWS} rows, got {len(rows)}.")
    return rows


def copies_of_training_rows(subject: Subject, path: Path, training: pd.DataFrame) -> Evidence:
    """Hold samples against the training rows, and against the audited rows, which the generator must not have seen."""
    found = memorisation(
        sample_rows(subject, path),
        subject.modality.comparable(training),
        subject.modality.comparable(subject.data.frame),
        seed=subject.seed,
        level=subject.conf_level,
    )
    shares = {EXACT: found.exact, COPIES: found.near, EXCESS: found.excess}
    measurements = [
        Measurement(
            id=id,
            value=share.value,
            unit="rate_difference" if id == EXCESS else "share",
            better="lower",
            count=share.row_count,
            interval=share.interval,
            definition=f"{SOURCE}: {what}",
        )
        for (id, share), what in zip(
            shares.items(),
            (
                "samples that equal a training row",
                f"samples less than {NEAR:g} times as far from a training row as from any unseen row",
                "near copies of training rows minus near copies of unseen rows: 0 where nothing is remembered",
            ),
            strict=True,
        )
    ]
    notes = [
        Message(
            "{row_count:,} samples of {path} are held against the training rows, {by_what}; for near "
            "copies {row_count_2:,} of them, against as many training rows as audited ones. That the "
            "samples come from a generator which was trained on these training rows, and on none of the "
            "audited ones, is the word of whoever runs this audit.",
            row_count=found.exact.row_count,
            path=str(path),
            by_what=subject.modality.compared_by,
            row_count_2=found.near.row_count,
        )
    ]
    return Evidence(measurements=measurements, exhibits=[_copies_table(found)], notes=notes)


def _copies_table(found: Memorisation) -> Table:
    """Return both shares beside their controls."""
    rows = [
        (name, share.value, share.interval.low, share.interval.high, against.value, what)
        for name, share, against, what in (
            (
                Message("equal to a training row"),
                found.exact,
                found.exact_control,
                Message("unseen rows that equal a training row"),
            ),
            (
                Message("much nearer to a training row than to any unseen row"),
                found.near,
                found.near_control,
                Message("samples much nearer to an unseen row than to any training row"),
            ),
        )
    ]
    return Table(
        title=Message("Copies of training rows among the samples"),
        note=Message("Where the generator remembers nothing, both shares are as large as their controls."),
        columns=(
            Column(name=Message("samples")),
            Column(name=Message("share"), unit="share"),
            Column(name=Message("low"), unit="share"),
            Column(name=Message("high"), unit="share"),
            Column(name=Message("control"), unit="share"),
            Column(name=Message("what the control is")),
        ),
        rows=tuple(rows),
    )
