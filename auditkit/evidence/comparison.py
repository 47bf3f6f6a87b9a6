"""Two reports side by side: what changed, by how much, and whether the data settle that it did."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Literal

from auditkit.evidence.baseline import difference_interval, paired_interval
from auditkit.evidence.gate import same_rows
from auditkit.evidence.measurement import Better, Group, Interval, Measurement, Record, Slice, Unit, shown
from auditkit.evidence.messages import Message, Text
from auditkit.evidence.policy import Finding, Verdict
from auditkit.evidence.report import Report, read_report
from auditkit.evidence.scalars import Flag, Number, WholeNumber

Reading = Literal["better", "worse", "changed", "not settled", "same", "undefined", "appeared", "disappeared"]
"""How a change reads; `changed` where neither direction is better, `not settled` where the interval of the
difference holds zero or there is none, `undefined` where a value is missing on one side."""


class Side(Record):
    """One number of one of the two reports."""

    value: Number | None
    interval: Interval | None
    count: WholeNumber
    reason: Text | None = None


class Change(Record):
    """One number of both reports: `difference` is after minus before; None on a side that did not measure it."""

    id: str
    by: tuple[str, ...]
    group: Group | None
    unit: Unit
    better: Better
    before: Side | None
    after: Side | None
    difference: Number | None
    interval: Interval | None
    reading: Reading


class VerdictChange(Record):
    """One limit on one number, and how it came out before and after; None where it was not judged."""

    measurement: str
    by: tuple[str, ...]
    group: Group | None
    limit: str
    before: Verdict | None
    after: Verdict | None
    message: Text


class Compared(Record):
    """One of the two runs, as far as a reader needs to tell them apart."""

    run_id: str
    created: datetime
    verdict: Verdict
    model: str
    model_sha256: str | None
    dataset: str
    dataset_sha256: str | None
    audited_row_count: WholeNumber
    policy: str
    policy_sha256: str
    auditkit: str


class Comparison(Record):
    """Two reports, measurement by measurement. `same_model` and `same_data` are by sha256, None where unknown."""

    comparison_version: Literal[2] = 2
    before: Compared
    after: Compared
    same_model: Flag | None
    same_data: Flag | None
    same_policy: Flag
    changes: tuple[Change, ...]
    verdicts: tuple[VerdictChange, ...]
    notes: tuple[Text, ...]

    def to_json(self) -> str:
        """Return the comparison as JSON text, as written to compare.json."""
        return self.model_dump_json(indent=2) + "\n"


class ReplayDifference(Record):
    """A number that a replay did not give again: what it was, what it is, and where."""

    where: str
    recorded: str
    recomputed: str


def compare(before: Report | str | Path, after: Report | str | Path) -> Comparison:
    """Compare two reports, or those of two runs, number by number: differences, intervals, what appeared or went.

    The interval of a difference needs an interval of one level on both sides. Where both runs audited the very same
    rows and hold replicates, it is that of pairs (the delete-a-group jackknife); else it treats the runs as
    independent. Each interval holds for its own difference, not for all of them at once, which the notes say.
    """
    before, after = (one if isinstance(one, Report) else read_report(one) for one in (before, after))
    old, new = _numbers(before), _numbers(after)
    paired = same_rows(before, after)
    changes = [_change(key, old.get(key), new.get(key), paired=paired) for key in dict.fromkeys([*new, *old])]
    first, second = _compared(before), _compared(after)
    same_data = _same(first.dataset_sha256, second.dataset_sha256)
    notes: list[Text] = [
        Message(
            "Each interval of a difference holds for that difference alone: of twenty that did not change, about one "
            "shows a change at 95 %."
        )
    ]
    if paired:
        notes.append(
            Message(
                "Both runs audited the same rows: intervals are those of pairs where the reports hold replicates, and "
                "otherwise as for independent runs, which is usually wider than necessary."
            )
        )
    elif same_data:
        notes.append(
            Message(
                "Both runs audited the same file, but not certainly the same rows of it ({before:,} and {after:,} "
                "rows); the intervals treat the runs as independent.",
                before=first.audited_row_count,
                after=second.audited_row_count,
            )
        )
    elif same_data is False:
        notes.append(
            Message("The two runs audited different data: a difference may come from the data, the model, or both.")
        )
    return Comparison(
        before=first,
        after=second,
        same_model=_same(first.model_sha256, second.model_sha256),
        same_data=same_data,
        same_policy=first.policy_sha256 == second.policy_sha256,
        changes=tuple(changes),
        verdicts=tuple(_verdict_changes(before, after)),
        notes=tuple(notes),
    )


def replay_differences(recorded: Report, recomputed: Report, tolerance: float) -> list[ReplayDifference]:
    """Return every number, interval end and count that two runs do not share within `tolerance`.

    Two numbers agree where they differ by at most `tolerance` times the larger of 1 and the recorded magnitude.
    """
    found = []
    old, new = _numbers(recorded), _numbers(recomputed)
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        words = _key_words(key)
        if before is None or after is None:
            found.append(ReplayDifference(where=words, recorded=_there(before), recomputed=_there(after)))
            continue
        for what, one, two in _parts(before[1], after[1]):
            close = one == two
            if one is not None and two is not None:
                close = abs(one - two) <= tolerance * max(1.0, abs(one))
            if not close:
                found.append(ReplayDifference(where=words + what, recorded=repr(one), recomputed=repr(two)))
    return found


Key = tuple[str, tuple[str, ...], Group | None]


Found = tuple[Measurement, Side, Measurement | Slice]
"""The measurement that a number is of, the number as it is compared, and the record that holds it."""


def _numbers(report: Report) -> dict[Key, Found]:
    """Every number of a report: the values of measurements and of their slices, by id, breakdown and group."""
    found: dict[Key, Found] = {}
    for outcome in report.outcomes:
        for one in outcome.measurements:
            if one.value is not None or not one.slices:
                found[(one.id, one.by, None)] = (one, _side(one), one)
            for part in one.slices:
                found[(one.id, one.by, part.group)] = (one, _side(part), part)
    return found


def _side(number: Measurement | Slice) -> Side:
    return Side(value=number.value, interval=number.interval, count=number.count, reason=number.reason)


def _change(key: Key, before: Found | None, after: Found | None, *, paired: bool) -> Change:
    measurement = (after or before)[0]  # type: ignore[index]  # a key comes from one of the two
    old, new = (None if side is None else side[1] for side in (before, after))
    difference, interval = None, None
    reading: Reading = "appeared" if old is None else "disappeared" if new is None else "undefined"
    same_unit = before is None or after is None or before[0].unit == after[0].unit
    if old is not None and new is not None and old.value is not None and new.value is not None and same_unit:
        difference = new.value - old.value
        then, now = old.interval, new.interval
        if then is not None and now is not None and math.isclose(then.level, now.level):
            interval = difference_interval(old.value, then, new.value, now)
            if paired and before and after:
                interval = paired_interval(before[2], after[2], now.level) or interval
        reading = _reading(difference, interval, measurement.better)
    return Change(
        id=key[0],
        by=key[1],
        group=key[2],
        unit=measurement.unit,
        better=measurement.better,
        before=old,
        after=new,
        difference=difference,
        interval=interval,
        reading=reading,
    )


def _reading(difference: float, interval: Interval | None, better: Better) -> Reading:
    if difference == 0:
        return "same"
    if interval is None or interval.low <= 0 <= interval.high:
        return "not settled"
    if better == "neither":
        return "changed"
    return "better" if (difference > 0) == (better == "higher") else "worse"


def _verdict_changes(before: Report, after: Report) -> list[VerdictChange]:
    old, new = _findings(before), _findings(after)
    changes = []
    for key in dict.fromkeys([*new, *old]):
        one, two = old.get(key), new.get(key)
        told = two or one
        changes.append(
            VerdictChange(
                measurement=key[0],
                by=key[1],
                group=key[2],
                limit=key[3],
                before=None if one is None else one.verdict,
                after=None if two is None else two.verdict,
                message="" if told is None else told.message,
            )
        )
    return changes


def _findings(report: Report) -> dict[tuple[str, tuple[str, ...], Group | None, str], Finding]:
    """The findings by what they are about; a bound that moved is still the same limit."""
    return {
        (
            finding.measurement,
            finding.by,
            finding.group,
            f"{'at most' if finding.limit.at_most is not None else 'at least'}, {finding.limit.severity}",
        ): finding
        for finding in report.findings
    }


def _compared(report: Report) -> Compared:
    model, data = report.subject.model, report.subject.dataset
    return Compared(
        run_id=report.run_id,
        created=report.created,
        verdict=report.verdict,
        model=model.name if model else "recorded decisions",
        model_sha256=model.sha256 if model else None,
        dataset=data.path or "in memory",
        dataset_sha256=data.sha256,
        audited_row_count=data.audited_row_count,
        policy=report.policy.name,
        policy_sha256=report.policy.sha256,
        auditkit=report.environment.auditkit,
    )


def _same(one: str | None, two: str | None) -> bool | None:
    return None if one is None or two is None else one == two


def _key_words(key: Key) -> str:
    by = f" by {shown(key[1])}" if key[1] else ""
    return f"{key[0]}{by}" + (f" [{key[2].text}]" if key[2] is not None else "")


def _there(side: Found | None) -> str:
    return "not measured" if side is None else repr(side[1].value)


def _parts(before: Side, after: Side) -> list[tuple[str, float | None, float | None]]:
    one, two = before.interval, after.interval
    return [
        ("", before.value, after.value),
        (", low end", None if one is None else one.low, None if two is None else two.low),
        (", high end", None if one is None else one.high, None if two is None else two.high),
        (", n", float(before.count), float(after.count)),
    ]
