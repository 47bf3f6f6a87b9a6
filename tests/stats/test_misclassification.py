"""Shares corrected for a classifier's errors: by hand, by their limits, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit.stats.intervals import newcombe, proportion_interval
from auditkit.stats.misclassification import (
    ClassifierErrors,
    corrected_difference,
    corrected_difference_interval,
    corrected_share,
    corrected_share_interval,
    tells_apart,
)

ERRORS = ClassifierErrors(hits=80, positives=100, rejections=180, negatives=200)
PERFECT = ClassifierErrors(10**9, 10**9, 10**9, 10**9)


def test_a_case_by_hand() -> None:
    # Of 1,000 texts 300 are toxic: 0.8 x 300 + 0.1 x 700 = 310 are called so.
    assert ERRORS.discrimination == pytest.approx(0.7)
    assert corrected_share(0.31, ERRORS) == pytest.approx(0.3)
    assert corrected_share(0.05, ERRORS) == 0  # fewer than its false alarms alone
    assert corrected_share(0.9, ERRORS) == 1
    assert corrected_difference(0.07, ERRORS) == pytest.approx(0.1)
    # MOVER of Wilson's (0.7112, 0.8666) and (0.8507, 0.9343).
    low, high = ERRORS.discrimination_interval(0.95)
    assert low == pytest.approx(0.7 - np.hypot(0.8 - 0.711170, 0.9 - 0.850643), abs=1e-4)
    assert high == pytest.approx(0.7 + np.hypot(0.866633 - 0.8, 0.934352 - 0.9), abs=1e-4)


def test_without_errors_it_is_the_plain_interval() -> None:
    low, high = corrected_share_interval(0.3, 400, PERFECT, 0.95)
    plain = proportion_interval(120, 400, 0.95)
    assert (low, high) == pytest.approx((float(plain[0]), float(plain[1])), abs=2e-3)
    assert corrected_difference_interval(0.1, (0.04, 0.17), PERFECT, 0.95) == pytest.approx((0.04, 0.17), abs=1e-3)


def test_a_guess_corrects_nothing() -> None:
    assert tells_apart(ERRORS, 0.95)
    assert not tells_apart(ClassifierErrors(55, 100, 50, 100), 0.95)
    assert not tells_apart(ClassifierErrors(3, 4, 3, 4), 0.95)


@given(
    st.floats(0, 1),
    st.integers(20, 5000),
    st.integers(0, 30),
    st.integers(0, 30),
    st.floats(-1, 1),
    st.floats(0.01, 0.5),
)
def test_intervals_hold_the_value_and_stay_in_range(
    observed: float, trials: int, missed: int, alarms: int, difference: float, half: float
) -> None:
    errors = ClassifierErrors(100 - missed, 100, 100 - alarms, 100)
    low, high = corrected_share_interval(observed, trials, errors, 0.95)
    assert 0 <= low <= corrected_share(observed, errors) <= high <= 1
    ends = max(difference - half, -1.0), min(difference + half, 1.0)
    low, high = corrected_difference_interval(difference, ends, errors, 0.95)
    assert -1 <= low <= corrected_difference(difference, errors) <= high <= 1
    mirrored = corrected_difference_interval(-difference, (-ends[1], -ends[0]), errors, 0.95)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)  # the groups exchanged
    if abs(ends[0]) > 1e-6:
        assert (low > 0) == (ends[0] > 0)  # what excluded 0 still does, and nothing else


@pytest.mark.slow
@pytest.mark.parametrize(("share", "other"), [(0.05, 0.05), (0.3, 0.2), (0.6, 0.3)])
@pytest.mark.parametrize(
    ("sensitivity", "specificity", "labelled"), [(0.8, 0.9, 100), (0.95, 0.98, 60), (0.7, 0.7, 300)]
)
def test_the_intervals_cover_the_truth(
    share: float, other: float, sensitivity: float, specificity: float, labelled: int
) -> None:
    generator = np.random.default_rng(7)
    trials, rows = 1_000, 400
    held, apart = 0, 0
    for _ in range(trials):
        errors = ClassifierErrors(
            int(generator.binomial(labelled, sensitivity)), labelled,
            int(generator.binomial(labelled, specificity)), labelled,
        )  # fmt: skip
        counts = [
            int(generator.binomial(rows, true * sensitivity + (1 - true) * (1 - specificity)))
            for true in (share, other)
        ]
        low, high = corrected_share_interval(counts[0] / rows, rows, errors, 0.95)
        held += low <= share <= high
        ends = newcombe(counts[0], rows, counts[1], rows, 0.95)
        observed = (counts[0] - counts[1]) / rows
        low, high = corrected_difference_interval(observed, (float(ends[0]), float(ends[1])), errors, 0.95)
        apart += low <= share - other <= high
    assert held / trials >= 0.93  # 0.95 less three standard errors of a share of 1,000 trials
    assert apart / trials >= 0.93
