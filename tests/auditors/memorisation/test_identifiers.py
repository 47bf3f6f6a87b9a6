"""Identifiers of one person's texts are not independent: intervals of their completion are cluster-robust."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.auditors.memorisation.identifiers import Identifier, completion_measurements, units_of
from auditkit.auditors.memorisation.material import Material, Side
from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.messages import Message
from auditkit.stats.intervals import clopper_pearson, proportion_interval


def interval_of(written: np.ndarray, units: np.ndarray) -> Interval:
    (found,) = completion_measurements(written, units, {}, 0.95)
    assert found.interval is not None
    return found.interval


def test_every_identifier_alone_has_the_exact_interval() -> None:
    written = np.arange(40) < 12
    found = interval_of(written, np.arange(40))
    assert (found.low, found.high) == pytest.approx([float(end) for end in clopper_pearson(12, 40, 0.95)])


def test_copies_of_an_identifier_add_nothing() -> None:
    """20 persons, each with one outcome, repeated 5 times: the effective number is that of the persons, by hand.

    The influence of a person is (outcome - rate) / 20, the variance rate (1 - rate) / 19: 19 rows are effective.
    """
    persons = np.arange(20) < 8
    written, units = np.repeat(persons, 5), np.repeat(np.arange(20), 5)
    found = interval_of(written, units)
    low, high = proportion_interval(0.4 * 19, 19.0, 0.95)
    assert found.low <= low < 0.4 < high <= found.high
    assert found.high - found.low > 1.9 * (interval_of(written, np.arange(100)).high - 0.4)
    more = interval_of(np.repeat(persons, 50), np.repeat(np.arange(20), 50))
    assert (more.low, more.high) == pytest.approx((found.low, found.high))


def test_the_names_and_the_order_of_clusters_change_nothing() -> None:
    rng = np.random.default_rng(0)
    written, units = rng.random(90) < 0.3, rng.integers(0, 25, 90)
    order = rng.permutation(90)
    one, other = interval_of(written, units), interval_of(written[order], 1000 - 7 * units[order])
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_slices_are_clustered_too_and_one_cluster_tells_little() -> None:
    written, units = np.array([True] * 9 + [False, True]), np.array([0] * 9 + [1, 2])
    whole, sliced = completion_measurements(written, units, {"kind": ["card"] * 9 + ["phone"] * 2}, 0.95)
    assert whole.value == pytest.approx(10 / 11)
    card, phone = sliced.slices
    assert card.value == 1
    assert card.interval is not None
    assert card.interval.low < 0.1, "nine identifiers of one person are one trial"
    assert phone.interval is not None
    assert [phone.interval.low, phone.interval.high] == pytest.approx(
        [float(end) for end in clopper_pearson(1, 2, 0.95)]
    )


def test_identifiers_of_one_text_are_one_cluster_and_cluster_names_that_of_their_texts() -> None:
    side = Side(None, np.arange(3), ["a", "b", "c"], [])  # type: ignore[arg-type]
    held = [Identifier(Message("phone"), place, "", "") for place in (0, 0, 1, 2)]
    without = Material(side, side, None, {}, ())
    assert units_of(held, without).tolist() == [0, 0, 1, 2]
    persons = Material(side, side, np.array([5, 6, 5, 0, 1, 2]), {}, ())
    assert units_of(held, persons).tolist() == [5, 5, 6, 5]


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_the_interval_covers_whatever_the_intracluster_correlation_is(alike: float) -> None:
    """300 samples of 40 persons with 1 to 6 identifiers each: 93 % at least, less the simulation's own error."""
    rng, rate = np.random.default_rng(7), 0.3
    exact, robust = [], []
    for _ in range(300):
        units = np.repeat(np.arange(40), rng.integers(1, 7, 40))
        together = rng.random(40) < rate
        own = rng.random(len(units)) < rate
        written = np.where(rng.random(40)[units] < alike, together[units], own)
        found = interval_of(written, units)
        robust.append(found.low <= rate <= found.high)
        low, high = clopper_pearson(int(written.sum()), len(written), 0.95)
        exact.append(bool(low <= rate <= high))
    assert sum(robust) >= 300 * 0.93 - 2 * np.sqrt(300 * 0.93 * 0.07)
    if alike == 1:
        assert sum(exact) < 300 * 0.85, "the exact interval of independent identifiers falls short"


def test_a_measurement_counts_identifiers() -> None:
    (found,) = completion_measurements(np.array([True, False, False]), np.array([0, 0, 1]), {}, 0.95)
    assert isinstance(found, Measurement)
    assert (found.count, found.id) == (3, "memorisation.identifier_completion_rate")
