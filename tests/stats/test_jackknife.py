"""Leave-a-block-out replicates: their definition, what they must not show, and the coverage of paired intervals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from auditkit.auditors.explainability.checks_report import ratio_measurement
from auditkit.auditors.explainability.statistics import ratio_replicates
from auditkit.evidence.baseline import BaselineMeasurements, regression
from auditkit.evidence.measurement import Measurement
from auditkit.stats.counts import tally
from auditkit.stats.distances import distance_measurements, mean_gap_measurement
from auditkit.stats.estimates import Breakdown, Quantity
from auditkit.stats.gaps import GAPS, gap_measurements
from auditkit.stats.inequality import INDICES, inequality_measurements
from auditkit.stats.jackknife import assign_blocks, block_count, replicates, with_gap_replicates, with_rate_replicates
from auditkit.stats.quality import quality_measurement
from auditkit.stats.rates import overall_rate, rate_measurement
from auditkit.stats.scores import calibration_error

GROUPS = (("a",), ("b",))


def gaps(
    groups: np.ndarray, labels: np.ndarray, predictions: np.ndarray, named: Iterable[str] = GAPS
) -> list[Measurement]:
    counts = tally(("g",), GROUPS, groups, labels, predictions, ("no", "yes"))
    return with_gap_replicates(gap_measurements(counts, gaps=named), GROUPS, groups, labels, predictions)


def test_blocks_are_equal_fixed_and_as_many_as_the_rows_allow() -> None:
    block_of = assign_blocks(1003, 20)
    sizes = np.bincount(block_of)
    assert (len(sizes), sizes.min(), sizes.max()) == (20, 50, 51)
    assert np.array_equal(block_of, assign_blocks(1003, 20)), "the same rows fall into the same blocks"
    groups = np.random.default_rng(1).integers(0, 3, 1003)
    within = assign_blocks(1003, 10, groups)
    for code in range(3):
        sizes = np.bincount(within[groups == code], minlength=10)
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("row_count", range(0, 400, 7))
def test_a_block_never_holds_fewer_rows_than_a_group_that_may_be_shown(row_count: int) -> None:
    blocks = block_count(row_count, 10)
    assert blocks == 0 or np.bincount(assign_blocks(row_count, blocks)).min() >= 10
    assert len(replicates(lambda rows: float(len(rows)), row_count)) == blocks


def test_a_replicate_is_the_statistic_without_the_block() -> None:
    values = np.random.default_rng(2).normal(size=500)
    block_of = assign_blocks(500, 20)
    expected = [values[block_of != block].mean() for block in range(20)]
    assert replicates(lambda rows: float(values[rows].mean()), 500) == pytest.approx(expected, rel=1e-7)
    assert replicates(lambda rows: None if 3 in rows else 1.0, 500) == ()


def test_gap_replicates_are_the_gaps_without_the_block() -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 2, 600)
    labels, predictions = rng.integers(0, 2, 600), rng.integers(0, 2, 600)
    block_of = assign_blocks(600, 20, groups)
    measured = gaps(groups, labels, predictions)
    for block in (0, 7, 19):
        kept = block_of != block
        counts = tally(("g",), GROUPS, groups[kept], labels[kept], predictions[kept], ("no", "yes"))
        for whole, without in zip(measured, gap_measurements(counts, gaps=GAPS), strict=True):
            assert whole.replicates[block] == pytest.approx(without.value, rel=1e-6), whole.id


def test_groups_too_small_for_blocks_get_no_replicates() -> None:
    rng = np.random.default_rng(4)
    groups = np.array([0] * 500 + [1] * 99)
    labels, predictions = rng.integers(0, 2, 599), rng.integers(0, 2, 599)
    assert all(measurement.replicates == () for measurement in gaps(groups, labels, predictions))


def test_measurements_carry_replicates_overall_and_per_group() -> None:
    rng = np.random.default_rng(5)
    labels, scores = rng.integers(0, 2, 1000), rng.uniform(size=1000)
    probabilities = np.column_stack([1 - scores, scores])
    overall = quality_measurement("roc_auc", labels, probabilities)
    assert overall.value is not None
    assert np.mean(overall.replicates) == pytest.approx(overall.value, abs=0.01)
    codes = np.repeat([0, 1], [950, 50])
    by_group = quality_measurement("roc_auc", labels, probabilities, Breakdown(("g",), GROUPS, codes))
    assert [len(part.replicates) for part in by_group.slices] == [20, 0]


def paired_models(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, ...]:
    """Two models that agree on most rows: labels, groups, and each one's scores."""
    groups = rng.integers(0, 2, rows)
    signal = rng.normal(size=rows)
    labels = (signal + rng.normal(size=rows) > 0).astype(np.int64)
    shared = signal + rng.normal(scale=0.8, size=rows) + 0.3 * groups
    return groups, labels, shared + rng.normal(scale=0.3, size=rows), shared + rng.normal(scale=0.35, size=rows)


def probabilities(scores: np.ndarray) -> np.ndarray:
    positive = 1 / (1 + np.exp(-scores))
    return np.column_stack([1 - positive, positive])


def calibration_gap(groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> Measurement:
    return mean_gap_measurement(
        Quantity("fairness.calibration_error_difference", "rate_difference", "lower", "test"),
        calibration_error,
        labels,
        probabilities(scores),
        Breakdown(("g",), GROUPS, groups),
    )


def unequal(groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> dict[str, Measurement]:
    predictions = (scores > 0).astype(np.int64)
    counts = tally(("g",), GROUPS, groups, labels, predictions, ("no", "yes"))
    found = with_gap_replicates(
        inequality_measurements(counts.by(())), ((),), np.zeros_like(groups), labels, predictions
    )
    found += with_gap_replicates(inequality_measurements(counts), GROUPS, groups, labels, predictions)
    return {measurement.id.partition(".")[2]: measurement for measurement in found}


def distances(groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> dict[str, Measurement]:
    found = distance_measurements(probabilities(scores)[:, 1].round(2), Breakdown(("g",), GROUPS, groups))
    return {measurement.id.partition(".")[2]: measurement for measurement in found}


def rate_of(name: str, groups: np.ndarray, labels: np.ndarray, scores: np.ndarray, by: bool = False) -> Measurement:
    predictions = (scores > 0).astype(np.int64)
    counts = tally(("g",), GROUPS, groups, labels, predictions, ("no", "yes"))
    if by:
        return with_rate_replicates([rate_measurement(counts, name)], GROUPS, groups, labels, predictions)[0]
    whole = [overall_rate(counts.by(()), name, "fairness")]
    return with_rate_replicates(whole, ((),), np.zeros_like(groups), labels, predictions)[0]


def test_rate_replicates_are_the_rates_without_the_block() -> None:
    groups, labels, scores, _ = paired_models(np.random.default_rng(8), 900)
    predictions = (scores > 0).astype(np.int64)
    precision = rate_of("positive_predictive_value", groups, labels, scores)
    block_of = assign_blocks(900, 20)
    for block in (0, 13):
        kept = (block_of != block) & (predictions == 1)
        assert precision.replicates[block] == pytest.approx(labels[kept].mean(), rel=1e-7)
    by_group = rate_of("true_positive_rate", groups, labels, scores, by=True)
    for code, part in enumerate(by_group.slices):
        mine = np.flatnonzero(groups == code)
        block_of = assign_blocks(len(mine), 20)
        kept = mine[(block_of != 4) & (labels[mine] == 1)]
        assert part.replicates[4] == pytest.approx(predictions[kept].mean(), rel=1e-7)


def test_a_rate_without_a_row_to_stand_on_has_no_replicates() -> None:
    groups, labels = np.array([0] * 300 + [1] * 30), np.zeros(330, dtype=np.int64)
    labels[3] = 1  # the one positive label is in one of the blocks
    scores = np.linspace(-1, 1, 330)
    assert rate_of("true_positive_rate", groups, labels, scores).replicates == ()
    found = rate_of("false_positive_rate", groups, labels, scores, by=True)
    assert [len(part.replicates) for part in found.slices] == [20, 0], "30 rows make no ten blocks of ten"


def test_ratio_replicates_are_the_ratios_without_the_block() -> None:
    rng = np.random.default_rng(9)
    part, whole = rng.exponential(size=400), rng.exponential(size=400) + 1
    block_of = assign_blocks(400, 20)
    expected = [part[block_of != block].mean() / whole[block_of != block].mean() for block in range(20)]
    assert ratio_replicates(part, whole) == pytest.approx(expected, rel=1e-7)
    assert ratio_replicates(part, np.zeros(400)) == ()


def test_a_gap_of_calibration_carries_the_gaps_without_the_block() -> None:
    groups, labels, scores, _ = paired_models(np.random.default_rng(10), 800)
    found = calibration_gap(groups, labels, scores)
    rows = [np.flatnonzero(groups == code) for code in (0, 1)]
    kept = np.concatenate([mine[assign_blocks(len(mine), 20) != 7] for mine in rows])
    without = calibration_gap(groups[kept], labels[kept], scores[kept]).value
    assert found.replicates[7] == pytest.approx(without, rel=1e-6)


def test_distances_and_inequality_carry_the_values_without_the_block() -> None:
    groups, labels, scores, _ = paired_models(np.random.default_rng(11), 900)
    of_each = np.empty(900, dtype=np.int64)
    for code in (0, 1):
        of_each[groups == code] = assign_blocks(int((groups == code).sum()), 20)
    for measure in (unequal, distances):
        for name, found in measure(groups, labels, scores).items():
            block_of = assign_blocks(900, 20) if name in INDICES else assign_blocks(900, 20, groups)
            blocks = of_each if measure is distances else block_of
            for block in (0, 13):
                kept = np.sort(np.flatnonzero(blocks != block))
                without = measure(groups[kept], labels[kept], scores[kept])[name].value
                assert found.replicates[block] == pytest.approx(without, rel=1e-6), name
    for few in (95, 120):  # under ten blocks of ten rows in each group
        part = distances(groups[:few], labels[:few], scores[:few])
        assert part["score_wasserstein_distance"].replicates == ()
    nobody = unequal(np.zeros(200, dtype=np.int64), np.ones(200, dtype=np.int64), np.full(200, -1.0))
    assert nobody["theil_index"].value is None
    lucky = np.where(np.arange(200) == 3, 1.0, -1.0)  # the one row with a benefit is in one of the blocks
    one = unequal(np.zeros(200, dtype=np.int64), np.ones(200, dtype=np.int64), lucky)["theil_index"]
    assert (one.value is None, one.replicates) == (False, ())


@pytest.mark.parametrize(
    "what",
    [
        "accuracy",
        "auc",
        "precision",
        "demographic_parity",
        "share",
        pytest.param("equal_opportunity", marks=pytest.mark.slow),
        pytest.param("calibration gap", marks=pytest.mark.slow),
        pytest.param("theil_index", marks=pytest.mark.slow),
        pytest.param("generalized_entropy_index_within", marks=pytest.mark.slow),
        pytest.param("theil_index_between", marks=pytest.mark.slow),
        pytest.param("score_wasserstein_distance", marks=pytest.mark.slow),
        pytest.param("score_kolmogorov_smirnov_distance", marks=pytest.mark.slow),
    ],
)
def test_paired_intervals_cover_and_are_shorter(what: str) -> None:
    """Coverage of 95 % intervals of the worsening, over 120 samples of 800 rows; the truth from half a million rows."""

    def measure(groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> Measurement:
        if what in ("demographic_parity", "equal_opportunity"):
            return gaps(groups, labels, (scores > 0).astype(np.int64), [what])[0]
        if what == "precision":
            return rate_of("positive_predictive_value", groups, labels, scores)
        if what == "calibration gap":
            return calibration_gap(groups, labels, scores)
        if "index" in what:
            return unequal(groups, labels, scores)[what]
        if "distance" in what:
            return distances(groups, labels, scores)[what]
        if what == "share":  # of attributions: here, of the scores' sizes in one group
            size = np.abs(scores)
            return ratio_measurement("completeness_error", size * groups, size, "test", 0.95)
        given = (scores >= 0).astype(np.int64) if what == "accuracy" else probabilities(scores)
        return quality_measurement("accuracy" if what == "accuracy" else "roc_auc", labels, given)

    rng = np.random.default_rng(6)
    truths = []
    for _ in range(5):
        groups, labels, first, second = paired_models(rng, 100_001)
        after, before = measure(groups, labels, second).value, measure(groups, labels, first).value
        assert after is not None
        assert before is not None
        truths.append(before - after if what in ("accuracy", "auc", "precision") else after - before)
    truth = float(np.mean(truths))
    covered, lengths = 0, []
    for _ in range(120):
        groups, labels, first, second = paired_models(rng, 800)
        now, then = measure(groups, labels, second), measure(groups, labels, first)
        paired = regression(now, BaselineMeasurements((then,), same_rows=True)).interval
        unpaired = regression(now, BaselineMeasurements((then,))).interval
        assert paired is not None
        assert unpaired is not None
        covered += paired.low <= truth <= paired.high
        lengths.append((paired.high - paired.low) / (unpaired.high - unpaired.low))
    # The jackknife overestimates the spread of sums and maxima of absolute values, and of squares near 0: of these it
    # covers more than it says.
    cautious = what in ("calibration gap", "theil_index_between", "score_kolmogorov_smirnov_distance")
    assert 0.90 <= covered / 120 <= (1.0 if cautious else 0.99)
    assert np.median(lengths) < (0.85 if cautious else 0.75)


def paired_rates(rng: np.random.Generator, rows: int, lost: float, gained: float) -> tuple[Measurement, Measurement]:
    """Accuracy of two models on the same rows: of all rows `lost` are right before only, `gained` after only."""
    kinds = rng.choice(3, size=rows, p=[1 - lost - gained, lost, gained])
    shared = rng.random(rows) < 0.8
    before, after = np.where(kinds == 0, shared, kinds == 1), np.where(kinds == 0, shared, kinds == 2)
    labels, everyone = np.ones(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    found = []
    for right in (before, after):
        counts = tally((), ((),), everyone, labels, right.astype(np.int64), ("no", "yes"))
        whole = [overall_rate(counts, "accuracy", "performance")]
        found.append(with_rate_replicates(whole, ((),), everyone, labels, right.astype(np.int64))[0])
    return found[0], found[1]


def false_passes(rows: int, lost: float, gained: float, samples: int, seed: int) -> float:
    """Return how often a limit just below the true loss passes."""
    rng, passed = np.random.default_rng(seed), 0
    for _ in range(samples):
        before, after = paired_rates(rng, rows, lost, gained)
        interval = regression(after, BaselineMeasurements((before,), same_rows=True)).interval
        assert interval is not None
        assert interval.high - interval.low > 0
        passed += interval.high < lost - gained
    return passed / samples


@pytest.mark.parametrize(("rows", "lost"), [(100, 0.005), (200, 0.005), (1000, 0.005)])
def test_a_small_loss_seldom_passes_a_limit_just_below_it(rows: int, lost: float) -> None:
    """The blocks alone had 60, 37 and 14 % here; three standard errors of 300 samples at 2.5 % are 2.7 %."""
    assert false_passes(rows, lost, 0.0, 300, rows) <= 0.025 + 0.027


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 100, 200, 500, 1000])
@pytest.mark.parametrize("gained", [0.0, 0.005, 0.03, 0.1, 0.2])
def test_false_passes_of_a_regression_limit_everywhere(rows: int, gained: float) -> None:
    for loss in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1):
        rate = false_passes(rows, gained + loss, gained, 4000, rows)
        assert rate <= 0.025 + 3 * (0.025 * 0.975 / 4000) ** 0.5, (rows, gained, loss)
