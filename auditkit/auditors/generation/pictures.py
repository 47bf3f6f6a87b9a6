"""What the report shows of a generator: the quality table, coverage by group, and a sheet of samples."""

from __future__ import annotations

from collections.abc import Sequence

from auditkit.auditors.generation.auditor import QUALITIES
from auditkit.auditors.generation.material import Rows
from auditkit.auditors.generation.sample_sets import METHOD
from auditkit.evidence.measurement import (
    Column,
    Exhibit,
    HeatMaps,
    Measurement,
    Panel,
    SliceChart,
    Table,
    grid_of,
)
from auditkit.evidence.messages import Message, title

SHOWN_SAMPLES = 12


def exhibits_of(measurements: Sequence[Measurement], columns: Sequence[str], images: Rows) -> list[Exhibit]:
    """Return the quality table, a chart and a table of coverage for each column, and a sheet of images if there are."""
    exhibits: list[Exhibit] = [_quality_table(measurements)]
    for column in columns:
        chart_title = Message("Coverage by {column}", column=column)
        coverage = "generation.coverage"
        short = f"{coverage}_shortfall"
        exhibits.append(SliceChart(title=chart_title, measurement=coverage, by=(column,), shortfall=short))
        exhibits.append(_group_table(measurements, column))
    return exhibits + _sheet(images)


def _quality_table(measurements: Sequence[Measurement]) -> Table:
    overall = {one.id: one for one in measurements if not one.by}
    rows = []
    for name in QUALITIES:
        own, short = overall[f"generation.{name}"], overall[f"generation.{name}_shortfall"]
        assert own.value is not None
        assert own.interval is not None
        assert short.value is not None
        rows.append((title(f".{name}"), own.value, own.interval.low, own.interval.high, own.value + short.value))
    return Table(
        title=Message("Quality of samples beside its ceiling"),
        note=Message(
            "The ceiling is what real rows reach. Copies of training rows reach it too: read this table only beside "
            "the card on memorisation. Intervals: {method}.",
            method=METHOD,
        ),
        columns=(
            Column(name=Message("metric")),
            Column(name=Message("samples"), unit="number"),
            Column(name=Message("low"), unit="number"),
            Column(name=Message("high"), unit="number"),
            Column(name=Message("ceiling"), unit="number"),
        ),
        rows=tuple(rows),
    )


def _group_table(measurements: Sequence[Measurement], column: str) -> Table:
    """Return coverage and recall of each group beside what real rows reach."""
    found = {one.id.removeprefix("generation."): one.slices for one in measurements if one.by == (column,)}
    rows = []
    for place, part in enumerate(found["coverage"]):
        cells: list[float | None] = []
        for name in ("coverage", "recall"):
            value, short = (found[which][place].value for which in (name, f"{name}_shortfall"))
            cells += [value, None if value is None or short is None else value + short]
        rows.append((part.group.key[0], part.count, *cells))
    return Table(
        title=Message("Coverage and recall by {column}, beside their ceilings", column=column),
        note=Message("A group that the samples leave out has a coverage far under its ceiling."),
        columns=(
            Column(name=column),
            Column(name=Message("unseen rows"), unit="count"),
            Column(name=Message("coverage"), unit="rate"),
            Column(name=Message("ceiling"), unit="rate"),
            Column(name=Message("recall"), unit="rate"),
            Column(name=Message("ceiling of recall"), unit="rate"),
        ),
        rows=tuple(rows),
    )


def _sheet(images: Rows) -> list[Exhibit]:
    if images.ndim != 4:
        return []
    panels = []
    for place, image in enumerate(images[:SHOWN_SAMPLES]):
        grey = image.mean(axis=0)
        panels.append(
            Panel(
                name=Message("sample {number}", number=place + 1),
                image=grid_of(grey.tolist()),
                heat=None,
            )
        )
    return [HeatMaps(title=Message("Samples"), note=Message("Drawn at random for this audit."), panels=tuple(panels))]
