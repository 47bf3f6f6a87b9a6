"""The blind baseline: whether the texts alone, without any model, tell the training texts from the others.

Where they do, the two sets differ in topic, time or style, and an attack that tells them apart shows that and not what
the model remembers (Das et al. 2024, Meeus et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.stats.ranking import average_ranks

FOLDS = 5
SHUFFLES = 399
RIDGE = 1.0
MOST_FEATURES = 30_000
WORDS = r"(?u)\w+|[^\w\s]"
"""A word, or a sign that is neither word nor space."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Blind(NamedTuple):
    """The area under the ROC curve of the blind classifier, those of shuffled labels, (shuffles,), and the p-value."""

    roc_auc: float
    shuffled: Floats
    p_value: float


def blind_baseline(texts: Sequence[str], member: Mask, clusters: NDArray[np.int64], *, seed: int) -> Blind:
    """Classify texts by their words and letters, cross-validated, and hold the result against shuffled labels.

    Ridge regression of the membership on TF-IDF weights of words, pairs of words and groups of letters, and the
    length. Texts of a cluster stay in one fold. Labels are shuffled among clusters where each is wholly on one side,
    else among texts. All labels are fitted at once, so that 399 shuffles cost little more than one.
    """
    generator = np.random.default_rng((seed, 41))
    kernel = _kernel(texts)
    labels = np.column_stack([member, *(_shuffled(member, clusters, generator) for _ in range(SHUFFLES))])
    units = np.unique(clusters, return_inverse=True)[1]
    folds = (generator.permutation(int(units.max()) + 1) % FOLDS)[units]
    scores = np.zeros(labels.shape)
    for fold in range(FOLDS):
        rows, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        targets = labels[others].astype(np.float64)
        centre = targets.mean(axis=0)
        inner = kernel[np.ix_(others, others)] + RIDGE * np.eye(len(others))
        scores[rows] = kernel[np.ix_(rows, others)] @ np.linalg.solve(inner, targets - centre)
    areas = np.array([_area(labels[:, place], scores[:, place], folds) for place in range(labels.shape[1])])
    shuffled = areas[1:]
    return Blind(float(areas[0]), shuffled, float((1 + (shuffled >= areas[0]).sum()) / (1 + SHUFFLES)))


def _kernel(texts: Sequence[str]) -> Floats:
    """Return the inner products of the texts' features, (texts, texts)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_FEATURES, token_pattern=WORDS)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=MOST_FEATURES)
    kernel = np.zeros((len(texts), len(texts)))
    for vectorizer in (words, letters):
        features = vectorizer.fit_transform([text or " empty " for text in texts])
        kernel += (features @ features.T).toarray()
    lengths = np.log1p([len(text) for text in texts])
    lengths = (lengths - lengths.mean()) / max(float(lengths.std()), 1e-9)
    return np.asarray(kernel + np.outer(lengths, lengths) / 4, dtype=np.float64)


def _shuffled(member: Mask, clusters: NDArray[np.int64], generator: np.random.Generator) -> Mask:
    _, first, codes = np.unique(clusters, return_index=True, return_inverse=True)
    whole = bool((member == member[first][codes]).all())
    found: Mask = generator.permutation(member[first])[codes] if whole else generator.permutation(member)
    return found


def _area(member: Mask, scores: Floats, folds: NDArray[np.int64]) -> float:
    """Return the mean area under the ROC curve of the folds that hold both sides, weighted by their rows."""
    areas, rows = [], []
    for fold in range(FOLDS):
        inside, of_fold = member[folds == fold], scores[folds == fold]
        positives, count = int(inside.sum()), len(inside)
        if 0 < positives < count:
            ranks = average_ranks(of_fold)[inside].sum()
            areas.append((ranks - positives * (positives + 1) / 2) / (positives * (count - positives)))
            rows.append(count)
    return float(np.average(areas, weights=rows)) if areas else 0.5
