"""How the columns of a table become the cells that a generator learns: modes of numbers, options of categories."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit.data.dataset import factorize
from auditkit.data.values import numbers
from auditkit.errors import DatasetError
from auditkit.models.architectures.table_generators import DEVIATIONS
from auditkit.schema.schema import Schema

Floats = NDArray[np.float64]

MOST_MODES, LOWEST_WEIGHT, MOST_FITTED = 10, 0.005, 20_000
"""The modes of a column at most, the least share of rows of one, and the rows that they are fitted to at most."""

MOST_DECIMALS = 6


def describe_columns(frame: pd.DataFrame, schema: Schema, *, seed: int) -> list[dict[str, Any]]:
    """Return the columns of a table as an architecture takes them, in the order of the frame.

    Raises:
        DatasetError: a column holds dates, texts or images.
    """
    kinds = {feature.name: feature.kind for feature in schema.features}
    described = []
    for name in map(str, frame.columns):
        kind = kinds.get(name, "categorical")  # the label is a category
        if kind not in ("numeric", "categorical", "boolean"):
            raise DatasetError(f"column {name!r} holds {kind}s, which this generator cannot make; drop the column.")
        modes: list[list[float]] = []
        options: list[str] = []
        decimals = 0
        if kind == "numeric":
            values = numbers(frame, name)
            missing = bool(np.isnan(values).any())
            decimals = _decimals(values[~np.isnan(values)])
            modes = _modes(values[~np.isnan(values)], seed)
        else:
            codes, words = factorize(frame[name])
            options, missing = list(words), bool((codes < 0).any())
        if not modes and not options:
            raise DatasetError(f"column {name!r} holds no value; drop the column.")
        described.append({"name": name, "modes": modes, "options": options, "missing": missing, "decimals": decimals})
    return described


def cells_of(frame: pd.DataFrame, columns: list[dict[str, Any]], *, seed: int) -> NDArray[np.float32]:
    """Return the cells of each row, (rows, width): numbers' distances from their modes, then one block a column.

    The mode of a number is drawn by the probability that it has given the number (Xu et al. 2019).
    """
    generator = np.random.default_rng((seed, 59))
    distances, blocks = [], []
    for column in columns:
        width = len(column["modes"] or column["options"])
        if column["modes"]:
            option, distance = _nearest_modes(numbers(frame, column["name"]), np.array(column["modes"]), generator)
            distances.append(distance)
        else:
            codes, words = factorize(frame[column["name"]])
            place = {word: code for code, word in enumerate(column["options"])}
            option = np.array([*(place[word] for word in words), width], dtype=np.int64)[codes]
        blocks.append(np.eye(width + 1, dtype=np.float32)[option][:, : width + column["missing"]])
    parts = [np.stack(distances, axis=1).astype(np.float32)] if distances else []
    return np.concatenate([*parts, *blocks], axis=1)


def _nearest_modes(
    values: Floats, modes: Floats, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the mode of each value, the number of modes where it is missing, and its distance, -1 to 1."""
    missing = np.isnan(values)
    known = np.where(missing, modes[0, 0], values)
    away = (known[:, None] - modes[:, 0]) / modes[:, 1]
    logs = -0.5 * np.square(away) - np.log(modes[:, 1])
    gumbel = -np.log(-np.log(generator.uniform(1e-12, 1, logs.shape)))
    mode = (logs + gumbel).argmax(axis=1)
    distance = np.clip(away[np.arange(len(mode)), mode] / DEVIATIONS, -1, 1)
    return np.where(missing, len(modes), mode), np.where(missing, 0.0, distance)


def _modes(values: Floats, seed: int) -> list[list[float]]:
    """Return mean and deviation of the normal distributions of a variational mixture that has any number up to 10."""
    from sklearn.mixture import BayesianGaussianMixture

    if not values.size:
        return []
    centre, scale = float(values.mean()), float(values.std())
    different = len(np.unique(values))
    if different == 1 or scale == 0:
        return [[float(values[0]), 1e-9]]
    if len(values) > MOST_FITTED:
        values = np.random.default_rng((seed, 61)).choice(values, MOST_FITTED, replace=False)
    mixture = BayesianGaussianMixture(
        n_components=min(MOST_MODES, different),
        weight_concentration_prior=1e-3,
        reg_covar=1e-10,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped before it converged: any mixture near the data will do
        mixture.fit(((values - centre) / scale)[:, None])
    kept = mixture.weights_ >= LOWEST_WEIGHT
    means, deviations = mixture.means_[kept, 0], np.sqrt(mixture.covariances_[kept, 0, 0])
    return [
        [centre + scale * float(mean), max(scale * float(deviation), 1e-9)]
        for mean, deviation in zip(means, deviations, strict=True)
    ]


def _decimals(values: Floats) -> int:
    """Return how many decimals numbers have, at most 6."""
    for decimals in range(MOST_DECIMALS):
        if np.allclose(values, np.round(values, decimals), rtol=0, atol=1e-9):
            return decimals
    return MOST_DECIMALS
