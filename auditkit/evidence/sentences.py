"""Findings in words: the one place that turns a judged number into the sentence a reader sees."""

from __future__ import annotations

from auditkit.evidence.baseline import DIFFERENCE_UNIT
from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit, shown
from auditkit.evidence.messages import bounds, number, span, title
from auditkit.evidence.policy import Limit

# {low} and {high} are the groups with the lowest and the highest value, {value} the number with its unit.
COMPARISONS = {
    "fairness.demographic_parity_difference": "{low} is selected {value} less often than {high}",
    "fairness.demographic_parity_ratio": "{low} is selected {value} times as often as {high}",
    "fairness.equalized_odds_difference": "{low} with the same label is selected {value} less often than {high}",
    "fairness.equalized_odds_ratio": "{low} with the same label is selected {value} times as often as {high}",
    "identity_terms.sentence_score_gap": "The same texts score {value} lower with terms of {low} than of {high}",
    "identity_terms.template_score_gap": "Made-up texts score {value} lower with terms of {low} than of {high}",
}


WHOSE = {
    "selection_rate": "Selected",
    "true_positive_rate": "Selected among those whose actual outcome is positive",
    "false_positive_rate": "Selected among those whose actual outcome is negative",
    "accuracy": "Decided correctly",
    "positive_predictive_value": "Actual outcome is positive among those selected",
}
"""What the records that a rate counts have in common."""


def bound_words(limit: Limit, unit: Unit | None) -> str:
    """Print the bounds of a limit; `unit` is that of its measurement, None where nothing measured it.

    >>> limit = Limit(measurement="a.b", at_most=0.1, warn_at=0.05, rationale="x")
    >>> bound_words(limit, "rate_difference")
    'at most 10.0 points, warning beyond 5.0 points'
    """
    if limit.regression_at_most is not None and unit is not None:
        unit = DIFFERENCE_UNIT.get(unit, unit)

    def printed(bound: float) -> str:
        return f"{bound:g}" if unit is None else number(bound, unit)

    words = f"{limit.side} {printed(limit.bound)}"
    if limit.regression_at_most is not None:
        words = f"worse than the baseline by at most {printed(limit.bound)}"
    return words + (f", warning beyond {printed(limit.warn_at)}" if limit.warn_at is not None else "")


def sentence(
    measurement_id: str,
    by: tuple[str, ...],
    part: Slice | None = None,
    *,
    measurement: Measurement | None = None,
    interval: Interval | None = None,
    limit: Limit | None = None,
    verdict: str = "",
    remark: str = "",
) -> str:
    """Say a judged number: group, number, interval, count, limit, verdict.

    Without a measurement, only the subject of the sentence.
    """
    columns = shown(by)
    subject: str = title(measurement_id) + (f" by {columns}" if columns else "")
    if part is not None:
        subject = f"{title(measurement_id)} of {part.group.text}" + (f" ({columns})" if columns else "")
    if measurement is None:
        return subject
    value = measurement.value if part is None else part.value
    if value is None:
        return f"{subject} is undefined: {remark}"
    if part is None and measurement.pair is not None and measurement.compared and measurement.compared_counts:
        return _of_two_groups(measurement, interval, limit, verdict, remark)
    printed = number(value, measurement.unit)
    template = COMPARISONS.get(measurement_id)
    if (
        template
        and part is None
        and measurement.compared is not None
        and measurement.compared[0] != measurement.compared[1]
    ):
        low, high = (group.text for group in measurement.compared)
        within = columns
        if measurement.compared_counts is not None:
            within += f", n = {measurement.compared_counts[0]:,}"
            high += f" (n = {measurement.compared_counts[1]:,})"
        claim = template.format(low=f"{low} ({within})", high=high, value=printed)
    else:
        claim = f"{subject} is {printed}"
    count = measurement.count if part is None else part.count
    return _with_evidence(claim, interval, measurement.unit, count, limit, measurement.unit, verdict, remark)


def _of_two_groups(gap: Measurement, interval: Interval | None, limit: Limit | None, verdict: str, remark: str) -> str:
    """Say a gap: the rates of its two groups with their counts, their own interval, and what the limit was held to.

    The interval of the two groups is stated beside the gap; the one that bounds the largest gap between any two groups,
    which judged the limit, stands by itself wherever it differs.
    """
    assert gap.pair is not None
    assert gap.compared is not None
    assert gap.compared_counts is not None
    assert gap.value is not None
    said = [
        f"{number(successes / count, 'rate')} of {group.text} ({successes:,} of {count:,})"
        for group, successes, count in zip(gap.compared, gap.pair.successes, gap.compared_counts, strict=True)
    ]
    ratio = gap.unit == "ratio"
    by = f" by {shown(gap.by)}" if gap.by else ""
    own = span(gap.pair.interval, gap.unit)
    bound = f"; limit {bound_words(limit, gap.unit)}" if limit is not None else ""
    ending = f": {verdict}" + (f" ({remark})" if remark else "") if verdict else ""
    rates = f"{WHOSE[gap.pair.rate]}{by}: {said[0]} against {said[1]}."
    claim = f"{'Ratio' if ratio else 'Gap'} {number(gap.value, gap.unit)} ({own}{bound})"
    if interval is None or bounds(interval, gap.unit) == bounds(gap.pair.interval, gap.unit):
        return f"{rates} {claim}{ending}."
    widest = "Smallest ratio" if ratio else "Largest gap"
    judged = f"{widest} between any two groups: {span(interval, gap.unit)}"
    return f"{rates} {claim}. {judged}{ending}."


def regression_sentence(
    measurement: Measurement,
    part: Slice | None,
    *,
    value: float,
    before: float,
    interval: Interval | None,
    unit: Unit,
    limit: Limit,
    paired: bool,
    verdict: str,
    remark: str,
) -> str:
    """Say how much worse a number is than in the baseline; `unit` is that of the difference `value`."""
    subject = sentence(measurement.id, measurement.by, part)
    of_number: Measurement | Slice = measurement if part is None else part
    after = number(of_number.value, measurement.unit) if of_number.value is not None else ""
    change = f"{number(abs(value), unit)} {'worse' if value > 0 else 'better'} than" if value else "as good as"
    claim = f"{subject} is {change} in the baseline ({after} after {number(before, measurement.unit)})"
    return _with_evidence(
        claim, interval, unit, of_number.count, limit, measurement.unit, verdict, remark, paired=paired
    )


def _with_evidence(
    claim: str,
    interval: Interval | None,
    unit: Unit,
    count: int,
    limit: Limit | None,
    limit_unit: Unit,
    verdict: str,
    remark: str,
    *,
    paired: bool = False,
) -> str:
    evidence: list[str] = [span(interval, unit)] if interval is not None else []
    if interval is not None and limit is not None and limit.regression_at_most is not None:
        kind = "paired" if paired else "unpaired"
        evidence = [f"{interval.level * 100:g} % CI of the worsening {bounds(interval, unit)}, {kind}"]
    evidence.append(f"n = {count:,}")
    bound = f"; limit {bound_words(limit, limit_unit)}" if limit is not None else ""
    ending = f": {verdict}" + (f" ({remark})" if remark else "") if verdict else ""
    return f"{claim} ({', '.join(evidence)}{bound}){ending}."
