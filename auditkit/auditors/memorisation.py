"""Whether rows that a generator made are copies of its training rows: a part of `leakage`, where samples are given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Column, Evidence, Measurement, Table
from auditkit.metrics.memorisation import NEAR, memorisation
from auditkit.subject.data import naming, read_data
from auditkit.subject.subject import Subject

EXACT, COPIES, EXCESS = "leakage.exact_copy_share", "leakage.near_copy_share", "leakage.near_copy_excess"

FEWEST_ROWS = 100
SOURCE = "distances to training rows and to unseen rows (Meehan et al. 2020, arXiv:2004.05675)"


def sample_rows(subject: Subject, path: str) -> NDArray[np.float64]:
    """Read samples and return them as the audited model would read them, (rows, width).

    Raises:
        InputError: the file cannot be read, lacks a column that the model reads, or has under 100 rows.
        NotRun: the rows are texts, whose codes have no distances.
    """
    if subject.schema.kind == "text":
        raise NotRun("samples that are texts are not compared: their codes have no distances")
    data = read_data(path)
    with naming(data):
        encoded = subject.schema.encode(data.frame)
    if len(encoded) < FEWEST_ROWS:
        raise InputError(f"samples {path}: must be at least {FEWEST_ROWS} rows, got {len(encoded)}.")
    return _flat(encoded)


def copies_of_training_rows(subject: Subject, path: str, training: NDArray[np.float32]) -> Evidence:
    """Hold samples against the training rows, and against the audited rows, which the generator must not have seen."""
    found = memorisation(
        sample_rows(subject, path), _flat(training), _flat(subject.inputs), seed=subject.seed, level=subject.conf_level
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
            source=f"{SOURCE}: {what}",
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
    rows = [
        (name, share.value, share.interval.low, share.interval.high, against.value, what)
        for name, share, against, what in (
            ("equal to a training row", found.exact, found.exact_control, "unseen rows that equal a training row"),
            (
                "much nearer to a training row than to any unseen row",
                found.near,
                found.near_control,
                "samples much nearer to an unseen row than to any training row",
            ),
        )
    ]
    table = Table(
        title="Copies of training rows among the samples",
        note="Where the generator remembers nothing, both shares are as large as their controls.",
        columns=(
            Column(name="samples"),
            Column(name="share", unit="share"),
            Column(name="low", unit="share"),
            Column(name="high", unit="share"),
            Column(name="control", unit="share"),
            Column(name="what the control is"),
        ),
        rows=tuple(rows),
    )
    notes = [
        f"{found.exact.row_count:,} samples of {path} are held against the training rows, on the columns that the "
        f"model reads and by its scales; for near copies {found.near.row_count:,} of them, against as many training "
        "rows as audited ones. "
        "That the samples come from a generator which was trained on these training rows, and on none of the audited "
        "ones, is the word of whoever runs this audit."
    ]
    return Evidence(measurements=measurements, exhibits=[table], notes=notes)


def _flat(encoded: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.ascontiguousarray(encoded.reshape(len(encoded), -1), dtype=np.float64)
