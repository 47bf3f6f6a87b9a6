"""Columns that look like weights or ids, by their names and their values."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from auditkit.data.dataset import factorize
from auditkit.data.values import numbers
from auditkit.errors import DatasetError

_WEIGHTS = re.compile(r"(.*[_ .-])?(weights?|wgts?|wts?|pweight|fnlwgt)", re.IGNORECASE)
_ID = re.compile(
    r"(.*[_ .-])?(id|ids|uuid|guid|key|person|people|patient|user|customer|client|applicant|employee|student|author"
    r"|speaker|household|family|case|template|session|device)([_ .-]?(id|no|nr|number|key|hash))?|(?-i:.*[a-z]I[dD])",
    re.IGNORECASE,
)
FEWEST_VALUES = 20
"""A column of fewer different values names kinds of rows rather than the person, image or author of a row."""


def looks_like_weights(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a column has a name of weights, and holds positive numbers that are not all alike.

    >>> frame = pd.DataFrame({"sample_weight": [1.5, 0.7], "wgt": [1, 0], "height": [1.7, 1.8]})
    >>> [looks_like_weights(frame, name) for name in frame]
    [True, False, False]
    """
    if not _WEIGHTS.fullmatch(name):
        return False
    try:
        weights = numbers(frame, name)
    except DatasetError:
        return False
    return bool((weights > 0).all()) and len(np.unique(weights)) > 1


def id_counts(frame: pd.DataFrame, name: str) -> tuple[int, int] | None:
    """Return how many different values a column with a name of ids has, and in how many rows.

    None where it has no such name, or fewer than 20 different values.
    """
    if not _ID.fullmatch(name):
        return None
    codes, words = factorize(frame[name])
    return (len(words), int((codes >= 0).sum())) if len(words) >= FEWEST_VALUES else None
