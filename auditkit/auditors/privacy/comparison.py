"""Private models beside the original: their numbers, the price of privacy over epsilon, and which group pays it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import (
    Column,
    Curve,
    Exhibit,
    Group,
    Line,
    Measurement,
    Slice,
    SliceChart,
    SliceTable,
    Table,
    Unit,
    shown,
)
from auditkit.evidence.messages import Message, title
from auditkit.stats.counts import tally
from auditkit.stats.estimates import Breakdown
from auditkit.stats.gaps import GAPS, gap_measurements
from auditkit.stats.quality import quality_measurement
from auditkit.stats.rates import rate_measurement
from auditkit.stats.repetitions import slice_of_runs
from auditkit.stats.scores import paired_difference_interval
from auditkit.tasks.base import Predictions
from auditkit.training.dp.accounting import Ledger, composed_epsilon

Runs = dict[str, list[Predictions]]
"""What each model says of the audited rows: the original once, each epsilon once a seed."""

ORIGINAL = "original"
PICTURED = ("demographic_parity_difference", "equalized_odds_difference")
"""The gaps that have a picture over epsilon; the table has all."""
MEASURED_GAPS = tuple(f"privacy.{gap}_difference" for gap in GAPS)
NIST = "NIST SP 800-226"


def retrained(name: str) -> Group:
    """Return the key of a model among the retrainings and the original."""
    return Group(by=("retraining",), key=(name,))


def budgets_of(ledgers: dict[str, list[Ledger]], all_runs: list[Ledger]) -> list[Measurement]:
    """Return the budget of each retraining, and of all trainings on these rows together."""
    first = next(iter(ledgers.values()))[0]
    epsilon = Measurement(
        id="privacy.epsilon",
        by=("retraining",),
        unit="epsilon",
        better="lower",
        count=first.row_count,
        slices=tuple(
            Slice(group=retrained(name), value=part[0].epsilon, count=part[0].row_count)
            for name, part in ledgers.items()
        ),
        definition=Message(
            "differential privacy, by the {accountant} accountant ({standard})",
            accountant=first.accountant,
            standard=NIST,
        ),
        computed_by="Opacus",
    )
    accountant = first.accountant if len(all_runs) == 1 and not first.tuning_runs else "rdp"
    together = Measurement(
        id="privacy.epsilon_of_all_runs",
        unit="epsilon",
        better="lower",
        count=first.row_count,
        value=composed_epsilon(all_runs, first.delta),
        definition=Message(
            "the budget over {runs_in_words} together, by the {accountant} accountant ({standard})",
            runs_in_words=runs_in_words(all_runs),
            accountant=accountant,
            standard=NIST,
        ),
        computed_by="Opacus",
    )
    return [epsilon, together]


def runs_in_words(ledgers: Sequence[Ledger]) -> str:
    """Return how many trainings on the same rows a report made, and how many were declared to have come before."""
    declared = max(ledger.tuning_runs for ledger in ledgers)
    before = Message(" and {declared:,} earlier ones", declared=declared) if declared else ""
    return Message.plural(
        "{n:,} training of this report{before}", "{n:,} trainings of this report{before}", len(ledgers), before=before
    )


def measurements_of(subject: Subject, runs: Runs) -> list[Measurement]:
    """Return what each model's decisions are worth: over all rows, within groups, and in gaps; of numbers nothing."""
    if subject.predictions.class_probabilities is None:
        return []
    level, min_group = subject.conf_level, subject.min_group

    def measured(name: str, given: NDArray[Any], groups: Breakdown | None = None) -> Measurement:
        classes = len(subject.schema.classes)
        return quality_measurement(name, subject.labels, given, groups, class_count=classes, level=level)

    accuracy = side_by_side(
        "privacy.accuracy",
        {name: [measured("accuracy", part.labels) for part in parts] for name, parts in runs.items()},
    )
    calibration = side_by_side(
        "privacy.calibration_error",
        {name: [measured("calibration_error", part.probabilities) for part in parts] for name, parts in runs.items()},
    )
    measurements = [accuracy, _accuracy_loss(subject, runs), calibration]
    for column in subject.sensitive:
        names, codes = subject.group_codes((column,))
        found: dict[str, list[Measurement]] = {}
        gaps: dict[str, list[dict[str, Measurement]]] = {}
        for name, parts in runs.items():
            for part in parts:
                counts = tally((column,), names, codes, subject.labels, part.labels, subject.schema.classes)
                rates = rate_measurement(counts, "accuracy", prefix="privacy", level=level, min_group=min_group)
                found.setdefault(name, []).append(rates)
                chosen = GAPS if subject.task.positive is not None else ("accuracy",)
                pairs = gap_measurements(counts, gaps=chosen, prefix="privacy", level=level, min_group=min_group)
                gaps.setdefault(name, []).append({pair.id: pair for pair in pairs})
        measurements.append(by_group("privacy.accuracy", column, found))
        groups = Breakdown((column,), names, codes, min_group)
        in_groups = {
            name: [measured("calibration_error", part.probabilities, groups) for part in parts]
            for name, parts in runs.items()
        }
        measurements.append(by_group("privacy.calibration_error", column, in_groups))
        for id in gaps[ORIGINAL][0]:
            if id in MEASURED_GAPS:
                several = {name: [part[id] for part in parts] for name, parts in gaps.items()}
                measurements.append(side_by_side(id, several, (column,)))
    return measurements


def _accuracy_loss(subject: Subject, runs: Runs) -> Measurement:
    right = runs[ORIGINAL][0].labels == subject.labels
    slices = []
    for name, parts in list(runs.items())[1:]:
        losses = []
        for part in parts:
            value, interval = paired_difference_interval(right, part.labels == subject.labels, level=subject.conf_level)
            losses.append(Slice(group=retrained(name), value=value, count=len(right), interval=interval))
        slices.append(slice_of_runs(retrained(name), losses, low=-1.0, high=1.0))
    return Measurement(
        id="privacy.accuracy_loss",
        by=("retraining",),
        unit="rate_difference",
        better="lower",
        count=len(right),
        slices=tuple(slices),
        definition=Message("{standard}: utility against the non-private model", standard=NIST),
    )


def side_by_side(
    id: str, models: dict[str, list[Measurement]], columns: tuple[str, ...] = (), *, high: float | None = 1.0
) -> Measurement:
    """Return a number of every model: a slice for each; none of it lies below 0, or above `high`."""
    first = models[ORIGINAL][0]
    return Measurement(
        id=id,
        by=("retraining", *columns),
        unit=first.unit,
        better=first.better,
        count=first.count,
        slices=tuple(slice_of_runs(retrained(name), parts, low=0.0, high=high) for name, parts in models.items()),
        definition=Message(
            "{definition}; {standard}: utility and bias against the non-private model",
            definition=first.definition,
            standard=NIST,
        ),
    )


def by_group(id: str, column: str, models: dict[str, list[Measurement]], *, high: float | None = 1.0) -> Measurement:
    """Return the numbers of every group under every model: a slice for each pair."""
    first = models[ORIGINAL][0]
    slices = []
    for name, runs in models.items():
        for parts in zip(*(run.slices for run in runs), strict=True):
            group = Group(by=("retraining", column), key=(name, *parts[0].group.key))
            slices.append(slice_of_runs(group, parts, low=0.0, high=high))
    return Measurement(
        id=id,
        by=("retraining", column),
        unit=first.unit,
        better=first.better,
        count=first.count,
        slices=tuple(slices),
        definition=Message(
            "{definition}; {standard}: utility and bias against the non-private model",
            definition=first.definition,
            standard=NIST,
        ),
        reason=first.reason,
    )


def exhibits_of(
    subject: Subject, runs: Runs, targets: dict[str, float], measurements: list[Measurement]
) -> list[Exhibit]:
    """Return the pictures of what privacy costs decisions, and whom; `targets` are the budgets by retraining."""
    if subject.predictions.class_probabilities is None:
        return []
    exhibits: list[Exhibit] = [
        SliceChart(
            title=Message("Accuracy of the original and of the private retraining"),
            measurement="privacy.accuracy",
            by=("retraining",),
        )
    ]
    by = {(part.id.partition(".")[2], part.by): part for part in measurements}
    for metric in ("accuracy", "calibration_error") if len(targets) > 1 else ():
        exhibits.append(frontier(metric, by[metric, ("retraining",)], targets))
    for column in subject.sensitive:
        for metric in ("accuracy", "calibration_error"):
            exhibits.append(who_pays(metric, by[metric, ("retraining", column)], column, list(runs)))
        for gap in PICTURED if len(targets) > 1 else ():
            if (gap, ("retraining", column)) in by:
                exhibits.append(frontier(f"{gap}, {column}", by[gap, ("retraining", column)], targets))
        exhibits.append(
            SliceTable(
                title=Message("Gaps between groups under each model: {column}", column=column),
                measurements=tuple(id for id in MEASURED_GAPS if (id.partition(".")[2], ("retraining", column)) in by),
                by=("retraining", column),
            )
        )
    return exhibits


def frontier(metric: str, measurement: Measurement, targets: dict[str, float]) -> Curve:
    """Return a number over epsilon with its band, and the original's as a level line."""
    words = metric.replace("_", " ")
    slices = {part.group.key[0]: part for part in measurement.slices}
    points = sorted((epsilon, name) for name, epsilon in targets.items() if slices[name].value is not None)
    lines = [_line("private", [epsilon for epsilon, _ in points], [slices[name] for _, name in points])]
    if slices[ORIGINAL].value is not None:
        ends = [min(targets.values()), max(targets.values())]
        lines.append(_line(ORIGINAL, ends, [slices[ORIGINAL]] * 2))
    return Curve(
        title=Message("The price of privacy: {words}", words=words),
        note=Message("Smaller epsilon is more private. Bands are the intervals; the original has no epsilon."),
        x_label=Message("epsilon"),
        y_label=words.partition(",")[0],
        x_unit="epsilon",
        y_unit=measurement.unit,
        lines=tuple(lines),
    )


def _line(name: str, across: list[float], parts: list[Slice]) -> Line:
    intervals = [part.interval for part in parts if part.interval is not None]
    banded = len(intervals) == len(parts)
    return Line(
        name=name,
        x=tuple(across),
        y=tuple(part.value or 0.0 for part in parts),
        low=tuple(interval.low for interval in intervals) if banded else None,
        high=tuple(interval.high for interval in intervals) if banded else None,
    )


def who_pays(metric: str, measured: Measurement, column: str, models: list[str]) -> Table:
    """Return a table of a number by group under the original and each private model, and how it changes."""
    by_model: dict[str, list[Slice]] = {name: [] for name in models}
    for part in measured.slices:
        by_model[part.group.key[0]].append(part)
    rows = []
    for parts in zip(*by_model.values(), strict=True):
        values = [part.value for part in parts]
        losses = [None if values[0] is None or value is None else value - values[0] for value in values[1:]]
        group = shown(parts[0].group.key[1:])
        rows.append((group, float(parts[0].count), *values, *losses))
    of_rates = measured.unit == "rate"
    change: Unit = "number" if measured.unit == "number" else "rate_difference"
    return Table(
        title=Message("Cost of privacy: {metric} by {column}", metric=title(f".{metric}"), column=column),
        note=Message("The change is private minus original")
        + (
            Message(", in percentage points: negative where the group loses accuracy.")
            if of_rates
            else Message(": positive is worse.")
        ),
        columns=(
            Column(name=column),
            Column(name=Message("rows"), unit="rows"),
            *(Column(name=name, unit=measured.unit) for name in models),
            *(Column(name=Message("change at {name}", name=name), unit=change) for name in models[1:]),
        ),
        rows=tuple(rows),
    )
