"""The weights and the clusters of the audited rows, as the user names their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.config import DataConfig
from auditkit.data.dataset import Data, factorize, naming, origin
from auditkit.data.sampling_columns import id_counts, looks_like_weights
from auditkit.data.values import numbers
from auditkit.errors import DatasetError, InputError, closest
from auditkit.evidence.measurement import Evidence, Measurement, Slice
from auditkit.evidence.messages import Message, title
from auditkit.stats.sampling import Codes, Floats, Sampling, sampling_of

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject


def columns_of_sampling(config: DataConfig) -> list[str]:
    """Return the columns that hold the weights and the clusters, of those that are named."""
    return [name for name in (config.weight, config.cluster) if name is not None]


def read_sampling(data: Data, config: DataConfig) -> tuple[Sampling, list[str]]:
    """Return the weights and clusters of the rows of a data set, and notes on what they cannot be used for.

    A row without a value in the column of clusters is a cluster of its own.

    Raises:
        DatasetError: a weight is no number, zero, negative or missing; the first is named.
        InputError: a column is not there, or all rows are one cluster.
    """
    known = [str(column) for column in data.frame.columns]
    for option, name in (("weight", config.weight), ("cluster", config.cluster)):
        if name is not None and name not in known:
            raise InputError(f"{option} column {name!r} is not in {data.name}{closest(name, known)}.")
    notes: list[str] = []
    with naming(data):
        weights = None if config.weight is None else _weights(data.frame, config.weight)
        clusters = None if config.cluster is None else _clusters(data.frame, config.cluster, notes)
    sampling = sampling_of(weights, clusters)
    if weights is not None and sampling.weights is None:
        notes.append(Message("All weights in column {name} are equal: nothing is weighted.", name=config.weight))
    if clusters is not None and sampling.clusters is None:
        notes.append(
            Message("Every row has a value of its own in column {name}: there are no clusters.", name=config.cluster)
        )
    return sampling, notes


def _weights(frame: pd.DataFrame, name: str) -> Floats:
    weights = numbers(frame, name)
    wrong = ~(weights > 0)
    if wrong.any():
        raise DatasetError(
            f"weight column {name!r}: {int(wrong.sum()):,} of {len(weights):,} rows have a weight that is zero, "
            f"negative or missing, the first in {origin(frame, int(wrong.argmax()))}; correct them, or leave those "
            f'rows out with --where "{name} > 0".'
        )
    return weights


def has_weight(data: Data, name: str) -> NDArray[np.bool_]:
    """Return which rows have a positive weight: bool, (rows,)."""
    with naming(data):
        return np.asarray(numbers(data.frame, name) > 0)


def _clusters(frame: pd.DataFrame, name: str, notes: list[str]) -> Codes:
    codes, words = factorize(frame[name])
    clusters = codes.astype(np.int64)
    alone = clusters < 0
    if alone.any():
        clusters[alone] = len(words) + np.arange(int(alone.sum()))
        notes.append(
            Message.plural(
                "{n:,} row without a value in column {name} is a cluster of its own.",
                "{n:,} rows without a value in column {name} are clusters of their own.",
                int(alone.sum()),
                name=name,
            )
        )
    if len(clusters) > 1 and (clusters == clusters[0]).all():
        raise InputError(f"cluster column {name!r} has one value in all rows; intervals need at least 2 clusters.")
    return clusters


def sampling_hints(subject: Subject) -> tuple[str, ...]:
    """Return the sentences that point out columns which look like weights or clusters, where none are named.

    Columns with another meaning are left out. Weights are positive numbers in a column of such a name; the column of an
    id, by its name, repeats its values and has at least 20 of them.
    """
    hints: list[str] = []
    frame, schema = subject.data.frame, subject.schema
    used = {*subject.sensitive, *schema.targets, *subject.decision_columns, subject.expect}
    used |= {column for feature in schema.features for column in feature.reads}
    free = [str(name) for name in frame.columns if str(name) not in used]
    if subject.weight is None:
        for name in free:
            if looks_like_weights(frame, name):
                hints.append(
                    Message(
                        "Column {name} looks like survey or sample weights, and is not used; if it is, pass "
                        "--weight {name}.",
                        name=name,
                    )
                )
    if subject.cluster is None:
        for name in free:
            found = id_counts(frame, name)
            if found is not None and found[0] < found[1]:
                hints.append(
                    Message(
                        "Column {name} looks like an id, and repeats: {values:,} values in {rows:,} rows. If rows "
                        "with the same value are not independent of each other, pass --cluster {name}.",
                        name=name,
                        values=found[0],
                        rows=found[1],
                    )
                )
    return tuple(hints)


def marked(evidence: Evidence, sampling: Sampling) -> Evidence:
    """Return evidence in which every number that does not allow for the weights or clusters of rows says so."""
    if sampling.is_simple:
        return evidence
    measurements = list(evidence.measurements)
    plain = [one for one in measurements if _is_plain(one)]
    if not plain:
        return evidence
    words = _words(sampling)
    names = list(dict.fromkeys(title(one.id) for one in plain))
    rest = any(not _is_plain(one) and (one.value is not None or one.slices) for one in measurements)
    note = (
        Message("{words}: {names}.", words=words, names=names)
        if rest
        else Message("{words}: all numbers of this part.", words=words)
    )
    return Evidence(
        measurements=[
            one.model_copy(
                update={"definition": Message("{definition}; {words}", definition=one.definition, words=words)}
            )
            if _is_plain(one)
            else one
            for one in measurements
        ],
        exhibits=evidence.exhibits,
        notes=(*evidence.notes, note),
    )


def _is_plain(measurement: Measurement) -> bool:
    """Whether a measurement has a number, and none that allows for weights or clusters."""
    every: tuple[Measurement | Slice, ...] = (measurement, *measurement.slices)
    known = [one for one in every if one.value is not None]
    return bool(known) and all(one.effective_count is None for one in known)


def _words(sampling: Sampling) -> Message:
    if sampling.clusters is None:
        return Message("Unweighted")
    if sampling.weights is None:
        return Message("Rows are taken as independent, without clusters")
    return Message("Unweighted, and rows are taken as independent, without clusters")
