"""Attributions added up by word, and by phrase of two words: shares of the whole, and which way each one pulls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from auditkit.auditors.explainability.statistics import keyed, largest_first, ratio_slices
from auditkit.auditors.explainability.target_function import Floats
from auditkit.engine.subject import Subject
from auditkit.evidence.breakdowns import OWN_BREAKDOWNS
from auditkit.evidence.measurement import Interval, Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.schema.text import FIRST_WORD, PADDING, words_of_pieces
from auditkit.stats.intervals import mean_interval, simultaneous_level

SHOWN = 15
LEAST_PART = 0.2
"""A phrase is listed where each of its words carries at least this share of its attribution, on average."""


@dataclass(frozen=True, eq=False)
class Terms:
    """Words or phrases (`what`), and what each adds up to in each text that holds it.

    `sums` is (texts, terms), and `sizes` that of absolute attributions: an entry wherever the text holds the term.
    `names` are those of the terms; `rest`, (texts,), is the absolute attribution of all others.
    """

    what: str
    names: tuple[str, ...]
    sums: sparse.csc_array
    sizes: sparse.csc_array
    rest: Floats

    @property
    def plural(self) -> Message:
        """What the terms are, in the plural."""
        return Message("words") if self.what == "word" else Message("phrases")

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many texts hold each term: (terms,)."""
        counts: NDArray[np.int64] = np.diff(self.sums.indptr).astype(np.int64)
        return counts


@dataclass(frozen=True, eq=False)
class Tokens:
    """The words of texts as ids, (texts, length), of `vocabulary`, and what is attributed to each: (texts, length)."""

    ids: NDArray[np.int64]
    attributions: Floats
    vocabulary: tuple[str, ...]


def tokens_of(subject: Subject, rows: NDArray[np.int64], ids: NDArray[np.int64], attributions: Floats) -> Tokens:
    """Return the words of texts with their attributions: pieces of a word are joined, and what they carry is summed."""
    feature = subject.schema.features[0]
    codes: dict[str, int] = {}
    if feature.is_verbatim:
        kinds, kind_of = np.unique(ids, return_inverse=True)
        word_ids = [
            FIRST_WORD + codes.setdefault(feature.word(kind), len(codes)) if kind >= FIRST_WORD else int(kind)
            for kind in kinds
        ]
        return Tokens(np.array(word_ids)[kind_of.reshape(ids.shape)], attributions, tuple(codes))
    if not feature.pieces:
        return Tokens(ids, attributions, feature.vocabulary)
    joined, sums = np.full_like(ids, PADDING), np.zeros_like(attributions)
    column = subject.data.frame[feature.name]
    for row, text in enumerate(column.iloc[rows]):
        held = int((ids[row] != PADDING).sum())
        places: dict[int, int] = {}
        for piece, (number, word) in enumerate(words_of_pieces(str(text), feature.pieces)[:held]):
            place = places.setdefault(number, len(places))
            joined[row, place] = FIRST_WORD + codes.setdefault(word, len(codes))
            sums[row, place] += attributions[row, piece]
    return Tokens(joined, sums, tuple(codes))


def words(subject: Subject, tokens: Tokens) -> Terms:
    """Return the words that occur in enough texts to be shown."""
    ids, attributions, vocabulary = tokens.ids, tokens.attributions, tokens.vocabulary
    count = FIRST_WORD + len(vocabulary)
    held = ids != PADDING
    sums, sizes = (_table(held, ids[held], weights[held], count) for weights in (attributions, np.abs(attributions)))
    common = np.flatnonzero(np.diff(sums.indptr) >= subject.min_group)
    common = common[common >= FIRST_WORD]
    chosen = sizes[:, common]
    return Terms(
        "word",
        tuple(vocabulary[word - FIRST_WORD] for word in common),
        sums[:, common],
        chosen,
        _per_row(sizes) - _per_row(chosen),
    )


def phrases(subject: Subject, tokens: Tokens) -> Terms:
    """Return the pairs of neighbouring words that occur in enough texts, and whose words both carry a part of them."""
    ids, attributions, vocabulary = tokens.ids, tokens.attributions, tokens.vocabulary
    held = (ids[:, :-1] >= FIRST_WORD) & (ids[:, 1:] >= FIRST_WORD)
    pairs = np.stack([ids[:, :-1][held], ids[:, 1:][held]], axis=1)
    kinds, codes = np.unique(pairs, axis=0, return_inverse=True)
    before, after = attributions[:, :-1][held], attributions[:, 1:][held]
    first, second = (_table(held, codes.reshape(-1), weights, len(kinds)) for weights in (before, after))
    sums = _table(held, codes.reshape(-1), before + after, len(kinds))
    counts = np.maximum(np.diff(first.indptr), 1)
    each = np.stack([_per_column(first), _per_column(second)]) / counts
    carried = np.sign(each).prod(axis=0) > 0
    carried &= np.abs(each).min(axis=0) >= LEAST_PART * np.abs(each.sum(axis=0))
    common = np.flatnonzero((np.diff(first.indptr) >= subject.min_group) & carried)
    chosen = sums[:, common]
    names = tuple(" ".join(vocabulary[word - FIRST_WORD] for word in kinds[pair]) for pair in common)
    return Terms("phrase", names, chosen, abs(chosen), np.zeros(len(ids)))


def term_directions(terms: Terms, definition: str, *, level: float) -> Measurement:
    """Return `explainability.word_attribution`, or that of phrases: the mean over the texts that hold the term."""
    together = simultaneous_level(level, max(len(terms.names), 1))
    noun = OWN_BREAKDOWNS[terms.what]
    slices = []
    for place, group in enumerate(keyed(terms.what, terms.names)):
        held = terms.sums.data[terms.sums.indptr[place] : terms.sums.indptr[place + 1]]
        mean, variance = held.mean(), held.var(ddof=1)
        ends = [
            tuple(float(end) for end in mean_interval(mean, variance, len(held), each)) for each in (level, together)
        ]
        alone, wide = (
            Interval(low=low, high=high, level=level, method=Message("Student's t over texts{family}", family=family))
            for (low, high), family in zip(
                ends,
                ("", Message(", Sidak over {names_count:,} {what}s", names_count=len(terms.names), what=noun)),
                strict=True,
            )
        )
        slices.append(
            Slice(group=group, value=float(mean), count=len(held), interval=alone, simultaneous_interval=wide)
        )
    slices = largest_first(slices)
    shown = slices if len(slices) <= 2 * SHOWN else slices[:SHOWN] + slices[-SHOWN:]
    return Measurement(
        id=f"explainability.{terms.what}_attribution",
        by=(terms.what,),
        unit="number",
        better="neither",
        count=terms.sums.shape[0],
        slices=tuple(shown),
        definition=definition,
        reason=None if shown else Message("no {what} occurs in enough texts", what=OWN_BREAKDOWNS[terms.what]),
    )


def term_shares(terms: Terms, definition: str, *, level: float, name: str = "word_attribution_share") -> Measurement:
    """Return `explainability.NAME`: the terms with the largest share of all absolute attribution."""
    chosen = np.argsort(-_per_column(terms.sizes), kind="stable")[:SHOWN]
    slices: list[Slice] = []
    if len(chosen):
        slices = ratio_slices(
            keyed(terms.what, [terms.names[index] for index in chosen]),
            terms.sizes[:, chosen].toarray(),
            _per_row(terms.sizes) + terms.rest,
            level=level,
            what=terms.plural,
            chosen_from=len(terms.names),
            counts=terms.counts[chosen].tolist(),
        )
    return Measurement(
        id=f"explainability.{name}",
        by=(terms.what,),
        unit="share",
        better="neither",
        count=terms.sizes.shape[0],
        slices=tuple(slices),
        definition=definition,
        reason=None if slices else Message("no {what} occurs in enough texts", what=OWN_BREAKDOWNS[terms.what]),
    )


def _table(held: NDArray[np.bool_], columns: NDArray[np.int64], weights: Floats, count: int) -> sparse.csc_array:
    """Return what each term adds up to in each text, from the places that hold one: (texts, terms)."""
    row = np.broadcast_to(np.arange(len(held))[:, None], held.shape)[held]
    return sparse.coo_array((weights, (row, columns)), shape=(len(held), count)).tocsc()


def _per_row(table: sparse.csc_array) -> Floats:
    return np.asarray(table.sum(axis=1), dtype=np.float64).reshape(-1)


def _per_column(table: sparse.csc_array) -> Floats:
    return np.asarray(table.sum(axis=0), dtype=np.float64).reshape(-1)
