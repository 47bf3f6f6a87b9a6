"""From word lists and a model's word vectors to measurements: associations, norm distances, neighbours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from auditkit.auditors.bias.association import (
    Floats,
    Sizes,
    associations,
    cosines,
    effect_interval,
    effect_size,
    norm_distance_error,
    permutation_p,
    random_attribute_effects,
    relative_norm_distance,
    resampled_effects,
    student_interval,
    unit,
)
from auditkit.auditors.bias.tested import FEWEST_WORDS, TEST, WORDS, Association, Lookup, Tested
from auditkit.auditors.bias.vectors_report import association_exhibits, neighbours_table
from auditkit.auditors.bias.word_lists import WordLists, check_word_lists, shipped_word_lists
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import (
    Evidence,
    Group,
    Interval,
    Measurement,
    Slice,
)
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import proportion_interval, simultaneous_level

POOL = 2_000
"""So many words, drawn from the whole vocabulary, are what random words are taken from."""

EFFECT_METHOD = Message("Student's t joined with percentiles, from resampling the words of every list")
METHOD = Message("Student's t, standard error from resampling the words of every list")
EFFECT = Message(
    "difference of the mean association of two groups of words with two attributes, over its standard deviation "
    "(Caliskan et al. 2017): positive where the first group is nearer to the first attribute, 0 for no association"
)
DISTANCE = Message(
    "mean distance of attribute words from the first group's mean vector, minus that from the second group's (Garg et "
    "al. 2018): negative where they are nearer to the first group, 0 for equally near"
)
SHARE = Message(
    "share of sets of random words, in the place of the attribute words, whose effect size is at least as large in "
    "absolute value"
)


def vector_evidence(
    subject: Subject, lookup: Lookup, word_lists: Mapping[str, Mapping[str, Any]], random_sets: int
) -> Evidence:
    """Hold word lists against vectors of words, and return measurements, charts and tables.

    Raises:
        NotRun: no word of any list is in the vocabulary.
    """
    every = check_word_lists({**shipped_word_lists(), **word_lists})
    tests, absent = held_against(subject, every, dict.fromkeys(every, lookup), word_lists, random_sets)
    subject.progress(0.9, "nearest words")
    effects, numbers = Message("Associations in the word vectors"), Message("Word association tests")
    exhibits = association_exhibits(effects, numbers, tests, subject.conf_level, random_sets)
    exhibits.append(neighbours_table(tests, lookup))
    pool = len(_pool(lookup, every, subject.seed))
    return Evidence(
        measurements=association_measurements(tests, subject.conf_level, random_sets, EFFECT),
        exhibits=exhibits,
        notes=_notes(tests, absent, lookup, pool),
    )


def held_against(
    subject: Subject,
    every: Mapping[str, WordLists],
    lookups: Mapping[str, Lookup],
    asked: Collection[str],
    random_sets: int,
) -> tuple[list[Tested], list[str]]:
    """Return every test held against the lookup of its name, and the tests of which no word is known.

    Of those that the user `asked` for also the latter are tests.

    Raises:
        NotRun: no word of any list is known.
    """
    pools = {id(lookup): _pool(lookup, every, subject.seed) for lookup in lookups.values()}
    tests, absent = [], []
    for place, (name, lists) in enumerate(every.items()):
        subject.progress(0.8 * place / len(every), name)
        lookup = lookups[name]
        known = tuple(tuple(lookup.found(words)) for words in lists.lists.values())
        if not any(known) and name not in asked:
            absent.append(name)
            continue
        tests.append(_tested(name, lists, known, lookup, pools[id(lookup)], random_sets, subject.seed))
    if not tests:
        raise NotRun(
            Message("no word of any word list is in the vocabulary"),
            remedy=Message("--set bias.word_lists=FILE with words of its own"),
        )
    return tests, absent


def association_measurements(
    tests: Sequence[Tested], level: float, random_sets: int, definition: Message
) -> list[Measurement]:
    """Return the effect sizes, the shares of random words and the norm distances of tests, with their intervals."""
    wide = simultaneous_level(level, len(tests))
    return [
        _effects(tests, level, wide, definition),
        _shares(tests, level, wide, random_sets),
        _distances(tests, level),
    ]


def _pool(lookup: Lookup, every: Mapping[str, WordLists], seed: int) -> Floats:
    """Return the vectors of words drawn from the whole vocabulary, none of a word list: (pool, ..., width)."""
    listed = {row for lists in every.values() for words in lists.lists.values() for row in lookup.found(words)}
    others = np.array([row for row in range(len(lookup.words)) if row not in listed], dtype=np.int64)
    drawn = np.random.default_rng(seed).permutation(others)[:POOL]
    return lookup.take(np.sort(drawn))


def _tested(
    name: str,
    lists: WordLists,
    known: tuple[tuple[int, ...], ...],
    lookup: Lookup,
    pool: Floats,
    random_sets: int,
    seed: int,
) -> Tested:
    for (words_name, words), rows in zip(lists.lists.items(), known, strict=True):
        if len(rows) < FEWEST_WORDS:
            reason = Message(
                "{known} of {n} words of {name} are in the vocabulary, and {needed} are needed",
                known=len(rows),
                n=len(words),
                name=words_name,
                needed=FEWEST_WORDS,
            )
            return Tested(name, lists, known, None, reason)
    first, second, attribute, other = (_in_sentences(lookup.take(rows)) for rows in known)
    sizes = Sizes(len(first), len(second), len(attribute), len(other), first.shape[1])
    if len(pool) < sizes.attribute + sizes.other:
        return Tested(name, lists, known, None, Message("the vocabulary has too few other words to compare with"))
    targets = np.vstack([first, second])
    targets = targets.reshape(-1, targets.shape[-1])
    similarities = _word_cosines(targets, np.vstack([attribute, other]))
    values = associations(similarities, sizes)
    effect = float(effect_size(values, sizes.rows[0]))
    if not np.isfinite(effect):
        return Tested(name, lists, known, None, Message("all target words have the same association"))
    random = random_attribute_effects(_word_cosines(targets, _in_sentences(pool)), sizes, draws=random_sets, seed=seed)
    first, second, attribute, other = (unit(part).mean(axis=1) for part in (first, second, attribute, other))
    distances = tuple(
        (
            words_name,
            relative_norm_distance(first, second, words),
            norm_distance_error(first, second, words, seed=seed),
            len(words),
            min(sizes.first + sizes.second - 2, len(words) - 1),
        )
        for words_name, words in zip(lists.attributes, (attribute, other), strict=True)
    )
    found = Association(
        effect=effect,
        resampled=resampled_effects(similarities, sizes, seed=seed),
        p_value=permutation_p(values.reshape(-1, sizes.sentences).mean(axis=1), sizes.first, seed=seed),
        sizes=sizes,
        larger=int((np.abs(random) >= abs(effect)).sum()),
        distances=distances,
    )
    return Tested(name, lists, known, found, None)


def _in_sentences(vectors: Floats) -> Floats:
    """Return vectors of words, (words, width), as of words in one sentence each; those in several as they are."""
    return vectors.reshape(len(vectors), -1, vectors.shape[-1])


def _word_cosines(targets: Floats, words: Floats) -> Floats:
    """Return the mean cosine of rows, (rows, width), with words in sentences, (words, sentences, width)."""
    found: Floats = cosines(targets, words.reshape(-1, words.shape[-1])).reshape(len(targets), len(words), -1)
    mean: Floats = found.mean(axis=2)
    return mean


def _effects(tests: Sequence[Tested], level: float, wide: float, definition: Message) -> Measurement:
    slices = []
    for test in tests:
        group, count = Group(by=(TEST,), key=(test.name,)), sum(map(len, test.known))
        if test.found is None:
            slices.append(Slice(group=group, value=None, count=count, reason=test.reason))
            continue
        found, most = test.found, test.found.sizes.largest
        alone, together = (
            _interval(
                effect_interval(found.effect, found.resampled, found.sizes.freedom, at, most), level, EFFECT_METHOD
            )
            for at in (level, wide)
        )
        slices.append(
            Slice(
                group=group,
                value=found.effect,
                count=count,
                interval=alone,
                simultaneous_interval=_joint(together, tests),
            )
        )
    return _measurement("weat_effect_size", (TEST,), slices, "number", definition, Message("words"))


def _shares(tests: Sequence[Tested], level: float, wide: float, random_sets: int) -> Measurement:
    slices = []
    for test in tests:
        group = Group(by=(TEST,), key=(test.name,))
        if test.found is None:
            slices.append(Slice(group=group, value=None, count=0, reason=test.reason))
            continue
        larger = test.found.larger
        alone, together = (
            _interval(_proportion(larger, random_sets, at), level, Message("Wilson or Clopper-Pearson"))
            for at in (level, wide)
        )
        slices.append(
            Slice(
                group=group,
                value=larger / random_sets,
                count=random_sets,
                interval=alone,
                simultaneous_interval=_joint(together, tests),
            )
        )
    return _measurement("random_words_larger_share", (TEST,), slices, "rate", SHARE, Message("random sets"))


def _distances(tests: Sequence[Tested], level: float) -> Measurement:
    found = [(test, one) for test in tests if test.found is not None for one in test.found.distances]
    wide = simultaneous_level(level, max(len(found), 1))
    slices = [
        Slice(
            group=Group(by=(TEST, WORDS), key=(test.name, name)),
            value=value,
            count=count,
            interval=_interval(student_interval(value, error, freedom, level), level, METHOD),
            simultaneous_interval=_joint(
                _interval(student_interval(value, error, freedom, wide), level, METHOD), found
            ),
        )
        for test, (name, value, error, count, freedom) in found
    ]
    slices += [
        Slice(group=Group(by=(TEST, WORDS), key=(test.name, name)), value=None, count=0, reason=test.reason)
        for test in tests
        if test.found is None
        for name in test.lists.attributes
    ]
    return _measurement("relative_norm_distance", (TEST, WORDS), slices, "number", DISTANCE, Message("words"))


def _measurement(
    name: str,
    by: tuple[str, ...],
    slices: Sequence[Slice],
    unit: Any,
    definition: Message,
    counted: Message,
) -> Measurement:
    return Measurement(
        id=f"bias.{name}",
        by=by,
        unit=unit,
        better="neither",
        count=sum(part.count for part in slices),
        slices=tuple(slices),
        definition=definition,
        counted=counted,
    )


def _interval(ends: tuple[float, float], level: float, method: str) -> Interval:
    return Interval(low=ends[0], high=ends[1], level=level, method=method)


def _joint(interval: Interval, family: Sequence[object]) -> Interval:
    """Return an interval of a family, whose method says so; of one alone, as it is."""
    if len(family) < 2:
        return interval
    method = Message("{method}, Sidak over {n} tests", method=interval.method, n=len(family))
    return interval.model_copy(update={"method": method})


def _proportion(count: int, trials: int, level: float) -> tuple[float, float]:
    low, high = proportion_interval(count, trials, level)
    return float(low), float(high)


def _notes(tests: Sequence[Tested], absent: Sequence[str], lookup: Lookup, pool: int) -> list[str]:
    listed = sum(len(words) for test in tests for words in test.lists.lists.values())
    known = sum(len(rows) for test in tests for rows in test.known)
    notes: list[str] = [
        Message(
            "{known:,} of {listed:,} words of the word lists are among the {n:,} words of the vocabulary; the others "
            "were left out.",
            known=known,
            listed=listed,
            n=len(lookup.words),
        ),
        Message("Random words are drawn from {n:,} words of the vocabulary that are in no word list.", n=pool),
    ]
    if absent:
        notes.append(
            Message(
                "Not examined, since none of their words is in the vocabulary: the word lists {names}.", names=absent
            )
        )
    return notes
