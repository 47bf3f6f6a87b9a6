"""Rates of rows with weights and clusters: by hand, against other formulas, against statsmodels, and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from auditkit.evidence.measurement import Measurement, Slice
from auditkit.stats import clustered
from auditkit.stats.counts import Counts, stacked, tally
from auditkit.stats.gaps import gap_measurements, one_cluster_notes
from auditkit.stats.intervals import difference_gap_interval
from auditkit.stats.jackknife import with_gap_replicates, with_rate_replicates
from auditkit.stats.one_vs_rest import gap_measurements as gaps_of_classes
from auditkit.stats.one_vs_rest import rate_measurements
from auditkit.stats.rates import group_rates, overall_rate, rate_measurement
from auditkit.stats.sampling import SIMPLE, Cells, Sampling, effective_rates, effective_rows, sampling_of
from auditkit.stats.weighted import weighted_mean

RNG = np.random.default_rng(3)
ROWS = 600
GROUPS = RNG.integers(0, 3, ROWS)
LABELS, DECISIONS = (RNG.random((2, ROWS)) < [[0.4], [0.5]]).astype(np.int64)
WEIGHTS = RNG.uniform(0.5, 4, ROWS)
CLUSTERS = RNG.integers(0, 90, ROWS)
NAMES = (("a",), ("b",), ("c",))


def counted(sampling: Sampling = SIMPLE, rows: np.ndarray | slice = slice(None)) -> Counts:
    return tally(("g",), NAMES, GROUPS[rows], LABELS[rows], DECISIONS[rows], ("no", "yes"), sampling.take(rows))


def measured(counts: Counts) -> list[Measurement]:
    return [
        overall_rate(counts, "accuracy", "fairness"),
        rate_measurement(counts, "selection_rate"),
        rate_measurement(counts, "true_positive_rate"),
        *gap_measurements(counts),
    ]


def ends(measurement: Measurement) -> list[float]:
    """Every number of a measurement and its slices."""
    found: list[float | None] = []
    every: tuple[Measurement | Slice, ...] = (measurement, *measurement.slices)
    for one in every:
        found.append(one.value)
        if one.interval is not None:
            found += [one.interval.low, one.interval.high]
    return [value for value in found if value is not None]


def test_a_weighted_rate_by_hand() -> None:
    """Three rows of weights 2, 1, 1, of which the first is selected: 2 of 4; Kish: 16 / 6."""
    table = tally(
        (), ((),), np.zeros(3, dtype=int), np.zeros(3, dtype=int), np.array([1, 0, 0]), ("no", "yes"),
        Sampling(np.array([2.0, 1.0, 1.0])),
    )  # fmt: skip
    assert group_rates(table, "selection_rate").values.tolist() == [0.5]
    assert table.sums().tolist() == [[[2.0, 2.0], [0.0, 0.0]]]
    assert effective_rows(Sampling(np.array([2.0, 1.0, 1.0])), 3) == pytest.approx(16 / 6)


@pytest.mark.parametrize(
    "sampling", [Sampling(WEIGHTS), Sampling(None, CLUSTERS), Sampling(WEIGHTS, CLUSTERS)], ids=["w", "c", "wc"]
)
def test_effective_rates_are_those_of_the_influences(sampling: Sampling) -> None:
    """The same numbers from whole arrays of influences, group by group (auditkit.stats.clustered)."""
    rates = group_rates(counted(sampling), "true_positive_rate")
    of = [
        weighted_mean(DECISIONS.astype(float), sampling.weights, (code == GROUPS) & (LABELS == 1)) for code in range(3)
    ]
    assert rates.values.tolist() == pytest.approx([one.value for one in of], abs=1e-12)
    for place, one in enumerate(of):
        own = clustered.rate_interval(one, 0.95, sampling.clusters, sampling.weights)
        interval = rate_measurement(counted(sampling), "true_positive_rate").slices[place].interval
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(own, abs=1e-9)
    if sampling.clusters is not None:
        related = clustered._correlation(of[0], of[1], sampling.clusters)
        assert rates.related[0, 1] == pytest.approx(related, abs=1e-9)


def test_the_variance_is_that_of_statsmodels() -> None:
    """Linearised by hand: the sum of (w (y - mean) / sum of w)**2; statsmodels has the same weighted mean."""
    chosen = GROUPS == 1
    rates = group_rates(counted(Sampling(WEIGHTS)), "selection_rate")
    described = DescrStatsW(DECISIONS[chosen], WEIGHTS[chosen])
    assert rates.values[1] == pytest.approx(described.mean, abs=1e-12)
    weights, away = WEIGHTS[chosen], DECISIONS[chosen] - described.mean
    count = int(chosen.sum())
    variance = ((weights * away / weights.sum()) ** 2).sum() * count / (count - 1)
    kish = weights.sum() ** 2 / (weights**2).sum()
    assert rates.trials[1] == pytest.approx(min(described.mean * (1 - described.mean) / variance, kish), rel=1e-9)


def test_equal_weights_and_clusters_of_one_row_are_no_sampling() -> None:
    equal = sampling_of(np.full(ROWS, 2.5), RNG.permutation(ROWS))
    assert equal.is_simple
    assert measured(counted(equal)) == measured(counted())


def test_clusters_of_one_row_are_nearly_independent_rows() -> None:
    for simple, alone in zip(measured(counted()), measured(counted(Sampling(None, np.arange(ROWS)))), strict=True):
        assert ends(alone) == pytest.approx(ends(simple), abs=0.01)


def test_a_weight_of_two_is_a_row_given_twice_in_a_cluster_of_its_own() -> None:
    twice = RNG.integers(1, 3, ROWS)
    rows = np.repeat(np.arange(ROWS), twice)
    weighted = measured(counted(Sampling(twice.astype(float))))
    repeated = measured(counted(Sampling(None, np.arange(ROWS)), rows))
    for one, other in zip(weighted, repeated, strict=True):
        assert ends(one) == pytest.approx(ends(other), abs=2e-3)
        assert one.value == pytest.approx(other.value, abs=1e-12)


def test_the_order_of_rows_changes_nothing() -> None:
    order = RNG.permutation(ROWS)
    before, after = (measured(counted(Sampling(WEIGHTS, CLUSTERS), rows)) for rows in (slice(None), order))
    for one, other in zip(before, after, strict=True):
        assert ends(one) == pytest.approx(ends(other), abs=1e-10)


def test_rows_that_repeat_in_a_cluster_say_so_in_the_design_effect() -> None:
    rows = np.repeat(np.arange(ROWS), 4)
    clusters = Sampling(None, np.arange(ROWS))
    one = overall_rate(counted(clusters, rows), "accuracy", "fairness")
    assert one.effective_count is not None
    assert one.count / one.effective_count == pytest.approx(4, rel=0.02)


def test_groups_with_no_events_in_shared_clusters_have_a_ratio() -> None:
    decisions = np.zeros(ROWS, dtype=np.int64)
    decisions[(GROUPS == 0) & (CLUSTERS < 4)] = 1
    counts = tally(("g",), NAMES, GROUPS, LABELS, decisions, ("no", "yes"), Sampling(WEIGHTS, CLUSTERS % 12))
    for gap in gap_measurements(counts, gaps=("demographic_parity",)):
        assert gap.value is not None
        assert gap.interval is not None
        assert gap.interval.low <= gap.value <= gap.interval.high


def test_a_group_of_one_cluster_is_too_few_to_judge() -> None:
    counts = counted(Sampling(None, np.where(GROUPS == 2, 1_000, CLUSTERS)))
    alone = rate_measurement(counts, "selection_rate").slices[2]
    assert alone.value is None
    assert alone.reason == "too few to judge: all rows of this group are of one cluster"
    assert one_cluster_notes(counts, 10) == [
        f"By g, all rows of {NAMES[2][0]} are of one cluster, too few to judge: not compared."
    ]
    gap = gap_measurements(counts, gaps=("demographic_parity",))[0]
    others = counted(Sampling(None, CLUSTERS))
    kept = [part.value for part in rate_measurement(others, "selection_rate").slices[:2] if part.value is not None]
    assert gap.value == pytest.approx(max(kept) - min(kept))
    assert gap.interval is not None


def test_a_pair_states_its_weighted_rates() -> None:
    gap = gap_measurements(counted(Sampling(WEIGHTS)), gaps=("demographic_parity",))[0]
    assert gap.pair is not None
    assert gap.value is not None
    assert gap.pair.weighted is not None
    assert gap.pair.weighted[1] - gap.pair.weighted[0] == pytest.approx(gap.value)
    clusters_only = gap_measurements(counted(Sampling(None, CLUSTERS)), gaps=("demographic_parity",))[0]
    assert clusters_only.pair is not None
    assert clusters_only.pair.weighted is None, "without weights the rates are those of the counts"


def test_groups_within_clusters_are_compared_as_pairs() -> None:
    """Each cluster has one row of each of two groups, mostly with the same decision."""
    clusters = np.tile(np.arange(150), 2)
    first = (RNG.random(150) < 0.5).astype(np.int64)
    decisions = np.concatenate([first, np.where(RNG.random(150) < 0.1, 1 - first, first)])
    groups = np.repeat([0, 1], 150)
    labels = np.ones(300, dtype=np.int64)
    widths = []
    for sampling in (SIMPLE, Sampling(None, clusters)):
        table = tally(("g",), (("a",), ("b",)), groups, labels, decisions, ("no", "yes"), sampling)
        interval = gap_measurements(table, gaps=("demographic_parity",))[0].interval
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] * 0.7


def test_classes_and_their_mean_allow_for_the_sampling() -> None:
    labels, decisions = RNG.integers(0, 3, (2, ROWS))
    counts = tally(("g",), NAMES, GROUPS, labels, decisions, ("x", "y", "z"), Sampling(WEIGHTS, CLUSTERS))
    parts = [counts.one_vs_rest(code) for code in range(3)]
    table = stacked(parts, "class")
    by_hand = weighted_mean((decisions == 1).astype(float), WEIGHTS, GROUPS == 0).value
    rates = {part.group.key: part for part in rate_measurements(parts, "class")[1].slices}
    assert rates["a", "y"].value == pytest.approx(by_hand, abs=1e-12)
    assert table.sums().sum() == pytest.approx(3 * WEIGHTS.sum())
    assert all(part.effective_count for part in rates.values())
    assert gaps_of_classes(parts, "class", total=3)[1].effective_count is not None


def test_replicates_leave_out_whole_clusters_and_are_weighted() -> None:
    sampling = Sampling(WEIGHTS, CLUSTERS)
    counts = counted(sampling)
    given = (NAMES, GROUPS, LABELS, DECISIONS)
    rate = with_rate_replicates([rate_measurement(counts, "selection_rate")], *given, sampling=sampling)[0].slices[0]
    gap = with_gap_replicates(gap_measurements(counts), *given, sampling=sampling)[0]
    assert len(rate.replicates) == len(gap.replicates) == 20
    assert np.mean(rate.replicates) == pytest.approx(rate.value, abs=0.01)
    assert gap.value is not None
    assert np.mean(gap.replicates) == pytest.approx(gap.value, abs=0.02)
    few = Sampling(None, CLUSTERS % 9)
    assert with_gap_replicates(gap_measurements(counts), *given, sampling=few)[0].replicates == ()
    # The jackknife's variance is that of the linearisation, for clusters.
    spread = 19 / 20 * ((np.array(rate.replicates) - np.mean(rate.replicates)) ** 2).sum()
    own = weighted_mean(DECISIONS.astype(float), WEIGHTS, GROUPS == 0)
    assert spread == pytest.approx(clustered.covariance(own, own, CLUSTERS), rel=0.7)


def clustered_rows(
    rng: np.random.Generator, clusters: int, related: float, rate: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters of 5 to 15 rows with an intracluster correlation: cluster, outcome and weight of each row."""
    own = np.full(clusters, rate)
    if related:
        total = 1 / related - 1
        own = rng.beta(rate * total, (1 - rate) * total, clusters)
    codes = np.repeat(np.arange(clusters), rng.integers(5, 16, clusters))
    return codes, (rng.random(len(codes)) < own[codes]).astype(np.int64), np.exp(rng.normal(size=len(codes)) * 0.5)


def coverage(clusters: int, related: float, rate: float, samples: int, groups: int = 4) -> dict[str, float]:
    """Return how often the intervals of a report hold the truth: four groups of one rate, so that no gap is the truth.

    Groups lie across the clusters (`across`), or each cluster belongs to one of them (`whole`); rows are weighted.
    `alone` and `all at once` are the intervals of the groups' rates.
    """
    rng = np.random.default_rng(clusters)
    held: dict[str, int] = {}
    for _ in range(samples):
        codes, outcomes, weights = clustered_rows(rng, clusters, related, rate)
        for how in ("across", "whole"):
            of = rng.integers(0, groups, len(codes)) if how == "across" else codes % groups
            names = tuple((str(group),) for group in range(groups))
            given = (("g",), names, of, np.ones(len(codes), dtype=np.int64), outcomes, ("no", "yes"))
            counts = tally(*given, Sampling(weights, codes))
            rates = rate_measurement(counts, "selection_rate", min_group=2).slices
            gap, ratio = gap_measurements(counts, gaps=("demographic_parity",), min_group=2)
            found = {
                "gap": gap.interval is None or gap.interval.low <= 1e-12,
                "ratio": ratio.interval is None or ratio.interval.high >= 1 - 1e-12,
                "alone": bool(rates[0].interval and rates[0].interval.low <= rate <= rates[0].interval.high),
                "all at once": all(
                    part.simultaneous_interval is not None
                    and part.simultaneous_interval.low <= rate <= part.simultaneous_interval.high
                    for part in rates
                ),
            }
            for name, holds in found.items():
                held[f"{name}, {how}"] = held.get(f"{name}, {how}", 0) + holds
    return {name: count / samples for name, count in held.items()}


def test_intervals_of_a_report_cover_with_clusters_and_weights() -> None:
    """Three standard errors of 60 samples at 94 % are 9 %."""
    assert min(coverage(40, 0.3, 0.3, 60).values()) >= 0.94 - 0.09


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [20, 50, 200])
def test_intervals_of_a_report_cover_at_every_intracluster_correlation(clusters: int) -> None:
    """The figures of docs/statistics.md; the standard error of 400 samples is 1.1 %."""
    found = {
        (related, rate): coverage(clusters, related, rate, 400)
        for related in (0, 0.1, 0.3, 0.5)
        for rate in (0.05, 0.3)
    }
    least = {name: min(one[name] for one in found.values()) for name in next(iter(found.values()))}
    print(clusters, least)  # the figures
    assert min(least.values()) >= 0.91


@pytest.mark.slow
@pytest.mark.parametrize("related", [0.0, 0.3, 0.5])
def test_gaps_across_many_clusters_cover_rare_outcomes(related: float) -> None:
    """Four groups across 200 clusters at a rate of 5 %: few clusters make up the variance.

    Three standard errors of 500 samples are 2.9 %.
    """
    rng, held, either = np.random.default_rng(7), 0, np.array([1, 1])
    for _ in range(500):
        codes, outcomes, weights = clustered_rows(rng, 200, related, 0.05)
        cells = Cells(rng.integers(0, 4, len(codes)), outcomes, Sampling(weights, codes))
        rates = effective_rates(cells, 4, np.array([0, 1]), either)
        successes = rates.values * rates.trials
        low, _ = difference_gap_interval(successes, rates.trials, 0.95, freedom=rates.freedom, related=rates.related)
        held += low <= 1e-12
    print(related, held / 500)  # the figures of docs/statistics.md
    assert held / 500 >= 0.95 - 0.029
