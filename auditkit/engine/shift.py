"""Which verdicts survive another mix of groups: the rows are reweighted, measured and judged once more."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.data.group_names import known_as
from auditkit.engine.subject import Subject
from auditkit.errors import InputError, closest
from auditkit.evidence.gate import judge_report
from auditkit.evidence.judging import RANK
from auditkit.evidence.measurement import Column, Table, shown
from auditkit.evidence.messages import Message, number, span, title
from auditkit.evidence.policy import Finding, Policy, Verdict
from auditkit.evidence.report import Outcome, Report
from auditkit.evidence.sentences import bound_words
from auditkit.stats.sampling import Sampling

REPEATED = ("performance", "fairness")
"""The auditors whose numbers follow the weights of the rows."""

VERDICT_WORDS: dict[str, Message] = {
    "pass": Message("pass"),
    "warn": Message("warning"),
    "fail": Message("fail"),
    "inconclusive": Message("inconclusive"),
    "error": Message("error"),
    "waived": Message("waived"),
    "not_run": Message("not judged"),
}


@dataclasses.dataclass(frozen=True)
class Shift:
    """A change of the share of one group of a sensitive column; the others keep their proportions to each other."""

    column: str
    group: str
    change: float


def parse_shift(text: str) -> Shift:
    """Return the shift that an option states.

    >>> parse_shift("sex=Female:+0.10")
    Shift(column='sex', group='Female', change=0.1)

    Raises:
        InputError: it is none.
    """
    found = re.fullmatch(r"([^=]+)=(.+):([+-]?[0-9]*\.?[0-9]+)", text.strip())
    if found is None or float(found[3]) == 0:
        raise InputError(f"shift must be COLUMN=GROUP:CHANGE, such as sex=Female:+0.10, got {text!r}.")
    return Shift(found[1].strip(), found[2].strip(), float(found[3]))


def shares_of(subject: Subject, shift: Shift) -> tuple[float, float]:
    """Return the share of the group now, by the weights of rows if they have any, and after the shift.

    Raises:
        InputError: the column is not sensitive, it has no such group, or the share would not lie between 0 and 1.
    """
    if shift.column not in subject.sensitive:
        raise InputError(
            f"shift: {shift.column!r} is not a sensitive column{closest(shift.column, subject.sensitive)}."
        )
    own = _rows_of(subject, shift)
    weights = subject.sampling.weights_of(len(own))
    now = float(weights[own].sum() / weights.sum())
    after = now + shift.change
    if not 0 < after < 1:
        raise InputError(
            f"shift: {shift.group} is {now:.1%} of the rows, and a change of {shift.change:+g} would make it "
            f"{after:.1%}; it must stay between 0 and 100 %."
        )
    return now, after


def _rows_of(subject: Subject, shift: Shift) -> NDArray[np.bool_]:
    """Return which rows are of the group, (rows,), whose name may be written in another form."""
    names, codes = subject.group_codes((shift.column,))
    known = [key[0] for key in names]
    group = known_as(shift.group, known)
    if group not in known:
        raise InputError(f"shift: column {shift.column} has no group {shift.group!r}{closest(shift.group, known)}.")
    return np.asarray(codes == known.index(group))


def shifted(subject: Subject, shift: Shift) -> Subject:
    """Return the subject with the weights of its rows changed so that the group has its share after the shift."""
    now, after = shares_of(subject, shift)
    own = _rows_of(subject, shift)
    weights = subject.sampling.weights_of(len(own)) * np.where(own, after / now, (1 - after) / (1 - now))
    return subject.reweighted(Sampling(weights, subject.sampling.clusters))


def shift_outcome(
    report: Report,
    policy: Policy,
    shifts: Sequence[Shift],
    repeat: Callable[[Subject], Sequence[Outcome]],
    subject: Subject,
) -> Outcome:
    """Return, as an outcome of its own, how each limit of a judged report comes out under each shift.

    `repeat` runs the auditors in `REPEATED` on a subject. Limits on changes from a baseline are left out.
    """
    before = _by_limit(report, report.findings)
    notes: list[str] = []
    tables = []
    for shift in shifts:
        other = report.model_copy(update={"outcomes": tuple(repeat(shifted(subject, shift)))})
        judged = judge_report(other, policy)
        after = _by_limit(judged, judged.findings)
        now, then = shares_of(subject, shift)
        same = [key for key in before if key in after and after[key].verdict == before[key].verdict]
        what = {
            "group": shift.group,
            "column": shift.column,
            "after": number(then, "share"),
            "now": number(now, "share"),
        }
        compared = [key for key in before if key in after]
        notes.append(
            Message(
                "If {group} ({column}) were {after} of the rows instead of {now}, {n} of {total} verdicts would stay.",
                n=len(same),
                total=len(compared),
                **what,
            )
        )
        notes += [
            Message(
                "{measurement}{by}: {before} would become {after}.",
                measurement=title(key[0]),
                by=Message(" by {columns}", columns=shown(key[1])) if key[1] else "",
                before=VERDICT_WORDS[before[key].verdict],
                after=VERDICT_WORDS[after[key].verdict],
            )
            for key in compared
            if key not in same
        ]
        tables.append(_table(Message("Verdicts if {group} ({column}) were {after} of the rows", **what), before, after))
    return Outcome(auditor="shift", version="", exhibits=tuple(tables), notes=tuple(notes))


Key = tuple[str, tuple[str, ...], str]
"""A measurement, its breakdown, and the limit on it."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """The worst finding of a limit on one breakdown, in words: what was measured, and the verdict."""

    verdict: Verdict
    value: str
    limit: str


def _by_limit(report: Report, findings: Sequence[Finding]) -> dict[Key, Judged]:
    """Return the worst judged finding of each limit and breakdown of the auditors that are repeated."""
    found: dict[Key, Finding] = {}
    for finding in findings:
        name = finding.measurement.partition(".")[0]
        if name not in REPEATED or finding.value is None or finding.limit.regression_at_most is not None:
            continue
        key = (finding.measurement, finding.by, finding.limit.model_dump_json())
        if key not in found or RANK[finding.verdict] > RANK[found[key].verdict]:
            found[key] = finding
    return {key: _in_words(report, finding) for key, finding in found.items()}


def _in_words(report: Report, finding: Finding) -> Judged:
    measurement = report.measurement(finding.measurement, finding.by)
    assert measurement is not None
    assert finding.value is not None
    value = number(finding.value, measurement.unit)
    if finding.interval is not None:
        value = Message("{value} ({interval})", value=value, interval=span(finding.interval, measurement.unit))
    if finding.group is not None:
        value = Message("{group}: {value}", group=finding.group.text, value=value)
    return Judged(finding.verdict, value, bound_words(finding.limit, measurement.unit))


def _table(heading: str, before: Mapping[Key, Judged], after: Mapping[Key, Judged]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for key, one in before.items():
        other = after.get(key)
        rows.append(
            (
                title(key[0]),
                shown(key[1]) if key[1] else None,
                one.limit,
                one.value,
                VERDICT_WORDS[one.verdict],
                None if other is None else other.value,
                None if other is None else VERDICT_WORDS[other.verdict],
            )
        )
    return Table(
        title=heading,
        note=Message(
            "Rows are reweighted so that the group has this share, and the other groups keep their proportions to each "
            "other; rates within a group stay as they are. Of several groups the worst is shown."
        ),
        columns=tuple(
            Column(name=name)
            for name in (
                Message("Measurement"),
                Message("By"),
                Message("Limit"),
                Message("As audited"),
                Message("Verdict"),
                Message("With the other mix"),
                Message("Verdict with the other mix"),
            )
        ),
        rows=tuple(rows),
    )
