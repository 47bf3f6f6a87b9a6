"""From a model, or recorded decisions, and a data set to a Subject: which rows are audited, and that they fit."""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from auditkit.budgets import CELLS, CLASSES
from auditkit.config import AuditConfig, configured
from auditkit.data.bins import check_rule, edges_of
from auditkit.data.dataset import Data, factorize, naming
from auditkit.data.filter import select
from auditkit.data.group_names import canonical, parse_merges
from auditkit.engine.row_cost import work_of
from auditkit.engine.subject import LeftOut, Subject
from auditkit.engine.weighting import has_weight, read_sampling
from auditkit.engine.work import Work
from auditkit.errors import DatasetError, InputError, closest
from auditkit.evidence.messages import Message
from auditkit.execution.base import executor_of
from auditkit.models.audited import Audited
from auditkit.models.cache import NO_CACHE, Cache
from auditkit.models.capabilities import Runnable
from auditkit.models.predict import ROWS_AT_ONCE
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Labels, Schema, has_label
from auditkit.stats.counts import MISSING
from auditkit.tasks.base import LARGE_ROW_COUNT, labels_of, task_for

MAXIMUM_GROUPS = 100
"""As many groups of a sensitive column as can be compared with each other."""


def load_subject(
    audited: Audited,
    data: Data,
    *,
    training: Data | None = None,
    config: AuditConfig | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
    public_data: tuple[str, ...] = (),
    **options: Any,
) -> Subject:
    """Check that a data set fits a model, or holds its recorded decisions, and return the subject of the audit.

    `config` is the request; `options` replace what it states. Its `where` chooses rows by an expression
    (auditkit.data.filter); of these, rows without a recorded decision are left out, and of the rest a sample of `limit`
    is drawn with `seed`; the notes say so, and how many rows have a label. `sensitive` defaults to the columns that the
    schema names, `bins` adds to those of the schema. `public_data` are the data sets that the policy calls public.

    Raises:
        DatasetError: a column is missing or holds something else than the schema says, in either data set, or no
            row has a label although the request names its column.
        InputError: weights or clusters that are none, an unknown sensitive column or one of more than 100 groups, a
            `conf_level` outside (0, 1), a `top_k` that is not below the number of rows or has no two classes, or no
            such device.
    """
    config = configured(config, options)
    _check_request(audited.schema, data, config)
    subject = _subject(audited, data, training, config)
    subject = dataclasses.replace(subject, cache=cache or NO_CACHE, progress=progress, public_data=public_data)
    for name in subject.sensitive:
        _check_groups(subject, name)
        _check_group_count(subject, name)
    _check_inputs(subject)
    return subject


def _subject(audited: Audited, data: Data, training: Data | None, config: AuditConfig) -> Subject:
    """Return the subject of a request: the chosen rows with their weights, groups, training rows and notes."""
    device_name = audited.choose_device(config.run.device)
    sensitive = _sensitive_columns(audited.schema, data, config)
    chosen = _choose_rows(audited, data, config)
    rows, labels, limit, top_k = chosen.rows, chosen.labels, chosen.limit, config.model.top_k
    sampling, sampling_notes = read_sampling(rows, config.data)
    undecided = _left_out(rows, chosen.undecided, config)
    training_rows, training_notes = (None, []) if training is None else _labelled(audited.schema, training)
    edges, bin_notes = _bin_edges(audited.schema, rows, sensitive, config)
    _check_top_k(audited.schema, len(labels), top_k)
    notes = [
        *chosen.notes,
        *sampling_notes,
        *_label_notes(audited.schema, labels),
        *training_notes,
        *bin_notes,
        *_threshold_notes(audited.schema, top_k),
    ]
    return Subject(
        audited=audited,
        data=rows,
        labels=labels,
        sampling=sampling,
        weight=config.data.weight,
        cluster=config.data.cluster,
        sensitive=sensitive,
        bins=edges,
        training=training_rows,
        seed=config.run.seed,
        device_name=device_name,
        executor=executor_of(config.run.executor, device_name),
        conf_level=config.policy.conf_level,
        min_group=config.groups.min_group,
        compare_missing=config.groups.compare_missing,
        merges=parse_merges(config.groups.merge, sensitive),
        expect=config.model.expect,
        samples=config.model.samples,
        undecided=undecided,
        top_k=top_k,
        notes=(*audited.notes, *data.notes, *notes, *_unseen_notes(audited.schema, rows)),
        row_count_read=len(data.frame),
        training_row_count_read=None if training is None else len(training.frame),
        selection={
            "where": config.data.where,
            "limit": limit,
            "seed": config.run.seed if limit is not None else None,
            "row_count": len(labels),
            **({} if config.data.member is None else {"member": config.data.member}),
        },
        work=chosen.work,
    )


def _left_out(rows: Data, undecided: Data | None, config: AuditConfig) -> LeftOut | None:
    """Return the rows without a decision with the sampling of all rows; those without a weight stand for nobody."""
    if undecided is None:
        return None
    if config.data.weight is not None:
        undecided = dataclasses.replace(undecided, frame=undecided.frame[has_weight(undecided, config.data.weight)])
    together = dataclasses.replace(rows, frame=pd.concat([rows.frame, undecided.frame]))
    return LeftOut(undecided, read_sampling(together, config.data)[0])


def _check_request(schema: Schema, data: Data, config: AuditConfig) -> None:
    """Raise InputError for bins and a level that mean nothing, and for more classes or cells than can be held."""
    for column, rule in (config.groups.bins or {}).items():
        check_rule(column, rule)
    level, limit = config.policy.conf_level, config.data.limit
    if not 0 < level < 1:
        raise InputError(f"conf_level must lie between 0 and 1, got {level}; 0.95 is usual.")
    CLASSES.check(len(schema.classes), f"target {schema.target}")
    rows_predicted = min(len(data.frame), limit or len(data.frame))
    CELLS.check(rows_predicted * len(schema.classes), "rows times classes")


def _sensitive_columns(schema: Schema, data: Data, config: AuditConfig) -> tuple[str, ...]:
    """Return the sensitive columns, each once; those of the schema where the request names none.

    Raises:
        InputError: the data have no such column, or bins are given for another one.
    """
    asked = config.groups.sensitive
    chosen = tuple(dict.fromkeys(schema.sensitive if asked is None else asked))
    columns = [str(column) for column in data.frame.columns]
    for name in chosen:
        if name not in columns:
            raise InputError(f"sensitive column {name!r} is not in {data.name}{closest(name, columns)}.")
    for name in config.groups.bins or {}:
        if name not in chosen:
            raise InputError(f"bins: {name!r} is no sensitive column{closest(name, chosen)}; pass --sensitive {name}.")
    return chosen


class _Chosen(NamedTuple):
    """The rows that are audited and their labels; what a row costs; the size of the sample, if one is drawn; notes.

    `undecided` are the rows without a decision, of a sample as large a share as of the others.
    """

    rows: Data
    labels: Labels
    undecided: Data | None
    work: Work
    limit: int | None
    notes: list[str]


def _choose_rows(audited: Audited, data: Data, config: AuditConfig) -> _Chosen:
    """Return the rows that the request chooses, that have a decision, and that the effort allows."""
    rows, notes = _where(data, config.data.where)
    labels = _labels(audited.schema, rows, stated=config.data.target is not None)
    rows, labels, undecided, decision_notes = _decided(rows, labels, audited)
    work = work_of(audited, rows, config)
    limit, effort_notes = _affordable(work, len(labels), config)
    notes += [*decision_notes, *effort_notes]
    if limit is not None and limit < len(labels):
        seed = config.run.seed
        if undecided is not None:
            undecided = _share(undecided, limit / len(labels), seed)
        sample = np.sort(np.random.default_rng(seed).choice(len(labels), size=limit, replace=False))
        notes.append(
            Message(
                "A sample of {limit:,} of {labels_count:,} rows is audited, drawn with seed {seed}.",
                limit=limit,
                labels_count=len(labels),
                seed=seed,
            )
        )
        rows, labels = dataclasses.replace(rows, frame=rows.frame.iloc[sample]), labels[sample]
    return _Chosen(rows, labels, undecided, work, limit, notes)


def _share(data: Data, share: float, seed: int) -> Data:
    """Return about a share of the rows, drawn by the seed."""
    drawn = np.random.default_rng([seed, 17]).random(len(data.frame)) < share
    return dataclasses.replace(data, frame=data.frame[drawn])


def _affordable(work: Work, row_count: int, config: AuditConfig) -> tuple[int | None, list[str]]:
    """Return how many rows are audited at most, None for all, with a note where the effort says so."""
    limit = config.data.limit
    affordable = row_count if config.model.top_k is not None else work.predicted(row_count)
    if affordable >= min(limit or row_count, row_count):
        return limit, []
    note = Message(
        "The effort {effort} limits the audit to a sample of {limit:,} rows, since one row takes "
        "{operations:,} operations; --effort thorough takes them all.",
        effort=work.effort,
        limit=affordable,
        operations=work.operations,
    )
    return affordable, [note]


def _bin_edges(
    schema: Schema, rows: Data, sensitive: Sequence[str], config: AuditConfig
) -> tuple[dict[str, Any], list[str]]:
    """Return the edges that divide sensitive columns of numbers, by column, and a note on quantiles."""
    rules = {**schema.bins, **(config.groups.bins or {})}
    with naming(rows):
        edges = {name: edges_of(rows.frame, name, rules[name]) for name in sensitive if name in rules}
    notes: list[str] = [
        Message(
            "Column {name} is divided into quantiles of the audited rows, at {names}.",
            name=name,
            names=[f"{x:g}" for x in edges[name]],
        )
        for name in edges
        if rules[name].startswith("quantiles")
    ]
    return edges, notes


def _threshold_notes(schema: Schema, top_k: int | None) -> list[str]:
    """Return the sentence on the threshold that decides, where one is stated and no fixed number is selected."""
    note = task_for(schema).threshold_note()
    return [] if note is None or top_k is not None else [note]


def _check_top_k(schema: Schema, row_count: int, top_k: int | None) -> None:
    """Raise InputError unless so many rows can be selected: fewer than all, by one decision between two classes."""
    one_decision = task_for(schema).positive is not None
    if top_k is not None and not (one_decision and 1 <= top_k < row_count):
        two = "needs two classes" if not one_decision else f"must be from 1 to {row_count - 1:,} rows"
        raise InputError(f"top_k {two}, got {top_k:,} for {row_count:,} rows of {len(schema.classes)} classes.")


def _check_inputs(subject: Subject) -> None:
    """Encode the rows, so that a value that does not fit stops the run before any auditor starts."""
    if subject.audited.capability(Runnable) is None:
        return
    if len(subject.labels) <= LARGE_ROW_COUNT:
        _ = subject.inputs
    if subject.training is not None:
        with naming(subject.training):
            _ = subject.training_inputs


MOST_NUMBERS, FEWEST_ROWS = 20, 100
"""A sensitive column of more different numbers, half of them in fewer rows, looks continuous."""


def _check_groups(subject: Subject, name: str) -> None:
    """Refuse a merge of an unknown name, names that mean something else, and numbers that look continuous."""
    if name == subject.task.part:
        raise InputError(
            f"sensitive column {name!r} has the name of the breakdown by {name} of a {subject.schema.task} task; "
            f"rename the column, such as to '{name}_group'."
        )
    _, words = factorize(subject.data.frame[name])
    known = {canonical(word) for word in words}
    for before in subject.merges.get(name, {}):
        if before not in known:
            raise InputError(f"merge: column {name} has no group {before!r}{closest(before, known)}.")
    for reserved in known & {MISSING, subject.missing_group} - set(subject.merges.get(name, {})):
        raise InputError(
            f"sensitive column {name!r} holds the text {reserved!r}, by which a report names rows without a value; "
            f"pass --merge '{name}:{reserved}=unknown' to compare these rows, or leave their cells empty."
        )
    if name in subject.bins:
        return
    keys, codes = subject.group_codes((name,))
    numbers = [key[0] for key in keys if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", key[0])]
    if len(numbers) > MOST_NUMBERS and len(numbers) >= len(keys) - 1:
        usual = int(np.median(np.bincount(codes, minlength=len(keys))))
        if usual < FEWEST_ROWS:
            raise InputError(
                f"sensitive column {name!r} looks continuous: {len(numbers):,} different numbers, of about {usual:,} "
                f"rows each; pass --bins {name}=quantiles:4 or edges of your own, such as --bins {name}=25,45,65."
            )


def _check_group_count(subject: Subject, name: str) -> None:
    """Refuse a sensitive column of more groups than can be compared."""
    count = len(subject.group_codes((name,))[0])
    if count > MAXIMUM_GROUPS:
        raise InputError(
            f"sensitive column {name!r} has {count:,} groups, and at most {MAXIMUM_GROUPS} can be compared; "
            f"if it holds numbers, pass --bins {name}=quantiles:4 or edges of your own; of dates, add a column "
            "with the year or the age."
        )


def _where(data: Data, expression: str | None) -> tuple[Data, list[str]]:
    """Return the rows that an expression holds for, and a note on the others."""
    if expression is None:
        return data, []
    with naming(data):
        chosen = select(data.frame, expression)
    kept = int(chosen.sum())
    if not kept:
        raise DatasetError(f"{data.name}: no row has {expression}; nothing is left to audit.")
    note = Message(
        "Only rows with {expression} are audited: {kept:,} of {chosen_count:,}; {value:,} were left out.",
        expression=expression,
        kept=kept,
        chosen_count=len(chosen),
        value=len(chosen) - kept,
    )
    return dataclasses.replace(data, frame=data.frame[chosen]), [note]


def _labels(schema: Schema, data: Data, *, stated: bool) -> Labels:
    """Return the label of every row, with the task's mark where it has none; all have none without a target.

    Raises:
        DatasetError: a column that the model reads is missing, or the target, or all of its labels, are although the
            request named it.
    """
    task = task_for(schema)
    with naming(data):
        schema.check_columns(data.frame)
        encode = task.encode_labels if stated else functools.partial(labels_of, task)
        labels = task.unlabelled(len(data.frame))
        for start, part in _parts(data.frame):
            labels[start : start + len(part)] = encode(part)
        if stated and not has_label(labels).any():
            raise DatasetError(f"no row has a label in {' and '.join(map(repr, schema.targets))}.")
    return labels


def _label_notes(schema: Schema, labels: Labels) -> list[str]:
    """Return the sentence that says for how many rows a label is known, unless it is for all."""
    known = int(has_label(labels).sum())
    if known == len(labels):
        return []
    if schema.target is None:
        return [Message("No column of labels is named: what needs a label is not measured.")]
    if not known:
        return [
            Message("No row has a label ({target}): what needs one is not measured.", target=", ".join(schema.targets))
        ]
    note = Message(
        "{known:,} of {count:,} rows have a label in column {target}: what needs one is measured on these rows, all "
        "else on all rows.",
        known=known,
        count=len(labels),
        target=", ".join(schema.targets),
    )
    return [note]


def _labelled(schema: Schema, training: Data) -> tuple[Data, list[str]]:
    """Return the training rows that have a label, all of them where no column has labels, and what is said of them."""
    labels = _labels(schema, training, stated=False)
    known = has_label(labels)
    notes: list[str] = [Message("Training data: {note}", note=note) for note in training.notes]
    if known.all() or not known.any():
        return training, notes
    note = Message(
        "{count:,} of {known_count:,} rows have no label in column {target} and were left out.",
        count=int((~known).sum()),
        known_count=len(known),
        target=schema.target,
    )
    notes.append(Message("Training data: {note}", note=note))
    return dataclasses.replace(training, frame=training.frame[known]), notes


def _decided(data: Data, labels: Labels, audited: Audited) -> tuple[Data, Labels, Data | None, list[str]]:
    """Return the rows that have a decision, their labels, the other rows, and a note on these."""
    present = audited.answered(data.frame)
    columns = audited.decision_columns or audited.schema.targets
    if not present.any():
        raise DatasetError(f"{data.name}: no row has a value in {' and '.join(columns)}.")
    if present.all():
        return data, labels, None, []
    note = Message(
        "{count:,} of {present_count:,} rows have no value in {names} and were left out.",
        count=int((~present).sum()),
        present_count=len(present),
        names=" or ".join(columns),
    )
    rows, others = (dataclasses.replace(data, frame=data.frame[chosen]) for chosen in (present, ~present))
    return rows, labels[present], others, [note]


def _unseen_notes(schema: Schema, data: Data) -> list[str]:
    counts: collections.Counter[str] = collections.Counter()
    cut = 0
    with naming(data):
        for _, part in _parts(data.frame):
            counts.update(schema.unseen_counts(part))
            cut += schema.cut_count(part)
    cut_notes: list[str] = [
        Message(
            "Column {name}: {cut:,} of {frame_count:,} texts were cut to their first {length} words.",
            name=feature.name,
            cut=cut,
            frame_count=len(data.frame),
            length=feature.length,
        )
        for feature in schema.features
        if cut
    ]
    return cut_notes + [
        Message(
            "Column {name}: {counts:,} of {frame_count:,} rows hold a category, or a missing value, that "
            "the model was never trained on.",
            name=name,
            counts=counts[name],
            frame_count=len(data.frame),
        )
        for name in (feature.name for feature in schema.features)
        if counts[name]
    ]


def _parts(frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield a frame whole, or, where it is large, in parts, each with the position of its first row."""
    step = len(frame) if len(frame) <= LARGE_ROW_COUNT else ROWS_AT_ONCE
    for start in range(0, len(frame), step):
        yield start, frame.iloc[start : start + step]
