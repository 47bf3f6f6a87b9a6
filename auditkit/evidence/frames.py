"""A report as tables of pandas, which is imported when a table is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Group, Interval, Measurement, Slice

if TYPE_CHECKING:
    import pandas as pd

    from auditkit.evidence.report import Report

COLUMNS = ("measurement", "by", "group", "value", "low", "high", "level", "count", "unit", "better", "reason")


def measurements_frame(report: Report) -> pd.DataFrame:
    """Return one row for each measurement and, of a broken-down one, for each group; see `Report.to_frame`."""
    import pandas as pd

    rows = [row for outcome in report.outcomes for one in outcome.measurements for row in _rows(one)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(measurement: Measurement) -> Iterator[tuple[Any, ...]]:
    said = (measurement.unit, measurement.better)
    if measurement.value is not None or not measurement.slices:
        whole = (measurement.value, *_ends(measurement.interval), measurement.count)
        yield (measurement.id, measurement.by, None, *whole, *said, _text(measurement.reason))
    for part in measurement.slices:
        numbers = (part.value, *_ends(part.interval), part.count)
        yield (measurement.id, measurement.by, group_key(part.group), *numbers, *said, _text(part.reason))


def findings_frame(report: Report) -> pd.DataFrame:
    """Return one row for each finding, worst first; see `Report.findings_frame`."""
    import pandas as pd

    columns = ["verdict", "measurement", "by", "group", "value", "low", "high", "limit", "side", "severity", "message"]
    rows = []
    for one in report.findings:
        low, high, _ = _ends(one.interval)
        group = None if one.group is None else group_key(one.group)
        side = "at most" if one.limit.upper else "at least"
        where = (one.verdict, one.measurement, one.by, group, one.value, low, high)
        rows.append((*where, one.limit.bound, side, one.limit.severity, _text(one.message)))
    return pd.DataFrame(rows, columns=columns)


def metric_frame(report: Report, by: Sequence[str]) -> pd.DataFrame:
    """Return one row for each group of these columns and a column for each metric; see `Report.metric_frame`.

    Raises:
        InputError: nothing is measured by these columns.
    """
    import pandas as pd

    wanted = tuple(by)
    every = [one for outcome in report.outcomes for one in outcome.measurements]
    found = [one for one in every if one.by == wanted and one.slices and one.slices[0].group.by == wanted]
    if not found:
        names = list(dict.fromkeys(", ".join(one.by) for one in every if one.by and one.slices))
        given = ", ".join(wanted)
        raise InputError(f"nothing is measured by {given!r}{closest(given, names)}; groups are by {'; '.join(names)}.")
    columns: dict[str, dict[Any, float | None]] = {}
    shown = {_metric(one): _shown(one) for one in reversed(found)}
    for one in found:
        # Two auditors may count the same rate: one column, unless their numbers differ.
        name = _metric(one) if _shown(one) == shown[_metric(one)] else one.id
        for suffix, value in (("", _value), ("_low", _low), ("_high", _high)):
            columns[f"{name}{suffix}"] = {group_key(part.group): value(part) for part in one.slices}
    keys = list(dict.fromkeys(key for values in columns.values() for key in values))
    index = pd.Index(keys, name=wanted[0]) if len(wanted) == 1 else pd.MultiIndex.from_tuples(keys, names=wanted)
    numbers = {name: [values.get(key) for key in keys] for name, values in columns.items()}
    return pd.DataFrame(numbers, index=index, dtype=float)


def _shown(measurement: Measurement) -> list[tuple[Group, float | None, float | None, float | None]]:
    return [(part.group, _value(part), _low(part), _high(part)) for part in measurement.slices]


def _metric(measurement: Measurement) -> str:
    return measurement.id.partition(".")[2]


def group_key(group: Group) -> str | tuple[str, ...]:
    """Return what names a group in a table: its value in the one column that it is told by, or its values."""
    return group.key[0] if len(group.key) == 1 else group.key


def _value(part: Slice) -> float | None:
    return part.value


def _low(part: Slice) -> float | None:
    return None if part.interval is None else part.interval.low


def _high(part: Slice) -> float | None:
    return None if part.interval is None else part.interval.high


def _ends(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if interval is None else (interval.low, interval.high, interval.level)


def _text(message: object) -> str | None:
    return None if message is None else str(message)
