"""How the decision moves with the columns of a table: one by one, and in pairs that do not simply add up."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from auditkit.auditors.explainability import effects
from auditkit.auditors.explainability.methods_table import Explanation
from auditkit.auditors.explainability.shapley import shapley_interactions
from auditkit.auditors.explainability.statistics import largest_first, ratio_slices
from auditkit.engine.sampling import sliced
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Curve, Exhibit, Group, Line, Measurement, SliceChart
from auditkit.evidence.messages import Message

CURVE_COUNT = 4
PLAYERS, INTERACTION_ROWS = 6, 500
INTERACTIONS = Message("Shapley interaction index (Grabisch & Roubens 1999), over the mean absolute attribution")


def direction_curves(subject: Subject, given: Explanation) -> list[Exhibit]:
    """Return how the decision moves with each of the numeric columns that weigh most."""
    explained, columns = given.explained, given.columns
    features = {feature.name: feature for feature in subject.schema.features}
    curves: list[Exhibit] = []
    for index in np.argsort(-given.size.mean(axis=0), kind="stable"):
        name = columns[index]
        feature = features[name]
        if feature.kind != "numeric" or len(curves) == CURVE_COUNT:
            continue
        found = effects.accumulated_local_effects(explained, explained.columns[name].start)
        if found is None:
            continue
        half = 1.96 * found.standard_error
        curves.append(
            Curve(
                title=Message("How the decision changes with {name}", name=name),
                note=Message(
                    "Accumulated local effects, centred at 0; the band is 95 % for each point. Flat: no effect."
                ),
                x_label=name,
                y_label=Message("change of the decision"),
                lines=(
                    Line(
                        name=name,
                        x=tuple(float(edge) * feature.scale + feature.mean for edge in found.edges),
                        y=tuple(found.effect.tolist()),
                        low=tuple((found.effect - half).tolist()),
                        high=tuple((found.effect + half).tolist()),
                    ),
                ),
            )
        )
    return curves


def interactions(subject: Subject, given: Explanation) -> tuple[list[Measurement], list[Exhibit]]:
    """Return how strongly pairs of the columns that weigh most work together, relative to all attribution."""
    top = np.sort(np.argsort(-given.size.mean(axis=0), kind="stable")[:PLAYERS])
    if len(top) < 2:
        return [], []
    rows = np.random.default_rng([subject.seed, 3]).permutation(len(given.size))
    rows = rows[: given.rung.rows(INTERACTION_ROWS)]
    found = np.abs(shapley_interactions(given.explained.take(rows), top.tolist()))
    pairs = [
        Group(by=("column", "column"), key=(given.columns[one], given.columns[other]))
        for one, other in combinations(top, 2)
    ]
    total = given.size[rows].sum(axis=1)
    slices = ratio_slices(pairs, found, total, level=subject.conf_level, what=Message("pairs"), most=np.inf)
    measurement = sliced("interaction_ratio", ("pair",), largest_first(slices), len(rows), "ratio", INTERACTIONS)
    chart = SliceChart(
        title=Message("Interactions between pairs of columns"),
        note=Message(
            "Of the {top_count} columns that weigh most: how far two columns together move the decision "
            "by more, or by less, than each does alone, over the attribution of all columns. 0: their "
            "effects add up.",
            top_count=len(top),
        ),
        measurement=measurement.id,
        by=measurement.by,
    )
    return [measurement], [chart]
