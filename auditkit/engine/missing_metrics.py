"""Metrics of the rows that have a label, with intervals that hold whatever the missing labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.label_coverage import is_selective
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Measurement
from auditkit.stats.estimates import Estimate, applied
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.missing_labels import widened
from auditkit.stats.missing_metrics import extreme_labels, is_bounded
from auditkit.stats.quality import metric_statistic
from auditkit.stats.sampling import Sampling

Ends = tuple[float, float]


@dataclass(frozen=True, eq=False)
class MissingMetrics:
    """All rows of a subject whose labels are known for a selection of them."""

    subject: Subject

    @classmethod
    def of(cls, subject: Subject) -> MissingMetrics | None:
        """Return all rows, given those that have a label; None where these are no selection, or labels no classes."""
        whole = subject if subject.part_of is None else subject.part_of[0]
        if not whole.task.classes or whole.has_labels.all() or not is_selective(whole):
            return None
        return cls(whole)

    def bounded(self, name: str, measurement: Measurement, columns: tuple[str, ...]) -> Measurement:
        """Return a metric of the labelled rows, overall or by `columns`, with the bounds of all rows where they exist.

        The interval reaches from the lower end that the lowest possible value would have to the upper end of the
        highest.
        """
        whole = self.subject
        classes, weighted = len(whole.task.classes), whole.sampling.weights is not None
        if not is_bounded(name, classes, weighted=weighted):
            return measurement
        if measurement.value is not None:
            (ends,) = self._ends(name, np.ones(len(whole.labels), dtype=bool), [whole.conf_level])
            return measurement.model_copy(update={"interval": widened(measurement.interval, *ends)})
        shown = [part.group.key for part in measurement.slices]
        if not shown:
            return measurement
        names, codes = whole.group_codes(columns)
        levels = [whole.conf_level, simultaneous_level(whole.conf_level, len(shown))]
        slices = []
        for part in measurement.slices:
            if part.value is not None:
                own, all_ = self._ends(name, codes == names.index(part.group.key), levels)
                wider = widened(part.interval, *own), widened(part.simultaneous_interval, *all_)
                part = part.model_copy(update={"interval": wider[0], "simultaneous_interval": wider[1]})
            slices.append(part)
        return measurement.model_copy(update={"slices": tuple(slices)})

    def _ends(self, name: str, inside: NDArray[np.bool_], levels: Sequence[float]) -> list[Ends]:
        """Return the lower end of the lowest and the upper end of the highest value of some rows, by level."""
        subject = self.subject
        labels, given, known, sampling = self._rows(name, inside)
        low, high = (
            applied(
                metric_statistic(name, len(subject.task.classes)),
                extreme_labels(name, labels, given, known, highest=highest),
                given,
                levels,
                sampling,
            )
            for highest in (False, True)
        )
        return [(_end(low, place, 0), _end(high, place, 1)) for place in range(len(levels))]

    def _rows(
        self, name: str, inside: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.bool_], Sampling]:
        """Return the labels of some rows, what was decided or promised, which have a label, and their sampling."""
        subject, rows = self.subject, self.subject.rows
        metric = subject.task.metrics[name]
        given = rows.predictions.labels if metric.of == "decisions" else rows.order
        places = np.flatnonzero(inside)
        if metric.of != "decisions" and not isinstance(subject.scored_rows, slice):
            places = np.intersect1d(places, subject.scored_rows)
        return rows.labels[places], given[places], subject.has_labels[places], rows.sampling.take(places)


def _end(estimate: Estimate, place: int, side: int) -> float:
    """Return an end of an estimate's interval, or its value where it has no interval."""
    assert estimate.value is not None  # the labelled rows among them have a value
    bound = estimate.bounds[place] if estimate.bounds else None
    return estimate.value if bound is None else float(bound[side])
