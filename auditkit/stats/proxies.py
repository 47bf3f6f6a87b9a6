"""Proxies: how well other columns give a group away, all together and each alone, judged on rows held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.evidence.messages import Message
from auditkit.progress import Progress, part_of, silent
from auditkit.stats.ranking import RocAuc, macro_roc_auc, roc_auc

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

FITTED_ROWS, JUDGED_ROWS = 20_000, 20_000
"""How many rows at most the model learns from, and is judged on."""

MODEL = Message("scikit-learn HistGradientBoostingClassifier, 60 trees of up to 15 leaves")
SHARES = Message("shares of the groups at each value")

Codes = NDArray[np.int64]


class Proxies(NamedTuple):
    """The area under the ROC curve of the group given all columns, and given each one alone, on `judged_count` rows.

    0.5 says that the columns tell nothing about the group, 1 that they give it away. For more than two groups it is
    the mean over the groups of each against the rest.
    """

    together: RocAuc
    alone: tuple[RocAuc, ...]
    fitted_count: int
    judged_count: int


def halves(groups: Codes, *, seed: int, min_group: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows to fit on and those to judge by: halves of at most 20,000 rows each, drawn by `seed`.

    Only rows of groups with at least `min_group` rows in both halves are kept.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    first, second = order[: len(order) // 2][:FITTED_ROWS], order[len(order) // 2 :][:JUDGED_ROWS]
    size = int(groups.max(initial=0)) + 1
    counts = [np.bincount(groups[half], minlength=size) for half in (first, second)]
    kept = np.minimum(*counts) >= min_group
    return first[kept[groups[first]]], second[kept[groups[second]]]


def find_proxies(
    columns: Sequence[Codes],
    ordered: Sequence[bool],
    groups: Codes,
    *,
    seed: int = 0,
    min_group: int = 10,
    progress: Progress = silent,
) -> Proxies | None:
    """Predict the group of each row from the other columns; None where fewer than two groups are large enough.

    On one half of the rows a boosted forest learns all columns together, and each column's shares of the groups are
    counted for that column alone; both are judged on the other half, so that learning by heart does not count. A single
    column together is that column alone.

    Args:
        columns: the codes of each column's values, from 0, one array (rows,) for each column.
        ordered: whether a column's codes ascend with its values; others are taken as categories.
        groups: the group of each row, from 0.
        seed: draws the halves.
        min_group: the fewest rows of a group, in each half.
        progress: told how far the work is.
    """
    alone = columns_alone(columns, groups, seed=seed, min_group=min_group, progress=part_of(progress, 0, 0.5))
    if alone is None:
        return None
    split = _split(groups, seed, min_group)
    if len(columns) == 1:
        return Proxies(alone[0], alone, len(split.first), len(split.second))
    progress(0.5, "columns together")
    matrix = np.column_stack([codes.astype(np.float64) for codes in columns])
    model = boosted_forest(ordered, seed=seed)
    model.fit(matrix[split.first], split.known)
    together = _area(split.truth, model.predict_proba(matrix[split.second]).astype(np.float64))
    return Proxies(together, alone, len(split.first), len(split.second))


def columns_alone(
    columns: Sequence[Codes],
    groups: Codes,
    *,
    seed: int = 0,
    min_group: int = 10,
    progress: Progress = silent,
) -> tuple[RocAuc, ...] | None:
    """Return how well each column alone tells the groups, as in `find_proxies`; None where fewer than two are large."""
    split = _split(groups, seed, min_group)
    if split.group_count < 2:
        return None
    alone = []
    for done, codes in enumerate(columns):
        shares = _shares(codes[split.first], split.known, codes[split.second], split.group_count, int(codes.max()) + 1)
        alone.append(_area(split.truth, shares))
        progress((done + 1) / len(columns), "columns alone")
    return tuple(alone)


class _Split(NamedTuple):
    """The rows of both halves, the groups that are `known` on the first, and the `truth` on the second."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    known: Codes
    truth: Codes
    group_count: int


def _split(groups: Codes, seed: int, min_group: int) -> _Split:
    first, second = halves(groups, seed=seed, min_group=min_group)
    present, compact = np.unique(groups[first], return_inverse=True)
    truth = np.searchsorted(present, groups[second]).astype(np.int64)
    return _Split(first, second, compact.astype(np.int64), truth, len(present))


def boosted_forest(ordered: Sequence[bool], *, seed: int, balanced: bool = False) -> HistGradientBoostingClassifier:
    """Return a forest to be fitted to columns, of which those that are not `ordered` are categories.

    Classes weigh as often as they occur, or, `balanced`, all alike.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=60,
        max_leaf_nodes=15,
        early_stopping=False,
        categorical_features=[not rising for rising in ordered],
        class_weight="balanced" if balanced else None,
        random_state=seed,
    )


def _shares(codes: Codes, groups: Codes, judged: Codes, group_count: int, size: int) -> NDArray[np.float64]:
    """Return for each judged row the shares of the groups among the known rows of its value, slightly smoothed."""
    table = np.bincount(codes * group_count + groups, minlength=size * group_count).reshape(size, group_count)
    overall = np.bincount(groups, minlength=group_count) / len(groups)
    return np.asarray(((table + overall) / (table.sum(axis=1, keepdims=True) + 1))[judged])


def _area(groups: Codes, probabilities: NDArray[np.float64]) -> RocAuc:
    if probabilities.shape[1] == 2:
        return roc_auc(groups == 1, probabilities[:, 1])
    return macro_roc_auc(groups, probabilities)
