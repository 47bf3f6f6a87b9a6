"""Logs of Inspect AI as JSON: one row for each sample and epoch, one column for each scorer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from auditkit.data.interned import shown
from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.data.readers.evaluations import LOG_BYTES, Evaluated, number_of, rows_of
from auditkit.documents import parse_json
from auditkit.errors import DatasetError
from auditkit.evidence.messages import Message

JOURNAL = b"_journal/"
"""How the names of the first members of a log in Inspect's binary form begin."""

WORDS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""What Inspect's scorers write for correct, incorrect, partly correct and no answer, as Inspect counts them."""


class InspectLogReader:
    """Logs that `inspect eval --log-format json` writes, or `inspect log convert --to json`."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether the first keys are those of a log, or the file is one in binary form."""
        if source.head.startswith(b"PK") and source.head[30:].startswith(JOURNAL):
            return True
        begin = source.head.lstrip()[:200]
        return begin.startswith(b"{") and all(key in begin for key in (b'"version"', b'"status"', b'"eval"'))

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return its samples.

        Raises:
            DatasetError: the log is in binary form, damaged, or holds no sample with a score.
        """
        if source.head.startswith(b"PK"):
            raise DatasetError(
                f"{source.name}: is an Inspect log in binary form; write it as JSON: inspect log convert FILE "
                "--to json --output-dir DIR."
            )
        log, size = _document(source)
        spec, samples = log["eval"], log.get("samples") or []
        if not isinstance(samples, list):
            raise DatasetError(f"{source.name}: not a log of Inspect: its key 'samples' is no list.")
        task = str(spec.get("task") or "evaluation")
        kept = [sample for sample in samples if isinstance(sample, dict) and not sample.get("invalidation")]
        _check_once(source.name, kept)
        found = [_evaluated(sample, task) for sample in kept]
        notes = list(_notes(log, samples, kept))
        return rows_of(source.name, size, found, notes, dropped=_unread(kept))


def _document(source: DataSource) -> tuple[dict[str, Any], int]:
    """Return the log, and the bytes of the file."""
    size = source.file.seek(0, os.SEEK_END)
    LOG_BYTES.check(size, source.name, DatasetError)
    source.file.seek(0)
    try:
        log = parse_json(source.file.read(), unique_keys=True)
    except ValueError as error:
        raise DatasetError(f"{source.name}: not a log of Inspect: {error}.") from error
    if not isinstance(log, dict) or not isinstance(log.get("eval"), dict):
        raise DatasetError(f"{source.name}: not a log of Inspect: it has no key 'eval'.")
    return log, size


def _check_once(name: str, samples: list[Any]) -> None:
    """Raise DatasetError where a sample stands twice in one epoch, which no evaluation gives."""
    counts = Counter((str(sample.get("id")), str(sample.get("epoch", 1))) for sample in samples)
    if not counts:
        return
    (sample, epoch), count = counts.most_common(1)[0]
    if count > 1:
        raise DatasetError(
            f"{name}: sample {shown(sample)} stands {count:,} times in epoch {shown(epoch)}; pass the log of one run."
        )


def _evaluated(sample: Mapping[str, Any], task: str) -> Evaluated:
    error = bool(sample.get("error"))
    scores: dict[str, float | None] = {}
    for scorer, score in _scores(sample):
        value = score.get("value")
        parts = {f"{scorer}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {scorer: value}
        scores |= {name: None if error else number for name, part in parts.items() if (number := _number(part)) != ""}
    metadata = sample.get("metadata")
    return Evaluated(
        task=task,
        sample=str(sample.get("id")),
        epoch=sample.get("epoch", 1),
        scores=scores,
        fields=metadata if isinstance(metadata, dict) else {},
    )


def _scores(sample: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    scores = sample.get("scores")
    for scorer, score in (scores if isinstance(scores, dict) else {}).items():
        if isinstance(score, dict):
            yield str(scorer), score


def _number(value: Any) -> Any:
    """Return a score as a number, None where it has no value, and "" where it is of a kind that is not read."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, bool | int | float):
        return number_of(value)
    if not isinstance(value, str):
        return ""
    known = WORDS.get(value, WORDS.get(value.lower()))
    try:
        return known if known is not None else float(value)
    except ValueError:
        return ""


def _unread(samples: list[Any]) -> list[str]:
    """Return the scorers whose values are neither numbers nor words that count as one."""
    return sorted(
        {scorer for sample in samples for scorer, score in _scores(sample) if _number(score.get("value")) == ""}
        - {scorer for sample in samples for scorer, score in _scores(sample) if isinstance(score.get("value"), dict)}
    )


def _notes(log: Mapping[str, Any], samples: list[Any], kept: list[Any]) -> Iterator[str]:
    spec = log["eval"]
    yield Message(
        "A log of Inspect: task {task}, model {model}.",
        task=str(spec.get("task") or "unknown"),
        model=str(spec.get("model") or "unknown"),
    )
    status = log.get("status")
    if status != "success":
        yield Message("The status of the evaluation is {status}: samples may be missing.", status=str(status))
    if len(kept) < len(samples):
        yield Message("{n:,} samples were declared invalid and were left out.", n=len(samples) - len(kept))
    errors = sum(bool(sample.get("error")) for sample in kept)
    if errors:
        yield Message("{n:,} of {count:,} samples ended in an error and have no score.", n=errors, count=len(kept))
    halted = sum(bool(sample.get("limit")) for sample in kept)
    if halted:
        yield Message(
            "{n:,} of {count:,} samples were stopped by a limit of the evaluation; their scores count.",
            n=halted,
            count=len(kept),
        )
