"""Which texts depend on each other: those of one cluster, such as an author, and those that say the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

Codes = NDArray[np.int64]


def units_of(frames: Sequence[pd.DataFrame], texts: Sequence[str], cluster: str | None) -> Codes:
    """Return the unit of each text, (texts,), from 0: what has one cluster, or says the same, is in one unit.

    `texts` are those of all frames, one behind the other. A cluster has one name in all of them; a row without one is
    a cluster of its own.
    """
    same = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)
    owners = _owners(frames, cluster)
    shape = (int(owners.max()) + 1, int(same.max()) + 1)
    links = sparse.coo_array((np.ones(len(same)), (owners, same)), shape=shape)
    both = sparse.block_array([[None, links], [links.T, None]]).tocsr()
    found = np.unique(sparse.csgraph.connected_components(both, directed=False)[1][owners], return_inverse=True)[1]
    return found.astype(np.int64)


def _owners(frames: Sequence[pd.DataFrame], cluster: str | None) -> Codes:
    """Return the number of the cluster of each row."""
    count = sum(map(len, frames))
    codes: list[int] = []
    names: dict[str, int] = {}
    for frame in frames:
        values = frame[cluster] if cluster in frame.columns else [None] * len(frame)
        for value in values:
            begun = len(codes)
            codes.append(begun + count if pd.isna(value) else names.setdefault(str(value), len(names)))
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)
