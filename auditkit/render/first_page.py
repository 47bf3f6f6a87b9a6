"""What stands on the first page of a report, and on the one-page summary: the findings that concern most people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from auditkit.compliance.facts import Facts
from auditkit.evidence.baseline import DIFFERENCE_UNIT
from auditkit.evidence.breakdowns import breakdown_of
from auditkit.evidence.judging import RANK
from auditkit.evidence.measurement import Measurement, Slice
from auditkit.evidence.messages import Message, number, span, title
from auditkit.evidence.policy import Finding, Limit, Verdict
from auditkit.evidence.report import Report
from auditkit.evidence.sentences import WHOSE, bound_words
from auditkit.render.next_steps import Step, next_steps
from auditkit.render.summary import attention, judged_limits

SENTENCES, CHARTS, ROWS, LIMITS, STEPS = 3, 2, 6, 8, 4
"""How many findings, charts, rows of a chart, limits and steps the first page has room for."""


class Said(NamedTuple):
    """One finding in plain words: its verdict, what was found, and the interval of the number behind it."""

    verdict: Verdict
    text: str
    evidence: str


class GroupBars(NamedTuple):
    """The rates of the groups of one column, and the line that a limit on their gap draws through them.

    A group whose rate is under `line` lies further behind the highest rate than the limit allows.
    """

    title: Message
    rates: Measurement
    rows: tuple[Slice, ...]
    omitted: int
    line: float
    line_words: Message


class AtAGlance(NamedTuple):
    """A limit that was judged, with the number that came closest to it or went furthest beyond it."""

    finding: Finding
    verdict: Verdict
    value: Message
    bound: Message


class FirstPage(NamedTuple):
    """Everything on the first page that is not simply a field of the report."""

    purpose: str | None
    owner: str | None
    said: list[Said]
    selection: str
    more: int
    bars: list[GroupBars]
    glance: list[AtAGlance]
    steps: list[Step]
    guesses: list[str]


def first_page(report: Report, facts: Facts | None = None) -> FirstPage:
    """Return what the first page of `report` says; `facts` are what people stated in facts.toml."""
    findings = key_findings(report)
    said = [plain(finding, _measurement(report, finding)) for finding in findings[:SENTENCES]]
    bars = _bars(report, findings)
    return FirstPage(
        purpose=facts.answer("intended_purpose") if facts else None,
        owner=facts.answer("owner") if facts else None,
        said=said,
        selection=_selection(report)
        if any(f.measurement.startswith("fairness.") for f in findings[:SENTENCES])
        else "",
        more=len(attention(report)) - len(said),
        bars=bars,
        glance=[] if bars else at_a_glance(report)[:LIMITS],
        steps=next_steps(report)[:STEPS],
        guesses=list(report.subject.notes),
    )


def key_findings(report: Report) -> list[Finding]:
    """Return the findings that a reader must see, those that concern most people first.

    Each limit is heard once before any is heard twice, by its worst verdict; whole groups come before intersections of
    columns, and groups of many rows before groups of few. Two findings about the same two rates are one fact: the
    second is left out. The first few keep the order of their verdicts, worst first.
    """
    ordered = sorted(attention(report), key=lambda finding: _weight(report, finding))
    first: dict[Limit, Finding] = {}
    for finding in ordered:
        first.setdefault(finding.limit, finding)
    rest = sorted(ordered, key=lambda finding: (len(finding.by) > 1, *_weight(report, finding)))
    facts: dict[object, Finding] = {}
    for finding in [*first.values(), *rest]:
        facts.setdefault(_fact(report, finding), finding)
    chosen = list(facts.values())
    top = sorted(chosen[:SENTENCES], key=lambda finding: -RANK[finding.verdict])
    return top + chosen[SENTENCES:]


def _weight(report: Report, finding: Finding) -> tuple[int, bool, int, float]:
    """How much a finding matters, the least first: verdict, whole groups, rows concerned, distance from the limit."""
    found = _measurement(report, finding)
    counts = (found.compared_counts or ()) if found else ()
    rows = sum(counts) if counts else found.count if found else 0
    if found and finding.group:
        rows = next((part.count for part in found.slices if part.group == finding.group), 0)
    return -RANK[finding.verdict], len(finding.by) > 1, -rows, -finding.excess


def _fact(report: Report, finding: Finding) -> object:
    found = _measurement(report, finding)
    if found is None or found.pair is None or finding.group is not None:
        return finding
    return found.by, found.pair.rate, found.compared


def _measurement(report: Report, finding: Finding) -> Measurement | None:
    return report.measurement(finding.measurement, finding.by)


def plain(finding: Finding, measurement: Measurement | None) -> Said:
    """Say a finding in plain words: the two rates, the gap, the limit. Other findings keep their own sentence."""
    pair = measurement.pair if measurement else None
    if measurement is None or pair is None or measurement.compared is None or finding.value is None:
        return Said(finding.verdict, finding.message, "")
    if measurement.compared_counts is None or 0 in measurement.compared_counts or finding.baseline is not None:
        return Said(finding.verdict, finding.message, "")
    one, other = (
        Message("{rate} of {group}", rate=number(rate, "rate"), group=group.text)
        for group, rate in zip(measurement.compared, pair.rates(measurement.compared_counts), strict=True)
    )
    rates = Message(
        "{what}: {one} and {other}.", what=WHOSE.get(pair.rate, title(f".{pair.rate}")), one=one, other=other
    )
    values = {"gap": number(finding.value, measurement.unit), "bound": bound_words(finding.limit, measurement.unit)}
    judged = _ratio(finding.verdict, values) if measurement.unit == "ratio" else _gap(finding.verdict, values)
    return Said(
        finding.verdict, Message("{rates} {judged}", rates=rates, judged=judged), _evidence(finding, measurement)
    )


def _gap(verdict: Verdict, values: dict[str, Message]) -> Message:
    if verdict == "inconclusive":
        return Message("The gap is {gap}; the limit is {bound}. There is not enough data to decide.", **values)
    if verdict == "waived":
        return Message("The gap is {gap}; the limit is {bound}. A waiver covers it.", **values)
    return Message("The gap of {gap} exceeds the limit ({bound}).", **values)


def _ratio(verdict: Verdict, values: dict[str, Message]) -> Message:
    if verdict == "inconclusive":
        return Message(
            "The ratio of the two is {gap}; the limit is {bound}. There is not enough data to decide.", **values
        )
    if verdict == "waived":
        return Message("The ratio of the two is {gap}; the limit is {bound}. A waiver covers it.", **values)
    return Message("The ratio of the two is {gap}, beyond the limit ({bound}).", **values)


def _evidence(finding: Finding, measurement: Measurement) -> Message:
    assert measurement.pair is not None
    assert measurement.compared_counts is not None
    first, second = measurement.compared_counts
    return Message(
        "By {columns}; {interval}; {first:,} and {second:,} records",
        columns=breakdown_of(measurement.id, measurement.by),
        interval=span(measurement.pair.interval, measurement.unit),
        first=first,
        second=second,
    )


def _selection(report: Report) -> str:
    """What "selected" means in this report's sentences: the note that names the class."""
    notes = (note for outcome in report.outcomes if outcome.auditor == "fairness" for note in outcome.notes)
    return next((note for note in notes if isinstance(note, Message) and "classes" in note.arguments), "")


def _bars(report: Report, findings: Sequence[Finding]) -> list[GroupBars]:
    """The charts of the gaps between whole groups: those that need attention, else those that were judged."""
    drawn: dict[tuple[str, tuple[str, ...]], GroupBars] = {}
    for finding in (*findings, *report.findings):
        gap = _measurement(report, finding)
        if gap is None or gap.pair is None or len(gap.by) != 1 or finding.baseline is not None:
            continue
        rates = report.measurement(f"{gap.id.partition('.')[0]}.{gap.pair.rate}", gap.by)
        if rates is not None and (rates.id, rates.by) not in drawn:
            bars = _bars_of(gap, rates, finding.limit)
            drawn |= {(rates.id, rates.by): bars} if bars else {}
    # One rate for each column before a second rate of any.
    by_column: dict[tuple[str, ...], list[GroupBars]] = {}
    for (_, by), bars in drawn.items():
        by_column.setdefault(by, []).append(bars)
    first = [charts[0] for charts in by_column.values()]
    rest = [bars for charts in by_column.values() for bars in charts[1:]]
    return [*first, *rest][:CHARTS]


def _bars_of(gap: Measurement, rates: Measurement, limit: Limit) -> GroupBars | None:
    known = sorted((part for part in rates.slices if part.value is not None), key=lambda part: -(part.value or 0.0))
    if len(known) < 2:
        return None
    highest = known[0].value or 0.0
    if gap.unit == "ratio":
        line = highest * limit.bound
        words = Message("{bound} of the highest rate", bound=number(limit.bound, "rate"))
    else:
        line = highest - limit.bound
        words = Message("{bound} below the highest rate", bound=number(limit.bound, gap.unit))
    rows = tuple(known) if len(known) <= ROWS else (*known[: ROWS // 2], *known[-(ROWS // 2) :])
    heading = Message(
        "{what}, by {columns}",
        what=WHOSE.get(rates.id.partition(".")[2], title(rates.id)),
        columns=breakdown_of(rates.id, rates.by),
    )
    return GroupBars(heading, rates, rows, len(known) - len(rows), line, words)


def at_a_glance(report: Report) -> list[AtAGlance]:
    """Return every limit that was judged, with the number that came closest to it or went furthest beyond it."""
    found = []
    for judged in judged_limits(report):
        numbers = [finding for finding in judged.findings if finding.value is not None]
        if numbers:
            worst = max(numbers, key=lambda finding: (RANK[finding.verdict], finding.excess))
            measurement = _measurement(report, worst)
            unit = measurement.unit if measurement else "number"
            if judged.limit.regression_at_most is not None:
                unit = DIFFERENCE_UNIT.get(unit, unit)
            bound = bound_words(judged.limit, measurement.unit if measurement else None)
            found.append(AtAGlance(worst, judged.verdict, number(worst.value or 0.0, unit), bound))
    return sorted(found, key=lambda one: -RANK[one.verdict])


def met_limits(report: Report) -> list[AtAGlance]:
    """Return the limits that were met, in the policy's order."""
    return [one for one in at_a_glance(report) if one.verdict == "pass"]


def held_limits(report: Report) -> dict[tuple[str, ...], list[AtAGlance]]:
    """Return the limits that do not count without others that were exceeded, by the measurements of those."""
    held_by = {judged.limit: judged.held_by for judged in judged_limits(report)}
    seen = {finding.limit for finding in attention(report)}
    found: dict[tuple[str, ...], list[AtAGlance]] = {}
    for one in at_a_glance(report):
        if held_by[one.finding.limit] and one.finding.limit not in seen:
            found.setdefault(held_by[one.finding.limit], []).append(one)
    return found
