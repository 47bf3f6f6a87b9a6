"""What closing the gap between groups would cost: accuracy against the gap that is left, by moving thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Column, Curve, Evidence, Exhibit, Interval, Line, Measurement, Table
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import difference_gap_intervals, paired_difference_interval
from auditkit.stats.rates import rate_intervals
from auditkit.stats.thresholds import Choice, Constraint, shared_threshold, thresholds_per_group

CONSTRAINTS: dict[Constraint, str] = {
    "demographic_parity": Message("selection rate"),
    "equal_opportunity": Message("true positive rate"),
}
"""The gaps that are closed, by the rate whose largest difference between groups they are."""

SOURCE = Message("thresholds per group as Fairlearn ThresholdOptimizer (Hardt, Price & Srebro 2016), on held-out rows")

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class _Rows:
    """The rows of one half that belong to a group large enough: groups, labels, scores, the model's own decisions."""

    groups: Codes
    labels: Codes
    scores: NDArray[np.float64]
    decisions: Codes

    def part(self, rows: NDArray[np.bool_]) -> _Rows:
        return _Rows(self.groups[rows], self.labels[rows], self.scores[rows], self.decisions[rows])

    def gap_counts(self, decisions: Codes, constraint: Constraint) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many rows of each group are selected, and out of how many."""
        counted = self.labels == 1 if constraint == "equal_opportunity" else np.ones(len(self.labels), dtype=bool)
        size = int(self.groups.max()) + 1
        trials = np.bincount(self.groups[counted], minlength=size)
        return np.bincount(self.groups[counted & (decisions == 1)], minlength=size), trials


@dataclass(frozen=True)
class _Point:
    """Decisions judged on the held-out half: accuracy and gap, each with its interval (low, high)."""

    accuracy: float
    accuracy_interval: Interval
    gap: float
    gap_interval: Interval


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """Accuracy against the gap between groups, by one threshold for all and by one for each group.

    `points` is the number of allowed gaps, from the model's own down to none.
    """

    points: int = 7

    requires: ClassVar = ("predictions", "labels", "scores", "sensitive")
    measures: ClassVar = tuple(
        f"tradeoff.{name}"
        for constraint in CONSTRAINTS
        for name in (f"accuracy_at_{constraint}", f"accuracy_cost_of_{constraint}", f"{constraint}_difference_left")
    )

    def __post_init__(self) -> None:
        """Refuse a curve of one point."""
        if not 2 <= self.points <= 50:
            raise InputError(f"points must lie between 2 and 50, got {self.points}; 7 is usual.")

    def audit(self, subject: Subject) -> Evidence:
        """Choose the thresholds on one random half of the rows, and judge them on the other."""
        if subject.task.positive is None:
            raise NotRun(Message("thresholds need a binary label"))
        half = np.zeros(len(subject.labels), dtype=bool)
        half[np.random.default_rng(subject.seed).permutation(len(half))[: len(half) // 2]] = True
        measurements: list[Measurement] = []
        exhibits: list[Exhibit] = []
        notes = [
            Message(
                "Thresholds are chosen on one random half of the records and tested on the other. Where a "
                "group has two thresholds, records between them are selected at random with the stated "
                "probability."
            )
        ]
        for done, column in enumerate(subject.sensitive, 1):
            names, codes = subject.group_codes((column,))
            labels = np.asarray(subject.labels, dtype=np.int64)
            kept = _large_enough(codes, labels, half, subject.min_group)
            if kept.sum() < 2:
                reason = Message(
                    "fewer than two groups have {min_group} rows of each label in each half",
                    min_group=subject.min_group,
                )
                measurements += [_undefined(id, column, reason) for id in Tradeoff.measures]
                continue
            if not kept.all():
                rows = int((~kept[codes]).sum())
                notes.append(
                    Message(
                        "By {column}, {count} of {kept_count} groups ({rows:,} rows) are left out: under {min_group} "
                        "rows of a label in a half.",
                        column=column,
                        count=int((~kept).sum()),
                        kept_count=len(kept),
                        rows=rows,
                        min_group=subject.min_group,
                    )
                )
            position = np.cumsum(kept) - 1
            rows_of = _Rows(
                position[codes],
                labels,
                subject.predictions.scores.astype(np.float64),
                np.asarray(subject.predictions.labels, dtype=np.int64),
            )
            first, second = rows_of.part(half & kept[codes]), rows_of.part(~half & kept[codes])
            shown = [names[place][0] for place in np.flatnonzero(kept)]
            at_parity = []
            for constraint in CONSTRAINTS:
                curve, found, choice = self._close(column, constraint, first, second, subject)
                measurements += found
                exhibits.append(curve)
                at_parity.append(choice)
            exhibits.append(_thresholds(column, shown, second, at_parity))
            subject.progress(done / len(subject.sensitive), column)
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)

    def _close(
        self, column: str, constraint: Constraint, first: _Rows, second: _Rows, subject: Subject
    ) -> tuple[Curve, list[Measurement], Choice]:
        level = subject.conf_level
        successes, trials = first.gap_counts(first.decisions, constraint)
        allowed = np.linspace(float(np.ptp(successes / trials)), 0, self.points).tolist()
        own = thresholds_per_group(first.groups, first.labels, first.scores, constraint, allowed)
        one = shared_threshold(first.groups, first.labels, first.scores, constraint, allowed)
        decided = [choice.thresholds.decide(second.groups, second.scores, seed=subject.seed) for choice in own]
        shared = [choice.thresholds.decide(second.groups, second.scores, seed=0) for choice in one]
        now, *points = _judge(second, [second.decisions, *decided, *shared], constraint, level)
        own_points, one_points = points[: len(own)], points[len(own) :]
        lines = (
            _line(Message("a threshold for each group"), own_points),
            _line(Message("one threshold for all"), one_points),
            _line(Message("the model with its current threshold"), [now]),
        )
        parity = own_points[-1]
        was, is_now = second.decisions == second.labels, decided[-1] == second.labels
        low, high = paired_difference_interval(
            int((was & ~is_now).sum()), int((~was & is_now).sum()), len(second.labels), level
        )
        cost = Interval(low=float(low), high=float(high), level=level, method=Message("Bonett-Price"))
        found = [
            Measurement(
                id=f"tradeoff.accuracy_at_{constraint}",
                by=(column,),
                value=parity.accuracy,
                unit="rate",
                better="higher",
                count=len(second.labels),
                interval=parity.accuracy_interval,
                definition=SOURCE,
            ),
            Measurement(
                id=f"tradeoff.accuracy_cost_of_{constraint}",
                by=(column,),
                value=now.accuracy - parity.accuracy,
                unit="rate_difference",
                better="lower",
                count=len(second.labels),
                interval=cost,
                definition=SOURCE,
            ),
            Measurement(
                id=f"tradeoff.{constraint}_difference_left",
                by=(column,),
                value=parity.gap,
                unit="rate_difference",
                better="lower",
                count=int(second.gap_counts(second.decisions, constraint)[1].sum()),
                interval=parity.gap_interval,
                definition=SOURCE,
            ),
        ]
        return _curve(column, constraint, lines, level), found, own[-1]


def _curve(column: str, constraint: Constraint, lines: tuple[Line, ...], level: float) -> Curve:
    """Return the accuracy of choices of thresholds against the gap that they leave."""
    return Curve(
        title=Message(
            "Accuracy against the gap in {constraints} by {column}",
            constraints=CONSTRAINTS[constraint],
            column=column,
        ),
        note=Message(
            "Each point is one choice of thresholds, tested on records that were not used to choose it; "
            "bands are pointwise {value:g} % intervals of the accuracy.",
            value=level * 100,
        ),
        x_label=Message("largest difference in {constraints}", constraints=CONSTRAINTS[constraint]),
        y_label=Message("accuracy"),
        x_unit="rate_difference",
        y_unit="rate",
        lines=lines,
    )


def _large_enough(codes: Codes, labels: Codes, half: NDArray[np.bool_], min_group: int) -> NDArray[np.bool_]:
    """Return which groups have at least `min_group` rows of each label in each half."""
    size = int(codes.max()) + 1
    cells = np.bincount((codes.astype(np.int64) * 2 + labels) * 2 + half, minlength=size * 4).reshape(size, 4)
    return np.asarray(cells.min(axis=1) >= max(min_group, 1))


def _judge(rows: _Rows, decided: Sequence[Codes], constraint: Constraint, level: float) -> list[_Point]:
    """Judge several decisions of the same rows, each by itself: their intervals are only found together."""
    count = len(rows.labels)
    right = np.array([int((decisions == rows.labels).sum()) for decisions in decided])
    counts = [rows.gap_counts(decisions, constraint) for decisions in decided]
    successes, trials = np.array([hits for hits, _ in counts]), counts[0][1]
    accuracies = rate_intervals(right, np.full(len(right), count), level)
    family = (
        Message(", lower end for all pairs of {trials_count} groups at once", trials_count=len(trials))
        if len(trials) > 2
        else ""
    )
    method = Message("Newcombe with mid-P limits of weight 0.6{family}", family=family)
    gaps = difference_gap_intervals(successes, trials, level)
    return [
        _Point(
            accuracy=int(right[place]) / count,
            accuracy_interval=accuracies[place],
            gap=float(np.ptp(successes[place] / trials)),
            gap_interval=Interval(low=low, high=high, level=level, method=method),
        )
        for place, (low, high) in enumerate(gaps)
    ]


def _line(name: str, points: Sequence[_Point]) -> Line:
    ordered = sorted(points, key=lambda point: point.gap)
    return Line(
        name=name,
        x=tuple(point.gap for point in ordered),
        y=tuple(point.accuracy for point in ordered),
        low=tuple(point.accuracy_interval.low for point in ordered),
        high=tuple(point.accuracy_interval.high for point in ordered),
    )


def _thresholds(column: str, names: Sequence[str], rows: _Rows, choices: Sequence[Choice]) -> Table:
    """Return the thresholds that leave no gap, in words: one row a group."""

    def words(choice: Choice, group: int) -> str:
        certain, possible, chance = (
            part[group] for part in (choice.thresholds.certain, choice.thresholds.possible, choice.thresholds.chance)
        )
        if chance >= 1 or certain == possible:
            return Message("score {possible:.3f} or more", possible=possible)
        above = (
            Message("score {certain:.3f} or more", certain=certain)
            if np.isfinite(certain)
            else Message("never with certainty")
        )
        return (
            above
            if chance <= 0
            else Message(
                "{above}; {chance:.0%} chance from {possible:.3f}", above=above, possible=possible, chance=chance
            )
        )

    sizes = np.bincount(rows.groups, minlength=len(names))
    return Table(
        title=Message("Thresholds that leave no gap by {column}", column=column),
        note=(
            Message(
                "Selection threshold, chosen on the other half of the records. Between two scores, records "
                "are selected at random with the stated probability."
            )
        ),
        columns=(
            Column(name=column),
            Column(name=Message("rows judged"), unit="rows"),
            *(Column(name=Message("for equal {words}s", words=words)) for words in CONSTRAINTS.values()),
        ),
        rows=tuple(
            (name, float(sizes[group]), *(words(choice, group) for choice in choices))
            for group, name in enumerate(names)
        ),
    )


def _undefined(id: str, column: str, reason: str) -> Measurement:
    rate = id.startswith("tradeoff.accuracy_at_")
    return Measurement(
        id=id,
        by=(column,),
        unit="rate" if rate else "rate_difference",
        better="higher" if rate else "lower",
        count=0,
        definition=SOURCE,
        reason=reason,
    )
