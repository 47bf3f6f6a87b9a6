"""The charts and tables of word vectors: the numbers of every test, and the words nearest to those of each group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditkit.auditors.bias.association import Floats, detectable
from auditkit.auditors.bias.tested import TEST, WORDS, Lookup, Tested
from auditkit.evidence.measurement import Column, Detectable, Exhibit, SliceChart, Table
from auditkit.evidence.messages import Message
from auditkit.stats.drift import holm

NEIGHBOURS, TERMS = 8, 3
ROWS_AT_ONCE = 65_536


def tests_table(title: Message, tests: Sequence[Tested], level: float, random_sets: int) -> Table:
    """Return the numbers of every test: words known, effect, detectable effect, p-values, random words."""
    known = [test for test in tests if test.found is not None]
    adjusted = holm(np.array([test.found.p_value for test in known if test.found is not None]))
    p_values = {test.name: float(p) for test, p in zip(known, adjusted, strict=True)}
    rows = []
    for test in tests:
        words = [f"{len(rows)}/{len(words)}" for rows, words in zip(test.known, test.lists.lists.values(), strict=True)]
        start: tuple[str | float | None, ...] = (test.name, *test.lists.lists, " ".join(words))
        if test.found is None:
            rows.append((*start, None, None, None, None, None))
            continue
        found = test.found
        smallest = detectable(found.error, found.sizes.freedom, level)
        most = found.sizes.largest
        share = found.larger / random_sets
        rows.append(
            (*start, found.effect, smallest if smallest < most else None, found.p_value, p_values[test.name], share)
        )
    return Table(
        title=title,
        note=Message(
            "Positive effects: the first group is nearer to the first attribute. Detectable: the true effect from "
            "which on these word lists would show an association in 80 % of cases; none where no effect is large "
            "enough. p: two-sided permutation test of the target words; adjusted by Holm over the tests. Random words: "
            "share of {n:,} random sets in the place of the attribute words with at least as large an effect.",
            n=random_sets,
        ),
        columns=(
            Column(name=Message("Test")),
            Column(name=Message("First group")),
            Column(name=Message("Second group")),
            Column(name=Message("First attribute")),
            Column(name=Message("Second attribute")),
            Column(name=Message("Words known")),
            Column(name=Message("Effect size"), unit="number"),
            Column(name=Message("Detectable"), unit="number"),
            Column(name=Message("p"), unit="number"),
            Column(name=Message("p (Holm)"), unit="number"),
            Column(name=Message("Random words"), unit="rate"),
        ),
        rows=tuple(rows),
    )


def association_exhibits(
    effects: Message, numbers: Message, tests: Sequence[Tested], level: float, random_sets: int
) -> list[Exhibit]:
    """Return the charts of effects and norm distances, and the table of all tests; two titles are given."""
    return [
        SliceChart(
            title=effects,
            measurement="bias.weat_effect_size",
            by=(TEST,),
            centre=0.0,
            detectable=_detectable_effects(tests, level),
        ),
        tests_table(numbers, tests, level, random_sets),
        SliceChart(
            title=Message("Distance of attribute words from the two groups"),
            measurement="bias.relative_norm_distance",
            by=(TEST, WORDS),
        ),
    ]


def _detectable_effects(tests: Sequence[Tested], level: float) -> tuple[Detectable, ...]:
    """Return the effect that each test could detect, of those of which any possible effect is large enough."""
    found = []
    for test in tests:
        if test.found is None:
            continue
        smallest = detectable(test.found.error, test.found.sizes.freedom, level)
        if 0 < smallest < test.found.sizes.largest:
            found.append(Detectable(key=(test.name,), size=smallest))
    return tuple(found)


def neighbours_table(tests: Sequence[Tested], lookup: Lookup) -> Table:
    """Return the words nearest to the first known words of each group, and to the group's mean vector."""
    groups = {
        name: rows for test in tests for name, rows in zip(test.lists.targets, test.known[:2], strict=True) if rows
    }
    asked = [
        (name, lookup.words[row], lookup.take([row])[0], {row}) for name, rows in groups.items() for row in rows[:TERMS]
    ]
    asked += [
        (name, Message("all {n} words", n=len(rows)), lookup.take(rows).mean(axis=0), set(rows))
        for name, rows in groups.items()
    ]
    nearest = _nearest(lookup, np.array([vector for _, _, vector, _ in asked]), [leave for *_, leave in asked])
    rows = [
        (name, term, ", ".join(lookup.words[row] for row in found))
        for (name, term, _, _), found in zip(asked, nearest, strict=True)
    ]
    return Table(
        title=Message("Nearest words"),
        note=Message("By cosine, over the whole vocabulary; the words of a group are left out of its own neighbours."),
        columns=(Column(name=Message("Group")), Column(name=Message("Word")), Column(name=Message("Nearest words"))),
        rows=tuple(sorted(rows, key=lambda row: list(groups).index(row[0]))),
    )


def _nearest(lookup: Lookup, asked: Floats, left_out: Sequence[set[int]]) -> list[list[int]]:
    """Return the rows nearest to each vector by cosine, without some: at most 8 each."""
    directions = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    similar = np.empty((len(asked), len(lookup.words)), dtype=np.float32)
    for start in range(0, len(lookup.words), ROWS_AT_ONCE):
        part = lookup.vectors[start : start + ROWS_AT_ONCE]
        lengths = np.linalg.norm(part, axis=1)
        similar[:, start : start + len(part)] = directions @ part.T / lengths
    found = []
    for values, leave in zip(similar, left_out, strict=True):
        values[list(leave)] = -np.inf
        count = min(NEIGHBOURS, len(values) - len(leave))
        top = np.argpartition(-values, count - 1)[:count] if 0 < count < len(values) else np.arange(len(values))[:count]
        found.append([int(row) for row in top[np.argsort(-values[top], kind="stable")]])
    return found
