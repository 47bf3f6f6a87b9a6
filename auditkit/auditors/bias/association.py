"""The word embedding association test: effect size, permutation test, interval over words, and random words beside it.

Caliskan, Bryson & Narayanan 2017 (doi:10.1126/science.aal4230). `similarities` are cosines of target words with
attribute words, (words, attributes): the first target words are of the first group, as are the first attribute words.
Of sentences (SEAT: May et al. 2019, doi:10.18653/v1/N19-1063) each target word has several rows, which lie together,
and an attribute word's cosine is the mean over its sentences.
Coverage of the interval is simulated in tests/auditors/bias/test_association.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Ends = tuple[float, float]

EXACT_PARTITIONS = 20_000
"""Up to so many ways to divide the target words, all of them are tried."""

DRAWS = 10_000
RESAMPLES = 2_000


class Sizes(NamedTuple):
    """The numbers of words: of the two target groups, and of the two attribute groups.

    `sentences` is how many rows each target word has: those of the sentences that it stands in, or 1.
    """

    first: int
    second: int
    attribute: int
    other: int
    sentences: int = 1

    @property
    def rows(self) -> tuple[int, int]:
        """The numbers of rows of the two target groups."""
        return self.first * self.sentences, self.second * self.sentences

    @property
    def largest(self) -> float:
        """The largest effect size that groups of so many rows can have."""
        return largest_effect(*self.rows)

    @property
    def freedom(self) -> int:
        """The degrees of freedom of the interval: those of the shorter pair of lists."""
        return min(self.first + self.second, self.attribute + self.other) - 2


def cosines(first: Floats, second: Floats) -> Floats:
    """Return the cosine of every row of `first` with every row of `second`: (rows, rows); no row may be zero."""
    return unit(first) @ unit(second).T


def unit(vectors: Floats) -> Floats:
    """Return vectors, (rows, width), scaled to length 1."""
    long: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return long


def associations(similarities: Floats, sizes: Sizes) -> Floats:
    """Return how much nearer each target word is to the first attribute words than to the others: (words,)."""
    near: Floats = similarities[:, : sizes.attribute].mean(axis=1) - similarities[:, sizes.attribute :].mean(axis=1)
    return near


def effect_size(values: Floats, first: int) -> Floats:
    """Return the difference of the groups' mean associations over their joint standard deviation (ddof 1).

    `values`, (..., words), holds the associations, of the first group first. 0: no difference; positive: the first
    group is nearer to the first attribute; at most `largest_effect`. NaN where all values are alike.
    """
    apart = values[..., :first].mean(axis=-1) - values[..., first:].mean(axis=-1)
    spread = values.std(axis=-1, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(spread > 0, apart / spread, np.nan)
    return found


def largest_effect(first: int, second: int) -> float:
    """Return the largest effect size that groups of so many words can have: all apart, with no spread within."""
    count = first + second
    return math.sqrt(count * (count - 1) / (first * second))


def permutation_p(values: Floats, first: int, *, seed: int = 0) -> float:
    """Return the two-sided p-value of the difference of means: the share of partitions with as large a difference.

    The target words are divided anew into groups of the same sizes: in all ways, where there are at most 20,000, else
    in 10,000 random ways, of which the observed one is counted as one more.
    """
    total, count = values.sum(), len(values)
    seen = abs(_apart(values[:first].sum(), total, first, count))
    tolerance = 1e-12 * max(1.0, float(np.abs(values).max()))
    if math.comb(count, first) <= EXACT_PARTITIONS:
        places = np.array(list(itertools.combinations(range(count), first)))
        found = np.abs(_apart(values[places].sum(axis=1), total, first, count))
        return float((found >= seen - tolerance).mean())
    draws = np.random.default_rng(seed).permuted(np.tile(values, (DRAWS, 1)), axis=1)[:, :first].sum(axis=1)
    found = np.abs(_apart(draws, total, first, count))
    return float((1 + (found >= seen - tolerance).sum()) / (1 + DRAWS))


def _apart(sums: Floats, total: float, first: int, count: int) -> Floats:
    found: Floats = sums / first - (total - sums) / (count - first)
    return found


def effect_interval(value: float, effects: Floats, freedom: int, level: float, most: float) -> Ends:
    """Return the interval of an effect size, by the effect sizes of `resampled_effects`: (resamples,).

    It covers the mean over fresh lists of the same lengths. Student's interval covers too little where an effect is
    small against its spread, the percentiles of the resamples where lists are of unlike lengths: the two are joined.
    """
    low, high = student_interval(value, float(np.nanstd(effects, ddof=1)), freedom, level, most)
    least, largest = np.nanquantile(effects, [(1 - level) / 2, (1 + level) / 2])
    return min(low, float(least)), max(high, float(largest))


def student_interval(value: float, error: float, freedom: int, level: float, most: float = math.inf) -> Ends:
    """Return value +- Student's quantile times its standard error, cut at -`most` and `most`."""
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    return max(value - half, -most), min(value + half, most)


def detectable(error: float, freedom: int, level: float, power: float = 0.8) -> float:
    """Return the true value from which on an interval of this level excludes 0 in a share `power` of samples."""
    quantiles = special.stdtrit(freedom, (1 + level) / 2) + special.stdtrit(freedom, power)
    return float(quantiles) * error


def resampled_effects(similarities: Floats, sizes: Sizes, *, seed: int = 0) -> Floats:
    """Return the effect sizes of lists whose words are resampled, each of the four by itself: (resamples,).

    All sentences of a word are drawn with it. NaN where the drawn target words have all the same association.
    """
    first, second, attribute, other = _drawn(sizes[:4], seed)
    first, second = (np.repeat(part, sizes.sentences, axis=1) for part in (first, second))
    drawn = attribute @ similarities[:, : sizes.attribute].T / sizes.attribute
    drawn = drawn - other @ similarities[:, sizes.attribute :].T / sizes.other  # (resamples, rows)
    weights = np.hstack([first, second])
    count = sum(sizes.rows)
    apart = (drawn * np.hstack([first / sizes.rows[0], -second / sizes.rows[1]])).sum(axis=1)
    means = (drawn * weights).sum(axis=1) / count
    spread = np.sqrt((weights * (drawn - means[:, None]) ** 2).sum(axis=1) / (count - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(spread > 0, apart / spread, np.nan)
    return found


def _drawn(sizes: tuple[int, ...], seed: int) -> Iterator[Floats]:
    """Yield for each list how often each of its words is drawn with replacement: (resamples, words)."""
    generator = np.random.default_rng(seed)
    for size in sizes:
        yield generator.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(np.float64)


def random_attribute_effects(similarities: Floats, sizes: Sizes, *, draws: int, seed: int = 0) -> Floats:
    """Return the effect sizes of random words in the place of the attribute words: (draws,).

    `similarities`, (words, pool), are cosines of the target words with words drawn from the whole vocabulary, at least
    as many as a draw takes. An effect that random words reach often says little about the attribute.
    """
    generator = np.random.default_rng(seed)
    taken = sizes.attribute + sizes.other
    if similarities.shape[1] < taken:
        raise ValueError(f"the pool must hold at least {taken} words, got {similarities.shape[1]}")
    found = np.empty(draws)
    for draw in range(draws):
        chosen = generator.choice(similarities.shape[1], size=taken, replace=False)
        found[draw] = effect_size(associations(similarities[:, chosen], sizes), sizes.rows[0])
    return found


def relative_norm_distance(first: Floats, second: Floats, words: Floats) -> float:
    """Return how much farther words lie from the first group's mean vector than from the second's, on average.

    Garg et al. 2018 (doi:10.1073/pnas.1720347115), per word: vectors, (words, width), are scaled to length 1. Negative:
    the words are nearer to the first group; 0: equally near.
    """
    ends = [np.linalg.norm(unit(words) - unit(group).mean(axis=0), axis=1) for group in (first, second)]
    return float((ends[0] - ends[1]).mean())


def norm_distance_error(first: Floats, second: Floats, words: Floats, *, seed: int = 0) -> float:
    """Return the standard error of the relative norm distance over other words of all three lists.

    By the bootstrap of `resampled_effects`; the distance to a mean of resampled vectors follows from inner products.
    """
    drawn = list(_drawn((len(first), len(second), len(words)), seed))
    near = _distances(unit(first), unit(words), drawn[0])
    far = _distances(unit(second), unit(words), drawn[1])
    return float(((drawn[2] * (near - far)).sum(axis=1) / len(words)).std(ddof=1))


def _distances(group: Floats, words: Floats, drawn: Floats) -> Floats:
    """Return the distance of each word from each resampled mean of a group: (resamples, words)."""
    shares = drawn / len(group)
    inner = shares @ (group @ words.T)
    squares = ((shares @ (group @ group.T)) * shares).sum(axis=1)
    found: Floats = np.sqrt(np.maximum(1 - 2 * inner + squares[:, None], 0))
    return found
