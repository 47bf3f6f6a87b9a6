"""Two reports side by side as a page: what changed, whether the data settle it, and which verdicts turned."""

from __future__ import annotations

from markupsafe import Markup

from auditkit.evidence.baseline import DIFFERENCE_UNIT
from auditkit.evidence.comparison import Change, Comparison, Reading, VerdictChange
from auditkit.evidence.judging import RANK
from auditkit.evidence.measurement import Interval, Unit
from auditkit.evidence.messages import Message, bounds, in_state, number
from auditkit.render.html.sheet import render_sheet
from auditkit.render.i18n.translation import Translator

ORDER: tuple[Reading, ...] = (
    "worse",
    "better",
    "changed",
    "appeared",
    "disappeared",
    "undefined",
    "not settled",
    "same",
)
"""How changes are listed: what the data settle first."""

READINGS: dict[Reading, Message] = {
    "worse": Message("worse"),
    "better": Message("better"),
    "changed": Message("changed"),
    "appeared": Message("new"),
    "disappeared": Message("no longer measured"),
    "undefined": Message("undefined"),
    "not settled": Message("not enough data"),
    "same": Message("the same"),
}

QUIET = ("appeared", "not settled", "same", "undefined")


def render_compare(comparison: Comparison, lang: str = "en") -> str:
    """Return `comparison` as one HTML document without script, in `lang`."""
    changes = sorted(comparison.changes, key=lambda change: ORDER.index(change.reading))
    loud = [change for change in changes if change.reading not in QUIET]
    quiet = [change for change in changes if change.reading in QUIET]
    return render_sheet(
        "compare.html.jinja",
        translator=Translator(lang),
        version=comparison.after.auditkit,
        comparison=comparison,
        headline=headline(comparison),
        loud=loud,
        quiet=quiet,
        turned=[one for one in turned(comparison) if not _newly_passes(one)],
        newly_passing=[one for one in turned(comparison) if _newly_passes(one)],
        unturned_count=sum(one.before == one.after for one in comparison.verdicts),
        counts=[(name, sum(change.reading == name for change in changes)) for name in ORDER],
        value=_value,
        difference=_difference,
        picture=_picture,
        reading_words=READINGS,
        warning=incomparable(comparison),
        whole=_whole,
    )


def turned(comparison: Comparison) -> list[VerdictChange]:
    """Return the limits that came out differently, or were judged on one side only; the worst of now first."""
    different = [one for one in comparison.verdicts if one.before != one.after]
    return sorted(different, key=lambda one: -RANK.get(one.after or "", -1))


def _newly_passes(one: VerdictChange) -> bool:
    return one.before in (None, "not_run") and one.after in ("pass", "not_run", None)


def headline(comparison: Comparison) -> Message:
    """Say what changed in one sentence."""
    counts = {name: sum(change.reading == name for change in comparison.changes) for name in ORDER}
    parts = [
        in_state(counts[name], READINGS[name])
        for name in ("worse", "better", "changed", "not settled", "same", "appeared", "disappeared", "undefined")
        if counts[name] or name in ("worse", "better", "same")
    ]
    return Message("Of {n:,} numbers: {parts}.", n=len(comparison.changes), parts=parts)


def incomparable(comparison: Comparison) -> Message | None:
    """Return the warning that the two runs are of different models or data; None where they can be compared."""
    data = comparison.same_data is not True
    if data and comparison.same_model is not True:
        return Message(
            "Warning: the two runs differ in model and in data, or this is not known. A difference between them does "
            "not show which of the two caused it."
        )
    if data:
        return Message(
            "Warning: the two runs audited different data, or this is not known. A difference may come from the data "
            "alone."
        )
    return None


def _value(change: Change, *, after: bool) -> str:
    side = change.after if after else change.before
    if side is None:
        return Message("not measured")
    return Message("undefined") if side.value is None else number(side.value, change.unit)


def _difference(change: Change) -> tuple[str, str]:
    """Return the difference and its interval in words."""
    if change.difference is None:
        return "–", ""
    unit = _unit(change)
    interval = change.interval
    words = Message("no interval")
    if interval:
        words = Message("{level:g} % CI {range}", level=interval.level * 100, range=bounds(interval, unit))
    said = number(change.difference, unit)
    return Message("+{value}", value=said) if change.difference > 0 else said, words


def _unit(change: Change) -> Unit:
    return DIFFERENCE_UNIT.get(change.unit, change.unit)


def _picture(change: Change) -> Markup:
    """Draw the interval of the difference around zero; the scale is the change's own."""
    interval: Interval | None = change.interval
    if interval is None or change.difference is None:
        return Markup()
    reach = max(abs(interval.low), abs(interval.high)) or 1.0

    def x(value: float) -> float:
        return round(64 + 60 * value / reach, 1)

    return Markup(  # noqa: S704  # numbers only
        '<svg class="shift" viewBox="0 0 128 18" aria-hidden="true"><line class="axis" x1="64" x2="64" y1="0" y2="18"/>'
        f'<line class="interval" x1="{x(interval.low)}" x2="{x(interval.high)}" y1="9" y2="9"/>'
        f'<circle class="dot" cx="{x(change.difference)}" cy="9" r="4"/></svg>'
    )


def _whole(same: bool | None) -> str:
    return {True: Message("the same"), False: Message("different"), None: Message("not known: no hash")}[same]
