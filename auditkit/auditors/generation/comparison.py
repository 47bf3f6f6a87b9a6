"""Every number that compares a set of samples with real rows, overall and by group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.generation.auditor import QUALITIES
from auditkit.auditors.generation.material import CLASS, Codes, Material, Rows
from auditkit.auditors.generation.neighbours import kernel_distance, neighbourhoods, real_rows

Floats = NDArray[np.float64]

Key = tuple[str, str]
"""The name of a measurement, and the column whose groups have a value each; "" where there is one value."""

BY_GROUP = ("recall", "coverage")
"""The qualities that are shares of real rows, so that each group of them has its own."""


def compare(material: Material, rows: Codes, number: int, drawn: Codes) -> dict[Key, Floats]:
    """Return each measurement's values, (groups,) or (1,), for some real rows and some rows of a set of samples.

    `rows` and `drawn` are positions of real rows and of rows of set `number`, in the order of drawing.
    """
    real = material.real[rows]
    known = material.all_real if len(rows) == len(material.real) else real_rows(real)
    fake = material.sets[number][drawn]
    own, best = neighbourhoods(known, fake), neighbourhoods(known, material.ceilings[number][drawn])
    values = np.array(own.metrics), np.array(best.metrics)
    found: dict[Key, Floats] = {}
    for name, value, ceiling in zip(QUALITIES, *values, strict=True):
        found[name, ""] = np.array([value])
        found[f"{name}_shortfall", ""] = np.array([ceiling - value])
    found["kernel_distance", ""] = np.array([kernel_distance(real, fake)])
    for column, (groups, codes) in material.splits.items():
        for name in BY_GROUP:
            flags = (own.recalled, best.recalled) if name == "recall" else (own.covered, best.covered)
            value, ceiling = (_group_means(one, codes[rows], len(groups)) for one in flags)
            found[name, column] = value
            found[f"{name}_shortfall", column] = ceiling - value
    if material.classes is not None:
        found["class_diversity_ratio", CLASS] = _diversity(
            _spread(fake, material.classes.seen_in_sets[number][drawn], len(material.splits[CLASS][0])),
            _spread(real, material.classes.seen_in_real[rows], len(material.splits[CLASS][0])),
        )
    return found


def _group_means(flags: NDArray[np.bool_], codes: Codes, group_count: int) -> Floats:
    """Return the share of each group's rows that are flagged, (groups,); 0 of a group without rows."""
    sizes = np.maximum(np.bincount(codes, minlength=group_count), 1)
    shares: Floats = np.bincount(codes, weights=flags, minlength=group_count) / sizes
    return shares


def _diversity(made: Floats, real: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.sqrt(made / real)
    return ratio


def _spread(rows: Rows, codes: Codes, count: int) -> Floats:
    """Return the mean squared distance between two rows of a class, halved, (classes,); NaN under two rows."""
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    totals = np.zeros((count, rows.shape[1]))
    np.add.at(totals, codes, rows.astype(np.float64))
    squares = np.bincount(codes, weights=np.square(rows, dtype=np.float64).sum(axis=1), minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread: Floats = (squares - np.square(totals).sum(axis=1) / sizes) / (sizes - 1)
    return np.where(sizes > 1, spread, np.nan)
