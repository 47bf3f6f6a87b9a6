"""Word lists held against an encoder of sentences: the words are read in sentences made of templates (SEAT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from auditkit.auditors.bias.tested import Lookup, Tested, lookup_of
from auditkit.auditors.bias.vectors import association_measurements, held_against
from auditkit.auditors.bias.vectors_report import association_exhibits
from auditkit.auditors.bias.word_lists import (
    Templates,
    WordLists,
    check_templates,
    check_word_lists,
    shipped_word_lists,
)
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Table
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import TextVectors

POOL = 200
"""So many words of the vocabulary are what random words are taken from: each stands in as many sentences as a word."""

SHORTEST = 3
"""Words of fewer letters are no random words, where they are written in Latin letters without accents."""

EFFECT = Message(
    "difference of the mean association of two groups of words with two attributes, each word in sentences made of "
    "templates, over its standard deviation over sentences (SEAT, May et al. 2019): positive where the first group is "
    "nearer to the first attribute, 0 for no association"
)


def sentence_evidence(
    subject: Subject,
    able: TextVectors,
    word_lists: Mapping[str, Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, Any]],
    random_sets: int,
) -> Evidence:
    """Hold word lists against the vectors of sentences around their words.

    Raises:
        NotRun: the model knows no word of any list.
    """
    every = check_word_lists({**shipped_word_lists(), **word_lists})
    sets = check_templates(templates, every)
    used = {lists.templates: sets[lists.templates] for lists in every.values()}
    lookups = {
        name: _lookup(subject, able, made, [lists for lists in every.values() if lists.templates == name])
        for name, made in used.items()
    }
    tests, absent = held_against(
        subject, every, {name: lookups[lists.templates] for name, lists in every.items()}, word_lists, random_sets
    )
    effects, numbers = Message("Associations in the vectors of sentences"), Message("Sentence association tests")
    exhibits = association_exhibits(effects, numbers, tests, subject.conf_level, random_sets)
    exhibits.append(_templates_table(tests, sets))
    return Evidence(
        measurements=association_measurements(tests, subject.conf_level, random_sets, EFFECT),
        exhibits=exhibits,
        notes=_notes(tests, absent),
    )


def _lookup(subject: Subject, able: TextVectors, made: Templates, lists: Sequence[WordLists]) -> Lookup:
    """Return the words of lists that the model knows, and random ones, with the vectors of their sentences.

    The vectors are (words, sentences, width). Random words are written in the script of the lists: in Latin letters
    without accents, or not.
    """
    listed = list(dict.fromkeys(word for one in lists for words in one.lists.values() for word in words))
    known = [word for word, knows in zip(listed, able.knows(listed), strict=True) if knows]
    if not known:
        return lookup_of((), np.zeros((0, len(made.sentences), 1), dtype=np.float32))
    plain = sum(word.isascii() for word in known) > len(known) / 2
    others = [word for word in able.words if word.isascii() == plain and (not plain or len(word) >= SHORTEST)]
    others = sorted(set(others) - {word.lower() for word in listed} - set(listed))
    drawn = np.random.default_rng(subject.seed).permutation(len(others))[:POOL]
    words = [*known, *(others[place] for place in drawn)]
    vectors = able.vectors(made.around(words), device=subject.device, progress=subject.progress)
    return lookup_of(words, vectors.reshape(len(words), len(made.sentences), -1))


def _templates_table(tests: Sequence[Tested], sets: Mapping[str, Templates]) -> Table:
    used = dict.fromkeys(test.lists.templates for test in tests)
    return Table(
        title=Message("Sentences around the words"),
        columns=(Column(name=Message("Set")), Column(name=Message("Sentence")), Column(name=Message("Source"))),
        rows=tuple((name, sentence, sets[name].source) for name in used for sentence in sets[name].sentences),
    )


def _notes(tests: Sequence[Tested], absent: Sequence[str]) -> list[str]:
    listed = sum(len(words) for test in tests for words in test.lists.lists.values())
    known = sum(len(rows) for test in tests for rows in test.known)
    notes: list[str] = [
        Message(
            "{known:,} of {listed:,} words of the word lists are known to the model: their tokens are none that stands "
            "for the unknown. The others were left out.",
            known=known,
            listed=listed,
        ),
        Message(
            "Sentences of one word depend on each other: permutations, resampling and the number of words that the "
            "intervals rest on are those of whole words, not of sentences."
        ),
        Message("Random words are drawn from at most {n:,} words of the vocabulary that are in no word list.", n=POOL),
    ]
    if absent:
        notes.append(
            Message("Not examined, since the model knows none of their words: the word lists {names}.", names=absent)
        )
    return notes
