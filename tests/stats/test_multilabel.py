"""Several labels: scikit-learn and Fairlearn are the oracles, a hand-counted case, and rows in another order."""

from __future__ import annotations

from typing import Any

import fairlearn.metrics
import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from auditkit.stats import one_vs_rest
from auditkit.stats.counts import tally
from auditkit.stats.estimates import Breakdown
from auditkit.stats.multilabel import WHOLE_ROWS, label_measurement, mean_measurement, row_measurement

Codes = NDArray[np.int64]

NAMES = ("rain", "snow", "wind")
GROUPS = (("a",), ("b",))
ORACLES = {
    "roc_auc": sklearn_metrics.roc_auc_score,
    "average_precision": sklearn_metrics.average_precision_score,
    "f1_score": sklearn_metrics.f1_score,
}


def sample(seed: int = 0, rows: int = 500) -> tuple[Codes, Codes, NDArray[np.float64], Codes]:
    draws = np.random.default_rng(seed)
    labels = (draws.random((rows, 3)) < [0.5, 0.3, 0.2]).astype(np.int64)
    probabilities = np.clip(0.3 * labels + 0.7 * draws.random((rows, 3)), 0, 1)
    return labels, (probabilities >= 0.6).astype(np.int64), probabilities, draws.integers(0, 2, rows)


def whole_rows(labels: Codes, decisions: Codes, breakdown: Breakdown, names: tuple[str, ...]) -> list[Any]:
    return [row_measurement(name, labels, decisions, breakdown, names) for name in WHOLE_ROWS]


def by_groups(codes: Codes) -> Breakdown:
    return Breakdown(("g",), GROUPS, codes)


@pytest.mark.parametrize("name", ORACLES)
def test_the_mean_is_scikit_learns_macro_and_each_label_its_own(name: str) -> None:
    labels, decisions, probabilities, codes = sample()
    given, oracle = (decisions if name == "f1_score" else probabilities), ORACLES[name]
    whole = mean_measurement(name, labels, given, Breakdown(), NAMES)
    assert whole.value == pytest.approx(oracle(labels, given, average="macro"), abs=1e-12)
    assert whole.value is not None
    assert whole.interval is not None
    assert whole.interval.low < whole.value < whole.interval.high
    each = label_measurement(name, labels, given, Breakdown(), NAMES)
    assert each.by == ("label",)
    assert [part.group.text for part in each.slices] == list(NAMES)
    assert [part.value for part in each.slices] == pytest.approx(oracle(labels, given, average=None), abs=1e-12)
    groups = mean_measurement(name, labels, given, by_groups(codes), NAMES)
    crossed = label_measurement(name, labels, given, by_groups(codes), NAMES)
    assert crossed.by == ("g", "label")
    for code, part in enumerate(groups.slices):
        rows = codes == code
        assert part.value == pytest.approx(oracle(labels[rows], given[rows], average="macro"), abs=1e-12)
        assert part.value is not None
        assert part.interval is not None
        assert part.simultaneous_interval is not None
        assert part.simultaneous_interval.low < part.interval.low < part.value
        own = {one.group.text: one.value for one in crossed.slices}
        alone = oracle(labels[rows], given[rows], average=None)
        assert [own[f"{'ab'[code]} & {label}"] for label in NAMES] == pytest.approx(alone, abs=1e-12)


def test_whole_rows_are_scikit_learns_accuracy_and_hamming_loss() -> None:
    labels, decisions, _, codes = sample(1)
    exact, wrong = whole_rows(labels, decisions, Breakdown(), NAMES)
    assert exact.value == sklearn_metrics.accuracy_score(labels, decisions)
    assert wrong.value == pytest.approx(sklearn_metrics.hamming_loss(labels, decisions), abs=1e-15)
    assert (exact.id, wrong.id) == ("performance.exact_match_rate", "performance.hamming_loss")
    assert (exact.better, wrong.better) == ("higher", "lower")
    assert 0 <= wrong.interval.low < wrong.value < wrong.interval.high
    assert wrong.replicates
    assert np.mean(wrong.replicates) == pytest.approx(wrong.value, abs=1e-9)
    exact, wrong = whole_rows(labels, decisions, by_groups(codes), NAMES)
    for code in range(2):
        mine = labels[codes == code], decisions[codes == code]
        assert exact.slices[code].value == sklearn_metrics.accuracy_score(*mine)
        assert wrong.slices[code].value == pytest.approx(sklearn_metrics.hamming_loss(*mine), abs=1e-15)
        held = wrong.slices[code].simultaneous_interval
        assert held.low < wrong.slices[code].value < held.high


def test_a_case_counted_by_hand() -> None:
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]])
    decisions = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 0]])
    exact, wrong = whole_rows(labels, decisions, Breakdown(), NAMES)
    assert exact.value == 1 / 4
    assert wrong.value == pytest.approx(4 / 12)
    each = label_measurement("accuracy", labels, decisions, Breakdown(), NAMES)
    assert [part.value for part in each.slices] == [3 / 4, 2 / 4, 3 / 4]


def test_a_label_that_nobody_has_is_undefined_and_so_is_the_mean() -> None:
    labels, decisions, probabilities, _ = sample()
    labels[:, 1] = 0
    each = label_measurement("roc_auc", labels, probabilities, Breakdown(), NAMES)
    assert [part.value is None for part in each.slices] == [False, True, False]
    assert "no rows with a positive label" in str(each.slices[1].reason)
    mean = mean_measurement("roc_auc", labels, probabilities, Breakdown(), NAMES)
    assert (mean.value, mean.interval, mean.replicates) == (None, None, ())
    assert mean.reason == "undefined for 1 of 3 labels, such as snow: no rows with a positive label"
    assert mean_measurement("accuracy", labels, decisions, Breakdown(), NAMES).value is not None


def test_the_order_of_rows_changes_nothing() -> None:
    labels, decisions, probabilities, codes = sample(2)
    order = np.random.default_rng(0).permutation(len(codes))

    def found(rows: NDArray[np.intp]) -> list[Any]:
        breakdown = by_groups(codes[rows])
        made = [
            label_measurement("roc_auc", labels[rows], probabilities[rows], breakdown, NAMES),
            mean_measurement("f1_score", labels[rows], decisions[rows], breakdown, NAMES),
            *whole_rows(labels[rows], decisions[rows], breakdown, NAMES),
        ]
        return [
            (part.group.text, part.value, part.interval and part.interval.low) for one in made for part in one.slices
        ]

    for one, other in zip(found(np.arange(len(codes))), found(order), strict=True):
        assert one == (other[0], pytest.approx(other[1], abs=1e-12), pytest.approx(other[2], abs=1e-12))


def test_rates_and_gaps_of_each_label_are_fairlearns() -> None:
    labels, decisions, _, codes = sample(3)
    counts = [
        tally(("g",), GROUPS, codes, labels[:, place], decisions[:, place], ("not this label", name))
        for place, name in enumerate(NAMES)
    ]
    gaps = {
        (m.id.partition(".")[2], m.by): m
        for m in one_vs_rest.gap_measurements(counts, one_vs_rest.LABEL, gaps=(*one_vs_rest.GAPS, "accuracy"))
    }
    for name in ("demographic_parity_difference", "equalized_odds_difference", "equal_opportunity_ratio"):
        oracle = getattr(fairlearn.metrics, name)
        values = [oracle(labels[:, place], decisions[:, place], sensitive_features=codes) for place in range(3)]
        assert [part.value for part in gaps[name, ("g", "label")].slices] == values
        assert gaps[name, ("g",)].value == pytest.approx(np.mean(values))
        assert gaps[name, ("g",)].definition.endswith("mean over 3 of 3 labels")
    frames = [
        MetricFrame(
            metrics=sklearn_metrics.accuracy_score,
            y_true=labels[:, place],
            y_pred=decisions[:, place],
            sensitive_features=codes,
        )
        for place in range(3)
    ]
    accuracy = gaps["accuracy_difference", ("g", "label")]
    assert [part.value for part in accuracy.slices] == [frame.difference() for frame in frames]
    wanted = (*one_vs_rest.RATES, "accuracy")
    measured = one_vs_rest.rate_measurements(counts, one_vs_rest.LABEL, rates=wanted)
    rates = {m.id.partition(".")[2]: m for m in measured}
    found = {part.group.text: part.value for part in rates["accuracy"].slices}
    assert found == {
        f"{'ab'[code]} & {NAMES[place]}": frames[place].by_group[code] for code in (0, 1) for place in range(3)
    }
