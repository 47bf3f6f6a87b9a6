"""Findings in words: the one place that turns a judged number into the sentences a reader sees.

In this order: what was compared, the two rates with their counts, the gap with the interval of these two groups, the
limit, the interval over all pairs of groups, which judged the limit, where it is another, and the verdict.
"""

from __future__ import annotations

from auditkit.evidence.baseline import DIFFERENCE_UNIT
from auditkit.evidence.breakdowns import breakdown_of, is_of_auditor
from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit
from auditkit.evidence.messages import Message, bounds, number, span, title
from auditkit.evidence.policy import Limit, Verdict

VERDICTS: dict[str, Message] = {
    "pass": Message("Pass"),
    "warn": Message("Warning"),
    "fail": Message("Fail"),
    "inconclusive": Message("Inconclusive"),
}

WHOSE = {
    "selection_rate": Message("Selected"),
    "true_positive_rate": Message("Selected, among people whose actual outcome is positive"),
    "false_positive_rate": Message("Selected, among people whose actual outcome is negative"),
    "accuracy": Message("Decided correctly"),
    "positive_predictive_value": Message("Actual outcome is positive, among people who are selected"),
}
"""What the records that a rate counts have in common."""

WHAT_IS_COMPARED = {
    "demographic_parity": WHOSE["selection_rate"],
    "equalized_odds": Message("Selected, among people with the same actual outcome"),
    "equal_opportunity": WHOSE["true_positive_rate"],
    "predictive_equality": WHOSE["false_positive_rate"],
    "predictive_parity": WHOSE["positive_predictive_value"],
    "accuracy": WHOSE["accuracy"],
}
"""What the rates of a gap are the rates of, by the gap's name without `_difference` and `_ratio`."""


def bound_words(limit: Limit, unit: Unit | None) -> Message:
    """Print the bounds of a limit; `unit` is that of its measurement, None where nothing measured it.

    >>> limit = Limit(measurement="a.b", at_most=0.1, warn_at=0.05, rationale="x")
    >>> bound_words(limit, "rate_difference")
    'at most 10.0 points, warning beyond 5.0 points'
    """
    if limit.regression_at_most is not None and unit is not None:
        unit = DIFFERENCE_UNIT.get(unit, unit)

    def printed(bound: float) -> Message:
        return Message("{value:g}", value=bound) if unit is None else number(bound, unit)

    if limit.regression_at_most is not None:
        words = Message("worse than the baseline by at most {bound}", bound=printed(limit.bound))
    elif limit.at_most is not None:
        words = Message("at most {bound}", bound=printed(limit.bound))
    else:
        words = Message("at least {bound}", bound=printed(limit.bound))
    if limit.warn_at is None:
        return words
    return Message("{limit}, warning beyond {bound}", limit=words, bound=printed(limit.warn_at))


def subject(measurement_id: str, by: tuple[str, ...], part: Slice | None = None) -> Message:
    """Say what a number is: its title, with its breakdown or its group."""
    name = title(measurement_id)
    if not by:
        return name
    columns = breakdown_of(measurement_id, by)
    if part is not None and is_of_auditor(measurement_id, by):
        return Message("{title} ({columns}: {group})", title=name, columns=columns, group=part.group.text)
    if part is not None:
        return Message("{title} of {group} ({columns})", title=name, group=part.group.text, columns=columns)
    return Message("{title} by {columns}", title=name, columns=columns)


def sentence(
    measurement: Measurement,
    part: Slice | None,
    *,
    interval: Interval | None,
    limit: Limit,
    verdict: Verdict,
    remark: str,
) -> Message:
    """Say a judged number: group, number, interval, count, limit, verdict.

    `interval` is the one that the limit was held against. Of one group among several that is the simultaneous one,
    which stands apart from the group's own.
    """
    of_number: Measurement | Slice = measurement if part is None else part
    value = number(of_number.value or 0.0, measurement.unit)
    what = _compared(measurement) if part is None else None
    if what is not None:
        return _gap(measurement, what, value, interval, limit, _ending(verdict, remark))
    unit, own = measurement.unit, interval if part is None else part.interval
    values = {
        "subject": subject(measurement.id, measurement.by, part),
        "value": value,
        "evidence": _evidence(own, unit, of_number.count),
        "limit": bound_words(limit, unit),
        "verdict": _ending(verdict, remark),
    }
    if own is None or interval is None or bounds(own, unit) == bounds(interval, unit):
        values["evidence"] = _evidence(interval, unit, of_number.count)
        return Message("{subject}: {value} ({evidence}); the limit is {limit}. {verdict}", **values)
    return Message(
        "{subject}: {value} ({evidence}); the limit is {limit}. Simultaneous interval: {judged}. {verdict}",
        judged=span(interval, unit),
        **values,
    )


def regression_sentence(
    measurement: Measurement,
    part: Slice | None,
    *,
    change: tuple[float, float, Interval | None, bool],
    limit: Limit,
    verdict: Verdict,
    remark: str,
) -> Message:
    """Say how much worse a number is than in the baseline.

    `change` is the worsening, the value before, the interval of the worsening, and whether that is of pairs.
    """
    worsening, before, interval, paired = change
    of_number: Measurement | Slice = measurement if part is None else part
    unit = DIFFERENCE_UNIT.get(measurement.unit, measurement.unit)
    values = {
        "subject": subject(measurement.id, measurement.by, part),
        "change": number(abs(worsening), unit),
        "after": number(of_number.value or 0.0, measurement.unit),
        "before": number(before, measurement.unit),
        "evidence": _evidence_of_change(
            interval, unit, of_number.count, paired=paired, simultaneous=part is not None and _of_several(measurement)
        ),
        "limit": bound_words(limit, measurement.unit),
        "verdict": _ending(verdict, remark),
    }
    if worsening > 0:
        return Message(
            "{subject}: {after}, {change} worse than in the baseline ({before}; {evidence}); the limit is {limit}. "
            "{verdict}",
            **values,
        )
    if worsening < 0:
        return Message(
            "{subject}: {after}, {change} better than in the baseline ({before}; {evidence}); the limit is {limit}. "
            "{verdict}",
            **values,
        )
    return Message("{subject}: {after}, as in the baseline ({evidence}); the limit is {limit}. {verdict}", **values)


def _compared(measurement: Measurement) -> Message | None:
    """What is compared between two groups; None where it is not known, or where there are no two groups."""
    if measurement.compared is None or measurement.compared[0] == measurement.compared[1]:
        return None
    if measurement.pair is not None and measurement.pair.rate in WHOSE:
        return WHOSE[measurement.pair.rate]
    name = measurement.id.partition(".")[2].removesuffix("_difference").removesuffix("_ratio")
    known = measurement.id.startswith("fairness.") and measurement.unit in ("rate_difference", "ratio")
    return WHAT_IS_COMPARED.get(name, title(f".{name}")) if known else title(measurement.id)


def _gap(
    measurement: Measurement, what: Message, value: Message, interval: Interval | None, limit: Limit, ending: Message
) -> Message:
    """Say a gap between two groups; the interval over all pairs stands apart where it is not that of the two."""
    first, second = _sides(measurement)
    unit = measurement.unit
    own = interval if measurement.pair is None else measurement.pair.interval
    values = {
        "what": what,
        "first": first,
        "second": second,
        "columns": breakdown_of(measurement.id, measurement.by),
        "value": value,
        "evidence": _evidence(own, unit, measurement.count),
        "limit": bound_words(limit, unit),
        "verdict": ending,
    }
    if own is None or interval is None or bounds(own, unit) == bounds(interval, unit):
        if unit == "ratio":
            return Message(
                "{what}: {first} against {second} ({columns}). Ratio {value} ({evidence}); the limit is {limit}. "
                "{verdict}",
                **values,
            )
        return Message(
            "{what}: {first} against {second} ({columns}). Gap {value} ({evidence}); the limit is {limit}. {verdict}",
            **values,
        )
    values["judged"] = span(interval, unit)
    if unit == "ratio":
        return Message(
            "{what}: {first} against {second} ({columns}). Ratio {value} ({evidence}); the limit is {limit}. Smallest "
            "ratio between any two groups: {judged}. {verdict}",
            **values,
        )
    return Message(
        "{what}: {first} against {second} ({columns}). Gap {value} ({evidence}); the limit is {limit}. Largest gap "
        "between any two groups: {judged}. {verdict}",
        **values,
    )


def _sides(measurement: Measurement) -> tuple[Message, Message]:
    """The two groups, the lower one first, with their rates and counts where the measurement holds them."""
    assert measurement.compared is not None
    names = [group.text for group in measurement.compared]
    counts, pair = measurement.compared_counts, measurement.pair
    if counts is None:
        return Message("{group}", group=names[0]), Message("{group}", group=names[1])
    if pair is None or 0 in counts:
        one, other = (
            Message("{group} (n = {n:,})", group=name, n=count) for name, count in zip(names, counts, strict=True)
        )
        return one, other
    if pair.weighted is not None:
        one, other = (
            Message(
                "{rate} of {group} (weighted; {hits:,} of {n:,} rows)",
                rate=number(rate, "rate"),
                group=name,
                hits=hit,
                n=count,
            )
            for rate, name, hit, count in zip(pair.weighted, names, pair.successes, counts, strict=True)
        )
        return one, other
    one, other = (
        Message(
            "{rate} of {group} ({hits:,} of {n:,})", rate=number(hit / count, "rate"), group=name, hits=hit, n=count
        )
        for name, hit, count in zip(names, pair.successes, counts, strict=True)
    )
    return one, other


def _evidence(interval: Interval | None, unit: Unit, count: int) -> Message:
    if interval is None:
        return Message("n = {n:,}", n=count)
    return Message("{interval}, n = {n:,}", interval=span(interval, unit), n=count)


def _evidence_of_change(
    interval: Interval | None, unit: Unit, count: int, *, paired: bool, simultaneous: bool
) -> Message:
    if interval is None:
        return Message("n = {n:,}", n=count)
    values = {"level": interval.level * 100, "range": bounds(interval, unit), "n": count}
    if paired and simultaneous:
        return Message("paired simultaneous {level:g} % CI of the worsening {range}, n = {n:,}", **values)
    if paired:
        return Message("paired {level:g} % CI of the worsening {range}, n = {n:,}", **values)
    if simultaneous:
        return Message("unpaired simultaneous {level:g} % CI of the worsening {range}, n = {n:,}", **values)
    return Message("unpaired {level:g} % CI of the worsening {range}, n = {n:,}", **values)


def _of_several(measurement: Measurement) -> bool:
    """Whether a measurement has numbers of several groups, whose intervals hold together."""
    return sum(part.value is not None for part in measurement.slices) > 1


def _ending(verdict: Verdict, remark: str) -> Message:
    word = VERDICTS[verdict]
    return (
        Message("{verdict}: {remark}.", verdict=word, remark=remark) if remark else Message("{verdict}.", verdict=word)
    )
