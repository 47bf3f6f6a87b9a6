"""What a model learns from synthetic records, tried on real ones that neither it nor the generator saw."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.auditors.synthetic.tables import Tables
from auditkit.data.dataset import factorize
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, Group, Interval, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.stats.disclosure import Records
from auditkit.stats.intervals import proportion_interval, simultaneous_level
from auditkit.stats.proxies import boosted_forest
from auditkit.stats.scores import paired_difference_interval

MOST_CATEGORIES = 255
"""A category column of more is read as ordered numbers: the forest takes no more categories."""

FEWEST_ROWS = 30

LOSS = "synthetic.train_on_synthetic_accuracy_loss"
DEFINITION = Message(
    "accuracy on unseen records of a boosted forest fitted to training records, minus that of one fitted to as many "
    "synthetic ones"
)


def usefulness_evidence(subject: Subject, tables: Tables) -> Evidence:
    """Fit the same model to synthetic and to real records, and compare them on unseen ones, overall and by group."""
    target = subject.schema.target
    if not isinstance(target, str):
        return Evidence(measurements=[_undefined(Message("no label with classes is named; pass --target COLUMN"))])
    synthetic, training, unseen = (_labels(frame, target, subject.schema.classes) for frame in tables.frames)
    size = min(int((synthetic >= 0).sum()), int((training >= 0).sum()))
    judged = unseen >= 0
    if min(size, int(judged.sum())) < FEWEST_ROWS:
        reason = Message("under {fewest} records of a table have a label that real ones have", fewest=FEWEST_ROWS)
        return Evidence(measurements=[_undefined(reason)])
    subject.progress(0.2, "training on synthetic records")
    by_synthetic = _right(tables, tables.synthetic, synthetic, size, subject.seed) == unseen
    subject.progress(0.35, "training on real records")
    by_real = _right(tables, tables.training, training, size, subject.seed) == unseen
    level = subject.conf_level
    measurements = [
        _accuracy("synthetic.train_on_synthetic_accuracy", by_synthetic[judged], level, Message("synthetic")),
        _accuracy("synthetic.train_on_real_accuracy", by_real[judged], level, Message("training")),
        _loss(by_real[judged], by_synthetic[judged], level),
    ]
    for column in subject.sensitive:
        groups, codes = subject.group_codes((column,))
        members = {key[0]: judged & (codes[tables.unseen_rows] == code) for code, key in enumerate(groups)}
        measurements.append(_loss_by_group(column, members, by_real, by_synthetic, level))
    return Evidence(measurements=measurements)


def _labels(frame: pd.DataFrame, target: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return each row's class code, -1 where it has none of the real classes: (rows,)."""
    codes, words = factorize(frame[target])
    lookup = np.array([*(classes.index(word) if word in classes else -1 for word in words), -1], dtype=np.int64)
    found: NDArray[np.int64] = lookup[codes]
    return found


def _right(tables: Tables, source: Records, labels: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Return the class that a model fitted to `size` labelled records of the source gives each unseen record."""
    rows = np.flatnonzero(labels >= 0)[:size]
    fitted = labels[rows]
    if len(np.unique(fitted)) < 2:  # a generator that makes one class teaches to guess it
        return np.full(len(tables.unseen.values), fitted[0])
    every = np.vstack([tables.synthetic.values, tables.training.values, tables.unseen.values])[:, :-1]
    many = every.max(axis=0) >= MOST_CATEGORIES
    forest = boosted_forest((tables.unseen.is_number[:-1] | many).tolist(), seed=seed)
    forest.fit(source.values[rows, :-1], fitted)
    predicted: NDArray[np.int64] = forest.predict(tables.unseen.values[:, :-1])
    return predicted


def _undefined(reason: str) -> Measurement:
    return Measurement(
        id=LOSS, value=None, unit="rate_difference", better="lower", count=0, definition=DEFINITION, reason=reason
    )


def _accuracy(id: str, right: NDArray[np.bool_], level: float, source: str) -> Measurement:
    low, high = proportion_interval(right.sum(), len(right), level)
    return Measurement(
        id=id,
        value=float(right.mean()),
        unit="rate",
        better="higher",
        count=len(right),
        interval=Interval(low=float(low), high=float(high), level=level, method=Message("Wilson")),
        definition=Message("accuracy on unseen records of a boosted forest fitted to {source} records", source=source),
    )


def _loss(by_real: NDArray[np.bool_], by_synthetic: NDArray[np.bool_], level: float) -> Measurement:
    value, interval = paired_difference_interval(by_real, by_synthetic, level=level)
    return Measurement(
        id=LOSS,
        value=value,
        unit="rate_difference",
        better="lower",
        count=len(by_real),
        interval=interval,
        definition=DEFINITION,
    )


def _loss_by_group(
    column: str,
    members: dict[str, NDArray[np.bool_]],
    by_real: NDArray[np.bool_],
    by_synthetic: NDArray[np.bool_],
    level: float,
) -> Measurement:
    enough = {name: rows for name, rows in members.items() if int(rows.sum()) >= FEWEST_ROWS}
    each = simultaneous_level(level, max(len(enough), 1))
    slices = []
    for name, rows in members.items():
        group, count = Group(by=(column,), key=(name,)), int(rows.sum())
        if name not in enough:
            too_few = Message("fewer than {fewest} unseen records", fewest=FEWEST_ROWS)
            slices.append(Slice(group=group, value=None, count=count, reason=too_few))
            continue
        value, interval = paired_difference_interval(by_real[rows], by_synthetic[rows], level=level)
        _, together = paired_difference_interval(by_real[rows], by_synthetic[rows], level=each)
        method = Message("{method}, Sidak over {count} groups", method=together.method, count=len(enough))
        wider = Interval(low=together.low, high=together.high, level=level, method=method)
        slices.append(Slice(group=group, value=value, count=count, interval=interval, simultaneous_interval=wider))
    return Measurement(
        id=LOSS,
        by=(column,),
        unit="rate_difference",
        better="lower",
        count=sum(one.count for one in slices),
        slices=tuple(slices),
        definition=DEFINITION,
    )
