"""Two reports side by side as a page: what changed, whether the data settle it, and which verdicts turned."""

from __future__ import annotations

from markupsafe import Markup

from auditkit.evidence.baseline import DIFFERENCE_UNIT
from auditkit.evidence.comparison import Change, Comparison, Reading, VerdictChange
from auditkit.evidence.judging import RANK
from auditkit.evidence.measurement import Interval, Unit
from auditkit.evidence.messages import bounds, number
from auditkit.render.html.sheet import render_sheet
from auditkit.render.i18n.translation import translated
from auditkit.render.text import counted

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

QUIET = ("appeared", "not settled", "same", "undefined")


def render_compare(comparison: Comparison, lang: str = "en", names: frozenset[str] = frozenset()) -> str:
    """Return `comparison` as one HTML document without script, in `lang`; `names` are those of the two reports."""
    changes = sorted(comparison.changes, key=lambda change: ORDER.index(change.reading))
    loud = [change for change in changes if change.reading not in QUIET]
    quiet = [change for change in changes if change.reading in QUIET]
    page = render_sheet(
        "compare.html.jinja",
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
        whole=_whole,
    )
    return translated(page, lang, names)


def turned(comparison: Comparison) -> list[VerdictChange]:
    """Return the limits that came out differently, or were judged on one side only; the worst of now first."""
    different = [one for one in comparison.verdicts if one.before != one.after]
    return sorted(different, key=lambda one: -RANK.get(one.after or "", -1))


def _newly_passes(one: VerdictChange) -> bool:
    return one.before in (None, "not_run") and one.after in ("pass", "not_run", None)


def headline(comparison: Comparison) -> str:
    """Say what changed in one sentence."""
    counts = {name: sum(change.reading == name for change in comparison.changes) for name in ORDER}
    parts = [
        f"{counts['worse']:,} of {counted(len(comparison.changes), 'number')} worse",
        f"{counts['better']:,} better",
        *([f"{counts['changed']:,} changed"] if counts["changed"] else []),
        f"{counts['not settled']:,} not settled by the data",
        f"{counts['same']:,} the same",
    ]
    appeared = [f"{counts[name]:,} {name}" for name in ("appeared", "disappeared") if counts[name]]
    return f"{', '.join([*parts, *appeared])}."


def _value(change: Change, *, after: bool) -> str:
    side = change.after if after else change.before
    if side is None:
        return "not measured"
    return "undefined" if side.value is None else number(side.value, change.unit)


def _difference(change: Change) -> tuple[str, str]:
    """Return the difference and its interval in words."""
    if change.difference is None:
        return "–", ""
    unit = _unit(change)
    sign = "+" if change.difference > 0 else ""
    interval = change.interval
    words = f"{interval.level * 100:g} % CI {bounds(interval, unit)}" if interval else "no interval"
    return f"{sign}{number(change.difference, unit)}", words


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
    return {True: "the same", False: "different", None: "not known: no hash"}[same]
