"""Findings in words: the one place that turns a judged number into the sentence a reader sees."""

from __future__ import annotations

from auditkit.evidence.measurement import Interval, Measurement, Slice, Unit

# {low} and {high} are the groups with the lowest and the highest value, {value} the number with its unit.
COMPARISONS = {
    "fairness.demographic_parity_difference": "{low} is selected {value} less often than {high}",
    "fairness.demographic_parity_ratio": "{low} is selected {value} times as often as {high}",
    "fairness.equalized_odds_difference": "{low} with the same label is selected {value} less often than {high}",
    "fairness.equalized_odds_ratio": "{low} with the same label is selected {value} times as often as {high}",
}


def title(measurement_id: str) -> str:
    """Return the words of an id: `fairness.false_positive_rate` becomes `False positive rate`."""
    words = measurement_id.partition(".")[2].replace("_", " ")
    for short, full in (("roc auc", "ROC AUC"), ("rmse", "RMSE"), ("mae", "MAE")):
        words = words.replace(short, full)
    return words[:1].upper() + words[1:]


def number(value: float, unit: Unit) -> str:
    """Print a value in its unit: percent for rates and shares, points for differences of rates.

    >>> number(0.1423, "rate_difference"), number(0.8514, "rate"), number(0.3021, "ratio")
    ('14.2 points', '85.1 %', '0.302')
    """
    if unit == "rate_difference":
        return f"{value * 100:z.1f} points"
    if unit in ("rate", "share"):
        return f"{value * 100:z.1f} %"
    if unit == "rows":
        return f"{value:,.0f}"
    if unit == "epsilon":
        return f"{value:.2f}"
    return _plain(value)


def _plain(value: float) -> str:
    return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:z.3f}"


def span(interval: Interval, unit: Unit) -> str:
    """Print an interval: `95 % CI 12.6 to 15.8`; percent and points go without their unit."""
    if unit in ("rate", "rate_difference", "share"):
        low, high = f"{interval.low * 100:z.1f}", f"{interval.high * 100:z.1f}"
    else:
        low, high = _plain(interval.low), _plain(interval.high)
    return f"{interval.level * 100:g} % CI {low} to {high}"


def sentence(
    measurement_id: str,
    by: tuple[str, ...],
    *,
    measurement: Measurement | None = None,
    part: Slice | None = None,
    interval: Interval | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    verdict: str = "",
    remark: str = "",
) -> str:
    """Say a judged number: group, number, interval, count, limit, verdict.

    With an id and `by` alone, only the subject of the sentence.
    """
    columns = " & ".join(by)
    subject = title(measurement_id) + (f" by {columns}" if columns else "")
    if measurement is None:
        return subject
    value = measurement.value if part is None else part.value
    if part is not None:
        subject = f"{title(measurement_id)} of {part.name}" + (f" ({columns})" if columns else "")
    if value is None:
        return f"{subject} is undefined: {remark}"
    printed = number(value, measurement.unit)
    template = COMPARISONS.get(measurement_id)
    if (
        template
        and part is None
        and measurement.compared is not None
        and measurement.compared[0] != measurement.compared[1]
    ):
        low, high = measurement.compared
        claim = template.format(low=f"{low} ({columns})", high=high, value=printed)
    else:
        claim = f"{subject} is {printed}"
    bound, word = (at_most, "at most") if at_most is not None else (at_least, "at least")
    count = measurement.count if part is None else part.count
    evidence = [span(interval, measurement.unit)] if interval is not None else []
    evidence.append(f"n = {count:,}")
    limit = f"; limit {word} {number(bound, measurement.unit)}" if bound is not None else ""
    ending = f": {verdict}" + (f" ({remark})" if remark else "") if verdict else ""
    return f"{claim} ({', '.join(evidence)}{limit}){ending}."
