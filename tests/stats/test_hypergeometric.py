"""The exact tests against scipy's, over tables of every shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditkit.stats.hypergeometric import fisher_exact, upper_tail

sizes = st.integers(0, 400)


@given(sizes, sizes, sizes, sizes)
def test_fisher_agrees_with_scipy(a: int, b: int, c: int, d: int) -> None:
    expected = float(stats.fisher_exact(np.array([[a, b], [c, d]])).pvalue)
    assert fisher_exact((a, b), (c, d)) == pytest.approx(expected, rel=1e-9, abs=1e-290)


@given(sizes, sizes, sizes, sizes)
def test_the_upper_tail_agrees_with_scipy(here: int, marked: int, drawn: int, others: int) -> None:
    total = max(marked, drawn) + others
    expected = float(stats.hypergeom.sf(here - 1, total, marked, drawn)) if total else float(here == 0)
    assert upper_tail(here, total, marked, drawn) == pytest.approx(expected, rel=1e-9, abs=1e-290)


def test_a_million_rows_are_as_exact() -> None:
    table = ((200_000, 300_000), (201_000, 299_000))
    assert fisher_exact(*table) == pytest.approx(float(stats.fisher_exact(np.array(table)).pvalue), rel=1e-8)


def test_equally_likely_tables_count_whatever_their_rounding() -> None:
    # The table and its mirror image are equally likely: both belong to the p-value.
    assert fisher_exact((7, 3), (3, 7)) == pytest.approx(2 * upper_tail(7, 20, 10, 10))
