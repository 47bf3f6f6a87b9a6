"""Whether an explanation deserves belief: trust checks as measurements, their table, and the stamp on failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.auditors.explainability.statistics import ratio_interval, ratio_of_means, ratio_replicates
from auditkit.auditors.explainability.target_function import Floats
from auditkit.evidence.measurement import Column, Exhibit, Interval, Measurement, Table
from auditkit.evidence.messages import Message, title
from auditkit.stats.intervals import mean_interval
from auditkit.stats.jackknife import replicates


@dataclass(frozen=True)
class Check:
    """One trust check: the number, what it must be, and whether its interval shows that it is."""

    measurement: Measurement
    needs: str
    holds: bool


def mean_check(name: str, rows: Floats, better: str, bound: float, definition: str, level: float) -> Check:
    """Return the check that the mean over rows, (rows,), is `better` than `bound` with its whole interval."""
    known = rows[np.isfinite(rows)]
    higher = better == "higher"
    least = Message("{value:g}", value=bound)
    needs = Message("above {bound}", bound=least) if higher else Message("at most {bound}", bound=least)
    if len(known) < 2:
        measurement = Measurement(
            id=f"explainability.{name}",
            unit="number",
            better="higher" if higher else "lower",
            count=len(known),
            definition=definition,
            reason=Message("the attributions of every row are all alike"),
        )
        return Check(measurement, needs, holds=False)
    low, high = (float(end) for end in mean_interval(known.mean(), known.var(ddof=1), len(known), level))
    measurement = Measurement(
        id=f"explainability.{name}",
        value=float(known.mean()),
        unit="number",
        better="higher" if higher else "lower",
        count=len(known),
        interval=Interval(low=low, high=high, level=level, method=Message("Student's t over rows")),
        replicates=replicates(lambda chosen: float(rows[chosen].mean()), len(rows)) if len(known) == len(rows) else (),
        definition=definition,
    )
    return Check(measurement, needs, holds=low > bound if higher else high <= bound)


def failed_checks(found: Sequence[Check], row_count: int, level: float) -> Measurement:
    """Return `explainability.failed_trust_checks`: how many of the checks do not hold; ideal 0."""
    failed = sum(not check.holds for check in found)
    return Measurement(
        id="explainability.failed_trust_checks",
        value=float(failed),
        unit="count",
        better="lower",
        count=row_count,
        interval=Interval(low=failed, high=failed, level=level, method=Message("exact: a count of checks")),
        definition=Message("{count} trust checks, each held to its bound", count=len(found)),
    )


def checks_table(found: Sequence[Check]) -> Table:
    """Return the checks with their values and bounds."""
    rows = []
    for check in found:
        measurement = check.measurement
        held = Message("holds") if check.holds else Message("fails")
        rows.append((title(measurement.id), measurement.value, check.needs, held, measurement.definition))
    return Table(
        title=Message("Is this explanation trustworthy?"),
        note=Message(
            "A check passes if its whole interval does. If one check fails, the explanation is not trustworthy."
        ),
        columns=(
            Column(name=Message("check")),
            Column(name=Message("value"), unit="number"),
            Column(name=Message("must be")),
            Column(name=Message("result")),
            Column(name=Message("definition")),
        ),
        rows=tuple(rows),
    )


def ratio_measurement(
    name: str, numerators: Floats, denominators: Floats, definition: str, level: float
) -> Measurement:
    """Return the mean of absolute numerators over the mean of denominators, (rows,) each; lower is better."""
    value, low, high = ratio_of_means(numerators[:, None], denominators, level=level)
    return Measurement(
        id=f"explainability.{name}",
        value=float(value[0]),
        unit="ratio",
        better="lower",
        count=len(numerators),
        interval=ratio_interval(low[0], high[0], level, most=np.inf),
        replicates=ratio_replicates(numerators, denominators),
        definition=definition,
    )


def completeness_check(missed: Floats, change: Floats, definition: str, level: float) -> Check:
    """Return the check that attributions sum to the change of the decision: `missed` is their sum minus it, (rows,)."""
    measurement = ratio_measurement("completeness_error", np.abs(missed), np.abs(change), definition, level)
    return Check(measurement, Message("at most 0.05"), (measurement.value or 0.0) <= 0.05)


def stamp(found: Sequence[Check]) -> str:
    """Return the sentence that stands wherever an explanation shows of which a check fails; nothing if all hold."""
    failed = _failed(found)
    return Message("Not trustworthy: fails {failed}. ", failed=failed) if failed else ""


def stamped(exhibits: Sequence[Exhibit], found: Sequence[Check]) -> list[Exhibit]:
    """Return exhibits of attributions with the stamp before their notes, if a check fails."""
    return [exhibit.model_copy(update={"note": stamp(found) + exhibit.note}) for exhibit in exhibits]


def trust_notes(found: Sequence[Check]) -> list[str]:
    """Return the note that an explanation is not trustworthy, if so."""
    failed = _failed(found)
    return [Message("The explanation is not trustworthy: it fails {failed}.", failed=failed)] if failed else []


def _failed(found: Sequence[Check]) -> list[str]:
    return [check.measurement.id.partition(".")[2].replace("_", " ") for check in found if not check.holds]


def layers_table(by_layer: Sequence[tuple[str, float]], row_count: int) -> Table:
    """Return how much an explanation resembles itself while layers are shuffled one by one, from the output back."""
    return Table(
        title=Message("The explanation after layers are randomised"),
        note=Message(
            "Spearman correlation with the original explanation, averaged over {row_count} records, "
            "after the weights of this layer and all later layers are randomised. It must fall: an "
            "explanation that stays the same does not depend on what the model learnt.",
            row_count=row_count,
        ),
        columns=(Column(name=Message("layer")), Column(name=Message("correlation"), unit="number")),
        rows=tuple(by_layer),
    )
